"""The spaces of the first release, to the last digit: their files must stay readable.

golden.json was written by `python tests/network/test_golden.py` at commit 5c489e1, before networks
were described as data. Only spaces whose meaning is to change may be written anew.
"""

import hashlib
import json
import pathlib

import numpy as np
import pytest

from qfa_tf.cost import CostModel, LatencyTable, operators
from qfa_tf.space import SearchSpace

PATH = pathlib.Path(__file__).with_name("golden.json")
PRESETS = (
    "digits_tiny",
    "fashion_mnist",
    "mobilenet_v3_mobile",
    "mobilenet_v3_w1.0",
    "mobilenet_v3_w1.2",
)
SUPERNETS = ("digits_tiny", "fashion_mnist")


def digest(thing):
    content = thing.tobytes() if isinstance(thing, np.ndarray) else json.dumps(thing).encode()
    return hashlib.sha256(content).hexdigest()[:16]


def _known(key):
    """The fields of an operator that tables had at first; the others are at their defaults."""
    known = list(key)[:8]
    assert type(key)(*known) == key
    return known


def facts_of_space(space):
    """Everything that genomes, files and costs of a space hang on."""
    rng = np.random.default_rng(2)
    raw = np.stack([rng.choice(gene.choices, 50) for gene in space.genes], 1).astype(np.int32)
    architectures = [space.decode(genome) for genome in raw[:10]]
    keys = operators(space, space.restrict())
    times = np.random.default_rng(5).random(len(keys)).tolist()
    table = LatencyTable("t", "", {}, "", dict(zip(keys, times, strict=True)), 3.3, 1.07)
    facts = {
        "fingerprint": space.fingerprint,
        "json": digest(space.to_json()),
        "n_genes": space.n_genes,
        "size": str(space.size()),
        "choices": digest([[choice.name, list(choice.choices)] for choice in space.choices]),
        "genes": digest([[gene.name, gene.column] for gene in space.genes]),
        "sampled": digest(space.sample_genomes(np.random.default_rng(1), 50)),
        "canonical": digest(space.canonicalize(raw)),
        "architectures": digest([architecture.to_json() for architecture in architectures]),
        "descriptions": digest([architecture.describe() for architecture in architectures]),
        "operators": digest([_known(key) for key in keys]),
    }
    for accounting in ("exact", "official"):
        if accounting == "official" and space.name != "mobilenet_v3_w1.2":
            continue
        cost = CostModel(space, accounting, latency_tables={"t": table})
        for metric, values in cost.evaluate(raw, ["tflite_bytes", "latency_ms@t"]).items():
            bounds = list(map(float, cost.bounds(metric, space.restrict())))
            facts[f"{accounting}, {metric}"] = [digest(values), *bounds]
        rows = [cost.per_site(architecture) for architecture in architectures[:5]]
        facts[f"{accounting}, per site"] = digest(
            [[list(vars(r).values()) for r in row] for row in rows]
        )
    return facts


def facts_of_supernet(space):
    """The names by which checkpoints and calibrations know what a supernet holds."""
    from qfa_tf import QFASupernet

    net = QFASupernet(space)
    entries = net.layout.entries.values()
    return {
        "weights": digest([[weight.name, list(weight.shape)] for weight in net.weights]),
        "trainable": digest([weight.name for weight in net.trainable_weights]),
        "decayed": digest([weight.name for weight in net.decayed_weights]),
        "statistics": digest([[entry.name, entry.start, entry.size] for entry in entries]),
    }


@pytest.mark.parametrize("name", PRESETS)
def test_spaces(name):
    expected = json.loads(PATH.read_text(encoding="utf-8"))[name]
    assert facts_of_space(SearchSpace.from_preset(name)) == expected


@pytest.mark.parametrize("name", SUPERNETS)
def test_supernets(name):
    expected = json.loads(PATH.read_text(encoding="utf-8"))[f"{name}, supernet"]
    assert facts_of_supernet(SearchSpace.from_preset(name)) == expected


if __name__ == "__main__":
    content = {name: facts_of_space(SearchSpace.from_preset(name)) for name in PRESETS}
    content |= {
        f"{name}, supernet": facts_of_supernet(SearchSpace.from_preset(name)) for name in SUPERNETS
    }
    PATH.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
