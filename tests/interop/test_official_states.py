"""Reading, checking and placing the arrays of official files."""

import pathlib

import numpy as np
import pytest

from qfa_tf.interop import (
    OfficialStateError,
    classes_of,
    decode_gene,
    load_official,
    official_space,
    read_state,
)
from qfa_tf.space import GenomeError
from qfa_tf.supernet import QFASupernet
from quantize_configs.errors import MissingExtraError
from quantize_configs.keras_backend import keras

VECTORS = pathlib.Path(__file__).parents[1] / "data" / "official_network_vectors.npz"

pytestmark = pytest.mark.xdist_group("official")


@pytest.fixture(scope="module")
def state():
    return read_state(VECTORS)


@pytest.fixture(scope="module")
def gene():
    return np.load(VECTORS)["net/genes"][0]


def test_names_lose_their_prefix(state, tmp_path):
    assert classes_of(state) == 10
    assert not any(name.startswith("state/") for name in state)
    path = tmp_path / "parallel.npz"
    np.savez(path, **{f"module.{name}": state[name] for name in list(state)[:3]})
    assert sorted(read_state(path)) == sorted(list(state)[:3])


@pytest.mark.parametrize("name", ["missing.npz", "damaged.npz", "damaged.pth"])
def test_unreadable_files(tmp_path, name):
    if name.startswith("damaged"):
        (tmp_path / name).write_bytes(b"no archive")
    with pytest.raises((OfficialStateError, MissingExtraError), match=name):
        read_state(tmp_path / name)


def test_pytorch_files(state, tmp_path):
    torch = pytest.importorskip("torch")
    some = dict(list(state.items())[:5])
    tensors = {f"module.{name}": torch.from_numpy(array.copy()) for name, array in some.items()}
    torch.save({"state_dict": tensors, "epoch": 3}, tmp_path / "supernet.pth")
    found = read_state(tmp_path / "supernet.pth")
    assert sorted(found) == sorted(some)
    for name, array in some.items():
        np.testing.assert_array_equal(found[name], array)
    torch.save({"epoch": 3}, tmp_path / "empty.pth")
    with pytest.raises(OfficialStateError, match="no state"):
        read_state(tmp_path / "empty.pth")


def test_other_networks_are_refused(state):
    spaces = {"resolutions": (64,)}
    with pytest.raises(OfficialStateError, match="width_mult"):
        load_official(state, 0.35, 10, **spaces)
    with pytest.raises(OfficialStateError, match="num_classes"):
        load_official(state, 0.25, 12, **spaces)
    name = "classifier.linear.linear.bias"
    with pytest.raises((OfficialStateError, MissingExtraError), match=name):
        load_official({key: value for key, value in state.items() if key != name}, 0.25, 10)
    with pytest.raises(OfficialStateError, match="no place"):
        load_official({**state, "blocks.99.weight": np.zeros(3)}, 0.25, 10, **spaces)
    with pytest.raises(OfficialStateError, match="official"):
        classes_of({"conv.weight": np.zeros(3)})


def test_arrays_stand_where_they_belong(state):
    net = load_official(state, 0.25, 10, resolutions=(64,))
    prefix = "blocks.5.mobile_inverted_conv."  # the first block of the second elastic stage
    depthwise = net.site_layer("s2.b0.depthwise")
    weight = state[f"{prefix}depth_conv.conv.conv.weight"]
    np.testing.assert_array_equal(
        depthwise.kernel[..., 0],
        weight[:, 0].transpose(1, 2, 0),
    )
    for size in (5, 3):
        np.testing.assert_array_equal(
            depthwise.transform.matrices[size],
            state[f"{prefix}depth_conv.conv.{size + 2}to{size}_matrix"],
        )
    np.testing.assert_array_equal(
        net.site_layer("s2.b0.expand").gamma, state[f"{prefix}inverted_bottleneck.conv.gamma"]
    )
    for bits in (2, 3, 4):
        quantizers = f"{prefix}point_linear.conv.{{}}_quantizer.quantizers.{bits}"
        assert net.precision.weight_step("s2.b0.project", bits) == pytest.approx(
            float(np.squeeze(state[quantizers.format("w") + ".scale"]))
        )
        theta, beta = net.precision.activation_parameters("s2.b0.project", bits)
        assert theta == pytest.approx(float(np.squeeze(state[quantizers.format("a") + ".scale"])))
        assert beta == pytest.approx(float(np.squeeze(state[quantizers.format("a") + ".offset"])))


