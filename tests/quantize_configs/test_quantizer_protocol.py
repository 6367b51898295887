"""Every quantizer offers the protocol, and every option stands in one place."""

import inspect
import json

import numpy as np
import pytest
import tensorflow as tf

from qfa_tf import QFASupernet
from qfa_tf.supernet import SupernetOptions
from quantize_configs.errors import InvalidInputError
from quantize_configs.fake_quantization import code_limits
from quantize_configs.keras_backend import keras
from quantize_configs.options import help_text, option_table, options_of
from quantize_configs.quantizer_options import ACTIVATION_KINDS
from quantize_configs.quantizer_registry import (
    QUANTIZERS,
    activation_quantizer,
    deserialized,
    serialized,
)


@pytest.mark.parametrize("name", QUANTIZERS)
def test_contract(name):
    """What a bank of a supernet asks of a quantizer, and what a layer asks, give the same."""
    quantizer = QUANTIZERS[name]((2, 4))
    x = np.random.default_rng(0).normal(size=(8, 3, 3, 4)).astype(np.float32)
    start = quantizer.start(x)
    assert list(start) == list(quantizer.learned_values)
    assert all(
        value.shape == (2,) and np.isfinite(quantizer.first_values(role)).all()
        for role, value in start.items()
    )
    layer = keras.layers.Layer()
    layer.kernel = tf.Variable(x)
    weights = quantizer.build(x.shape, "kernel", layer)
    assert set(quantizer.learned_values) <= set(weights)
    for role, value in start.items():
        weights[role].assign(value)
    measured = quantizer.batch_range(x) if quantizer.needs_range else None
    if quantizer.needs_start:
        weights["samples"].assign(1.0)
    for column, bits in enumerate((2, 4)):
        qmin, qmax = (tf.constant(limit) for limit in quantizer.limits(bits))
        columns = [tf.constant(value[column : column + 1]) for value in start.values()]
        used = [value[0] for value in quantizer.used(columns, tf.ones([1]))]
        choice = quantizer.Choice(*used, qmin, qmax, None)
        one = quantizer.quantize_choice(tf.constant(x), choice, measured)
        other = quantizer(tf.constant(x), True, weights, bits=bits)
        np.testing.assert_allclose(one, other, rtol=1e-6)
    values = [np.array([0.5, -1.0], np.float32) for _ in quantizer.learned_values]
    assert all(np.shape(value) == (2,) for value in quantizer.readable(values).values())
    assert len(quantizer.narrowed(values, 4, 2, "keep_range")) == len(values)
    fixed = quantizer.fixed(4)
    assert fixed.bit_widths.choices == (4,)
    assert type(fixed) is type(quantizer)
    entry = json.loads(json.dumps(serialized(quantizer)))
    assert deserialized(entry) == quantizer
    assert deserialized(entry) != fixed


@pytest.mark.parametrize("name", QUANTIZERS)
@pytest.mark.parametrize("signed", [True, False])
def test_limits_are_those_of_the_core(name, signed):
    options = {"grid": "signed" if signed else "unsigned"} if name.startswith("LSQAct") else {}
    quantizer = QUANTIZERS[name](4, **(options or {"signed": signed}))
    narrow = getattr(quantizer, "narrow_bits", ())
    for bits in range(2, 9):
        expected = code_limits(bits, signed=signed, narrow_bits=narrow)
        assert quantizer.limits(bits) == tuple(float(limit) for limit in expected)


@pytest.mark.parametrize("kind", ACTIVATION_KINDS)
def test_kinds_of_activation_quantizers(kind):
    quantizer = activation_quantizer(kind, 4, estimator="min_max", grid="unsigned", banks=2)
    assert type(quantizer).__name__ == ACTIVATION_KINDS[kind].class_name
    assert quantizer.banks == 2
    for name, value in ACTIVATION_KINDS[kind].fixed.items():
        assert getattr(quantizer, name) == value


@pytest.mark.parametrize("owner", [*QUANTIZERS.values(), SupernetOptions])
def test_options_have_one_source(owner):
    declared = options_of(owner)
    table, text = option_table(owner), help_text(owner)
    for name, one in declared.items():
        assert f"`{name}`" in table
        assert f"  {name}: " in text
        if one.choices:
            with pytest.raises(InvalidInputError, match=f"{name} must be one of"):
                owner(**{name: "something"})
    signature = inspect.signature(QFASupernet.__init__ if owner is SupernetOptions else owner)
    for name, one in declared.items():
        assert signature.parameters[name].default == one.default
