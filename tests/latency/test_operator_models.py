"""The models that stand for the rows of a latency table."""

import pytest

from qfa_tf.cost.latency_table import occurrences
from qfa_tf.latency.operator_models import (
    SMALL_COPIES,
    measured_as,
    operator_model,
    weight_bytes,
    work,
)
from qfa_tf.space import SearchSpace
from tflite_tools.benchmarking.operator_units import empty_model
from tflite_tools.flatbuffer import runtime
from tflite_tools.flatbuffer.inspection import inspect

MAIN = {
    "convolution": "CONV_2D",
    "depthwise": "DEPTHWISE_CONV_2D",
    "dense": "FULLY_CONNECTED",
    "add": "ADD",
    "pool": "MEAN",
    "hard_swish": "HARD_SWISH",
    "squeeze_excite": "MUL",
}


def signature(model):
    return [
        (item.operator, item.input_type, item.output_type, item.output_shape, item.weight_type)
        for item in inspect(model, delegation=False).layers
    ]


@pytest.fixture(scope="module", params=["small", "fashion_mnist"])
def space(request, small_space):
    return small_space if request.param == "small" else SearchSpace.from_preset("fashion_mnist")


def test_every_kind_of_operator_becomes_one_partition(space):
    seen = set()
    for key, (site, setting) in occurrences(space, space.restrict()).items():
        same = measured_as(key, space.network, site)
        kind = (same.operator, same.weight_bits, same.activation_bits)
        if kind in seen:
            continue
        seen.add(kind)
        model, copies = operator_model(same, space.network, site, setting)
        interpreter = runtime.load(model)
        interpreter.allocate_tensors()
        records, partitions = runtime.describe(interpreter)
        assert partitions == 1
        assert all(record.delegated for record in records)
        main = MAIN.get(key.operator, {8: "CONV_2D"}.get(same.weight_bits, "FULLY_CONNECTED"))
        if site.name in ("head.mix", "classifier") and key.operator == site.kind:
            main = "FULLY_CONNECTED"
        assert [record.name for record in records].count(main) == copies
    assert {kind[0] for kind in seen} >= {"convolution", "depthwise", "pointwise", "add", "pool"}


def test_what_is_measured_once_is_the_same_model(space):
    """Operators that share a measurement have the same operators, shapes and types."""
    places, network = occurrences(space, space.restrict()), space.network
    groups = {}
    for key, (site, _) in places.items():
        groups.setdefault(measured_as(key, space.network, site), []).append(key)
    shared = [keys for keys in groups.values() if len(keys) > 1]
    assert shared
    for keys in shared[:: max(1, len(shared) // 12)]:
        signatures = [
            signature(
                operator_model(measured_as(key, network, places[key][0]), network, *places[key])[0]
            )
            for key in (keys[0], keys[-1])
        ]
        assert signatures[0] == signatures[1]


def test_copies(space):
    places = occurrences(space, space.restrict())
    small = min(places, key=work)
    assert operator_model(small, space.network, *places[small])[1] == SMALL_COPIES
    heavy = SearchSpace.from_preset("mobilenet_v3_mobile").replace(resolutions=(128,))
    for key, (site, setting) in occurrences(heavy, heavy.restrict((8,))).items():
        if key.operator == "dense":  # 1.28 MB of weights leave the cache in between
            same = measured_as(key, heavy.network, site)
            model, copies = operator_model(same, heavy.network, site, setting)
            assert copies == 2
            assert len(model) > copies * weight_bytes(key)


def test_the_empty_model_runs():
    assert inspect(empty_model()).partitions == 1
