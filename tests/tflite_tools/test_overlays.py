"""Numbers per layer for Model Explorer, in its own format."""

import json
import subprocess

import pytest
from random_graphs import GraphBuilder, residual_network

import tflite_tools
from tflite_tools.flatbuffer.emitter import emit
from tflite_tools.runtimes.runtime import installed_place

PYTHON = installed_place() / "explorer" / "bin" / "python"
READER = """
import json, sys
import ai_edge_model_explorer_adapter as adapter
from model_explorer import node_data_builder as builder

(collection,) = json.loads(
    adapter.ConvertFlatbufferDirectlyToJson(adapter.VisualizeConfig(), sys.argv[1])
)
(graph,) = collection["subgraphs"]
tensors = {
    pair["value"]
    for node in graph["nodes"]
    for output in node.get("outputsMetadata", ())
    for pair in output["attrs"]
    if pair["key"] == "tensor_name"
}
for path in sys.argv[2:]:
    ((name, content),) = json.load(open(path)).items()
    assert name == graph["id"], (name, graph["id"])
    results = content.pop("results")
    assert set(results) <= tensors, set(results) - tensors
    gradient = [builder.GradientItem(**item) for item in content.pop("gradient")]
    results = {key: builder.NodeDataResult(**value) for key, value in results.items()}
    again = builder.GraphNodeData(results=results, gradient=gradient, **content)
    again = builder.ModelNodeData(graphsData={name: again}).to_json_string()
    assert json.loads(again)[name]["results"] == json.load(open(path))[name]["results"]
    print(path, len(results))
"""


def network():
    builder = GraphBuilder(2)
    return emit(builder.finish(residual_network(builder)))


def test_every_layer_with_weights_has_its_bytes(tmp_path):
    content = network()
    written = tflite_tools.write_overlays(content, tmp_path, "net", {"off": {"a": 0.5}, "no": {}})
    assert [path.name for path in written] == [
        "net.weight_bits.json",
        "net.constant_bytes.json",
        "net.off.json",
    ]
    layers = tflite_tools.inspect(content, delegation=False).layers
    stored = json.loads(written[1].read_text())["main"]
    assert stored["name"] == "constant bytes"
    expected = {one.tensor: {"value": one.constant_bytes} for one in layers if one.constant_bytes}
    assert stored["results"] == expected
    assert [item["stop"] for item in stored["gradient"]] == [0, 1]
    assert json.loads(written[2].read_text())["main"]["results"] == {"a": {"value": 0.5}}


@pytest.mark.slow
@pytest.mark.skipif(not PYTHON.exists(), reason="needs sh scripts/install_runtimes.sh explorer")
def test_model_explorer_reads_file_and_overlays(tmp_path):
    content = network()
    (tmp_path / "net.tflite").write_bytes(content)
    written = tflite_tools.write_overlays(content, tmp_path, "net")
    command = [PYTHON, "-c", READER, tmp_path / "net.tflite", *written]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr
    assert len(ran.stdout.splitlines()) == len(written)
