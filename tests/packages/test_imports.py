"""No file imports in a circle; the other rules of imports are contracts in pyproject.toml."""

import grimp
import networkx
import pytest

PACKAGES = ("quantize_configs", "tflite_tools", "qfa_tf")


@pytest.fixture(scope="module")
def imports() -> networkx.DiGraph:
    """Files of the packages; imports inside functions and for annotations count too."""
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    return networkx.DiGraph(
        (file, imported)
        for file in graph.modules
        for imported in graph.find_modules_directly_imported_by(file)
    )


def test_no_file_imports_in_a_circle(imports):
    assert len(imports) > 200
    circles = [
        sorted(circle)
        for circle in networkx.strongly_connected_components(imports)
        if len(circle) > 1
    ]
    assert not circles
