"""docs/spaces.md: its examples run, and its figures are those of the presets."""

import pathlib
import re

import numpy as np
import pytest

from qfa_tf.cost import CostModel
from qfa_tf.space import SearchSpace
from qfa_tf.space.presets import names

TEXT = (pathlib.Path(__file__).parents[2] / "docs" / "spaces.md").read_text(encoding="utf-8")


def test_examples_run(capsys):
    blocks = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert len(blocks) == 5
    variables = {}
    for block in blocks:
        exec(block, variables)
    assert "220.77 exact, 207.99 in" in capsys.readouterr().out
    assert variables["reduced"].name == "mobilenet_v3_w0.25_48to64px"
    assert variables["own"].stages[2].squeeze_excite
    assert isinstance(variables["get_config"]().space, SearchSpace)


@pytest.mark.parametrize("name", names())
def test_table_of_presets(name):
    space = SearchSpace.from_preset(name)
    row = next(line for line in TEXT.splitlines() if line.startswith(f"| `{name}`"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    genomes = np.stack([space.encode(space.smallest()), space.encode(space.largest())])
    low, high = CostModel(space).evaluate(genomes)["mflops_8bit"]
    bits = (", ".join(map(str, choices)) for choices in (space.weight_bits, space.activation_bits))
    assert cells[3] == " / ".join(bits)
    assert cells[4] == ("float" if space.fixed_bits["stem"] == (32, 32) else "8 bits")
    assert cells[5] == f"{space.size():.1e}".replace("e+", "e")
    assert cells[6] == (f"{low:.3f} to {high:.2f}" if high < 1 else f"{low:.1f} to {high:.1f}")
    if "the same" not in cells[2]:
        pixels = f"{space.resolutions[0]}-{space.resolutions[-1]} px"
        assert f"{pixels}, {space.num_classes} classes" in cells[2]


@pytest.mark.parametrize(("stride", "size"), [(2, 1), (1, 2)])
def test_sizes_that_the_text_names(stride, size):
    space = SearchSpace.mobilenet_v3(0.25, resolutions=(32,), stem_stride=stride)
    assert space.feature_size(32) == size