@pytest.mark.parametrize(("width_mult", "classes"), [(0.35, 7), (0.6, 12)])
def test_other_widths(width_mult, classes):
    keras.utils.set_random_seed(classes)
    net = QFASupernet(official_space(width_mult, classes, (32, 48)), padding="symmetric")
    rng = np.random.default_rng(0)
    for variable in net.trainable_weights:
        variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    loaded = load_official(official_state(net), width_mult, classes, resolutions=(32, 48))
    assert len(loaded.weights) == len(net.weights)
    for there, here in zip(net.trainable_weights, loaded.trainable_weights, strict=True):
        np.testing.assert_array_equal(there, here, err_msg=here.name)


def official_state(net):
    """The state that the release would have saved for the weights of a supernet."""
    state = {}
    outer = {
        "stem": "first_conv.conv",
        "head.expand": "final_expand_layer.conv",
        "head.mix": "feature_mix_layer.conv",
        "classifier": "classifier.linear",
    }
    parts = {"expand": "inverted_bottleneck", "depthwise": "depth_conv", "project": "point_linear"}
    for site in net.space.sites:
        layer, name = net.site_layer(site.name), outer.get(site.name)
        if name is None:
            stage, index, part = net.space.place(site.name)
            block = 4 * (stage - 1) + 1 + index if stage else 0
            unit = f"blocks.{block}.mobile_inverted_conv"
            name = f"{unit}.{parts[part]}.conv"
            has_excite = net.space.stages[stage].squeeze_excite
            squeeze = net.layer(f"s{stage}.b{index}.se") if has_excite else None
            for half in ("reduce", "expand") if has_excite else ():
                matrix = getattr(squeeze, f"{half}_kernel").numpy().T[:, :, None, None]
                state[f"{unit}.depth_conv.se.fc.{half}.weight"] = matrix
                bias = getattr(squeeze, f"{half}_bias").numpy()
                state[f"{unit}.depth_conv.se.fc.{half}.bias"] = bias
        kernel = layer.kernel.numpy()
        if site.kind == "depthwise":
            state[f"{name}.conv.weight"] = kernel.transpose(2, 3, 0, 1)
        elif site.kind == "convolution":
            state[f"{name}.conv.weight"] = kernel.transpose(3, 2, 0, 1)
        elif site.kind == "dense":
            state[f"{name}.linear.weight"] = kernel.T
            state[f"{name}.linear.bias"] = layer.bias.numpy()
        else:
            state[f"{name}.conv.weight"] = kernel.T[:, :, None, None]
        if layer.normalization:
            state[f"{name}.gamma"], state[f"{name}.beta"] = layer.gamma.numpy(), layer.beta.numpy()
        for size, matrix in layer.transform.matrices.items():
            state[f"{name}.{size + 2}to{size}_matrix"] = matrix.numpy()
        if layer.weight_quantizer is None:
            continue
        bits = layer.weight_quantizer.bit_widths.choices
        precision, depthwise = net.precision, site.kind == "depthwise"
        names = [
            f"{name}.{{}}_quantizer" + (f"s.{size}" if depthwise else "") + f".quantizers.{width}"
            for size in (layer.kernel_sizes if depthwise else (0,))
            for width in bits
        ]
        learned = zip(
            names,
            precision.step.numpy()[precision.steps_of(site.name)],
            precision.theta.numpy()[precision.activations_of(site.name)],
            precision.beta.numpy()[precision.activations_of(site.name)],
            strict=True,
        )
        for key, step, theta, beta in learned:
            state[f"{key.format('w')}.scale"] = np.array([step])
            state[f"{key.format('a')}.scale"] = np.array([theta])
            state[f"{key.format('a')}.offset"] = np.array([beta])
    return state


def test_genes(gene):
    space = official_space(0.25, 10, (64,))
    architecture = decode_gene(gene, space)
    assert architecture.resolution == 64
    assert [len(blocks) for blocks in architecture.stages[1:]] == list(gene[40:45])
    first = architecture.stages[1][0]
    assert (first.kernel_size, first.expand_ratio) == (gene[0], gene[20])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda gene: gene[:-1], "176 integers"),
        (lambda gene: gene.astype(float), "float64"),
        (lambda gene: np.where(np.arange(176) == 0, 9, gene), "kernel_size"),
        (lambda gene: np.where(np.arange(176) == 45, 65, gene), "resolution"),
        (lambda gene: np.where(np.arange(176) == 52, 7, gene), "weight_bits"),
    ],
)
def test_other_genes_are_refused(gene, change, message):
    with pytest.raises(GenomeError, match=message):
        decode_gene(change(gene), official_space(0.25, 10, (64,)))
