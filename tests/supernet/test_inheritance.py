"""Quantizers that start from those of another supernet: bounded errors and copied values."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from qfa_tf import QFASupernet
from qfa_tf.supernet import INHERITANCES, inherit
from qfa_tf.supernet.inheritance import inherited_low, inherited_step
from quantize_configs import LSQActivationQuantizer, LSQQuantizer
from quantize_configs.factor_starts import least_error_factor
from quantize_configs.fake_quantization import code_limits
from quantize_configs.keras_backend import keras

pytestmark = pytest.mark.xdist_group("learned_grids")
LEARN = {"activation_quantizer": "lsq"}


def quantized(quantizer, values, step, low, bits):
    """`values` as the quantizer of a training computes them."""
    values, step = tf.constant(values, tf.float32), tf.constant(step, tf.float32)
    if isinstance(quantizer, LSQQuantizer):
        limits = code_limits(bits, signed=True, narrow_bits=quantizer.narrow_bits)
        return quantizer.quantize_on(values, (step, *limits)).numpy()
    limits = code_limits(bits, signed=quantizer.signed)
    learned = step, tf.constant(low, tf.float32), *limits
    return quantizer.quantize_on(values, learned).numpy()


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(["weight", "unsigned", "signed", "offset"]),
    source_bits=st.sampled_from([3, 4, 8]),
    fewer=st.integers(1, 3),
    step=st.floats(2.0**-10, 2.0**7, width=32),
    position=st.floats(-0.3, 1.3),
    seed=st.integers(0, 2**16),
)
def test_doubled_steps_move_no_value_by_more_than_a_step(
    kind, source_bits, fewer, step, position, seed
):
    """|Q_(K-n)(v; 2^n s) - Q_K(v; s)| <= (2^n - 1) s for every v; one step for n = 1."""
    bits = source_bits - min(fewer, source_bits - 2)
    low = -position * (2**source_bits - 1) * step if kind == "offset" else 0.0
    if kind == "weight":
        before, after = LSQQuantizer(source_bits), LSQQuantizer(bits)
    else:
        before, after = (LSQActivationQuantizer(one, kind) for one in (source_bits, bits))
    new_step = inherited_step(step, before.signed, source_bits, bits, "double")
    new_low = inherited_low(low, step, source_bits, bits, "double")
    assert new_step == step * 2 ** (source_bits - bits)
    rng = np.random.default_rng(seed)
    spread = 3 * 2**source_bits * step
    values = np.concatenate([rng.uniform(-spread, spread, 200), step * np.arange(-30, 30) / 2])
    error = np.abs(
        quantized(after, values[None], new_step, new_low, bits)
        - quantized(before, values[None], step, low, source_bits)
    )
    bound = (2 ** (source_bits - bits) - 1) * step
    assert error.max() <= bound * (1 + 1e-4)


def test_ratios_of_the_rules():
    """4 -> 3 bits: 2.33 for weights; 3 -> 2 bits: 3. Activations: 15/7 and 7/3."""
    assert inherited_step(1.0, True, 4, 3, "keep_range") == pytest.approx(7 / 3)
    assert inherited_step(1.0, True, 3, 2, "keep_range") == pytest.approx(3.0)
    assert inherited_step(1.0, False, 4, 3, "keep_range") == pytest.approx(15 / 7)
    assert inherited_step(1.0, False, 3, 2, "keep_range") == pytest.approx(7 / 3)
    assert inherited_step(0.3, True, 3, 2, "power_of_two") == 1.0
    assert inherited_low(-0.7, 0.1, 4, 3, "keep_range") == -0.7
    assert inherited_low(-0.7, 0.1, 4, 3, "double") == pytest.approx(-0.6)  # 7 -> 3 of 0.2


@pytest.fixture(scope="module")
def make_net(v3_space):
    """Makes an untrained supernet of some bits whose learned values all differ."""

    def make(seed, *bits, **options):
        keras.utils.set_random_seed(seed)
        space = v3_space.replace(name=f"bits{bits}", weight_bits=bits, activation_bits=bits)
        net = QFASupernet(space, **options)
        bank, rng = net.precision, np.random.default_rng(seed)
        for role in ("step", *bank.activation_roles):
            vector = getattr(bank, role)
            vector.assign(rng.uniform(0.5, 1.5, vector.shape))
        if bank.learns_grids:
            bank.activation_low.assign(-2.2 * bank.activation_step)
            bank.activation_started.assign(tf.ones_like(bank.activation_started))
        return net

    return make


def test_next_wider_bits(make_net):
    """4 and 8 bits to 2 and 4: equal bits are copied, 2 comes from 4."""
    source, target = make_net(1, 4, 8, **LEARN), make_net(2, 2, 4, **LEARN)
    inherit(source, target, "double")
    for there, here in zip(
        source.site_layer("s1.b1.depthwise").weights,
        target.site_layer("s1.b1.depthwise").weights,
        strict=True,
    ):
        np.testing.assert_array_equal(there, here)
    there, here = source.precision, target.precision
    for size in (3, 5, 7):
        site = "s1.b1.depthwise"
        assert here.weight_step(site, 4, size) == there.weight_step(site, 4, size)
        assert here.weight_step(site, 2, size) == 4 * there.weight_step(site, 4, size)
        step, low = there.activation_parameters(site, 4, size)
        assert here.activation_parameters(site, 4, size) == (step, low)
        assert here.activation_parameters(site, 2, size) == (4 * step, 0.0)  # 2 steps of 4 -> 0
    assert here.weight_step("stem", 8) == there.weight_step("stem", 8)
    assert not here.unstarted.any()


def test_only_trained_bits_are_inherited(make_net):
    source, target = make_net(1, 4, 8, **LEARN), make_net(2, 2, 4, **LEARN)
    inherit(source, target, "equal_bits", {2, 32})
    bank = target.precision
    fresh = target.site_layer("s1.b0.expand").initial_steps()
    np.testing.assert_array_equal(bank.step.numpy()[bank.steps_of("s1.b0.expand")], fresh)
    started = bank.activation_started.numpy()
    assert {site for site in bank.sites if started[bank.activations_of(site)].any()} == {
        "stem",
        "classifier",
    }
    with pytest.raises(ValueError, match="inheritance must be one of"):
        inherit(source, target, "halve")


def test_batchquant_inheritance(make_net):
    """Factors are copied, offsets keep their place in the range: 7/15 of them."""
    source = make_net(1, 4, factor_start="range")
    target = make_net(2, 3, factor_start="range")
    inherit(source, target, "double")
    there, here = source.precision, target.precision
    for site, bits in (("s1.b0.expand", (4, 3)), ("stem", (8, 8))):
        theta, beta = there.activation_parameters(site, bits[0])
        factor = 7 / 15 if bits[1] == 3 else 1
        assert here.activation_parameters(site, bits[1]) == pytest.approx((theta, beta * factor))
    assert here.weight_step("head.mix", 3) == 2 * there.weight_step("head.mix", 4)
    inherit(source, target, "equal_bits")
    assert here.activation_parameters("s1.b0.expand", 3) == (0.0, 0.0)
    inherit(source, target, "keep_range")
    ratio = here.weight_step("head.mix", 3) / there.weight_step("head.mix", 4)
    assert ratio == pytest.approx(7 / 3)


def test_inherited_factors_keep_their_ratio_to_the_first_ones(make_net):
    source, target = make_net(1, 4), make_net(2, 3)
    inherit(source, target, "double")
    ratios = []
    for bank, bits in ((source.precision, 4), (target.precision, 3)):
        theta, _ = bank.activation_parameters("s1.b0.expand", bits)
        ratios.append(np.log2(1 + 2**theta) / least_error_factor(bits))
    assert ratios[1] == pytest.approx(ratios[0], rel=1e-5)
    assert ratios[0] != pytest.approx(1.0, rel=1e-3)


@pytest.mark.parametrize("rule", INHERITANCES)
def test_from_oqa_to_qfa_and_back(rule, make_net):
    """Weight steps cross over; inputs start as the other method starts them."""
    oqa = make_net(1, 4, shared_step=True, **LEARN)
    qfa = make_net(2, 2, 4)
    inherit(oqa, qfa, rule)
    shared = oqa.precision.weight_step("s1.b0.depthwise", 4)
    for size in (3, 5, 7):
        assert qfa.precision.weight_step("s1.b0.depthwise", 4, size) == shared
        theta, beta = qfa.precision.activation_parameters("s1.b0.depthwise", 4, size)
        assert (np.log2(1 + 2**theta), beta) == (pytest.approx(least_error_factor(4)), 0.0)
    qfa = make_net(3, 2, 4)
    inherit(qfa, oqa, rule)
    there = qfa.precision.weight_step("s1.b0.depthwise", 4, 7)
    assert oqa.precision.weight_step("s1.b0.depthwise", 4) == there
    assert oqa.precision.unstarted.all()
    np.testing.assert_array_equal(
        oqa.site_layer("classifier").kernel, qfa.site_layer("classifier").kernel
    )


def test_other_structures_are_refused(make_net, v3_space):
    head = dataclasses.replace(v3_space.head, expand_width=40)
    other = QFASupernet(v3_space.replace(name="other", head=head))
    with pytest.raises(ValueError, match="differ in their structure"):
        inherit(make_net(1, 4), other)
