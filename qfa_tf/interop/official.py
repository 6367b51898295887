"""The supernets of the official BatchQuant release (QFA, NeurIPS 2021), by the names they use.

The release stores a PyTorch state of named arrays and describes subnets by 176 integers, the
"gene". Its network is the MobileNetV3 space with symmetric padding, fractional zero points, a
float stem and an 8-bit classifier.
"""

import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from qfa_tf.space import Architecture, GenomeError, SearchSpace, Site
from qfa_tf.space.genes import Fixed
from quantize_configs.errors import DamagedFileError, MissingExtraError, QFAError

if TYPE_CHECKING:
    from qfa_tf.supernet import QFASupernet

GENE_LENGTH = 176
ELASTIC_STAGES, BLOCKS_PER_STAGE = 5, 4
EXPAND, DEPTH, RESOLUTION, FIXED_BITS, BLOCK_BITS, HEAD_BITS = 20, 40, 45, 46, 52, 172
"""Where the parts of a gene start; kernel sizes start at 0."""
PARTS = ("expand", "depthwise", "project")
"""Order of the convolutions of a block in a gene, with weight and activation bits each."""

_BLOCK = "blocks.{index}.mobile_inverted_conv."
_CONVOLUTIONS = {
    "expand": "inverted_bottleneck.conv.",
    "depthwise": "depth_conv.conv.",
    "project": "point_linear.conv.",
}
_OUTER = {
    "stem": "first_conv.conv.",
    "head.expand": "final_expand_layer.conv.",
    "head.mix": "feature_mix_layer.conv.",
    "classifier": "classifier.linear.",
}


class OfficialStateError(DamagedFileError):
    """A file or a state is not one of the official release, or of another network."""


def official_space(
    width_mult: float, num_classes: int, resolutions: Sequence[int] = tuple(range(128, 225, 4))
) -> SearchSpace:
    """The space of an official network, whose sites offer 2, 3 and 4 bits.

    Args:
      width_mult: 1.2 in the paper.
      num_classes: Outputs of the classifier.
      resolutions: Those of the paper by default.
    """
    return SearchSpace.mobilenet_v3(width_mult, resolutions=resolutions, num_classes=num_classes)


def classes_of(state: Mapping[str, np.ndarray]) -> int:
    """Number of classes of the network of a state.

    Raises:
      OfficialStateError: It has no classifier.
    """
    name = _OUTER["classifier"] + "linear.weight"
    reader = _StateReader(state)
    return reader.shape(name)[0]


def decode_gene(gene: Sequence[int], space: SearchSpace) -> Architecture:
    """The architecture that an official gene stands for.

    Args:
      gene: 176 integers: 20 kernel sizes, 20 expand ratios, 5 depths, the resolution, bits.
      space: Made by `official_space`, or one of the same structure.

    Raises:
      GenomeError: Another length, or a value that the space does not offer.
    """
    numbers = np.asarray(gene)
    if numbers.shape != (GENE_LENGTH,) or not np.issubdtype(numbers.dtype, np.integer):
        raise GenomeError(
            f"An official gene has {GENE_LENGTH} integers. Received: {numbers.dtype} of shape "
            f"{list(numbers.shape)}."
        )
    values = {"resolution": numbers[RESOLUTION]}
    _read_bits(values, "s0.b0", PARTS, numbers[FIXED_BITS:])
    _read_bits(values, "head", ("expand", "mix"), numbers[HEAD_BITS:])
    for index in range(ELASTIC_STAGES * BLOCKS_PER_STAGE):
        stage, block = divmod(index, BLOCKS_PER_STAGE)
        name = f"s{stage + 1}.b{block}"
        values[f"s{stage + 1}.depth"] = numbers[DEPTH + stage]
        values[f"{name}.kernel_size"] = numbers[index]
        values[f"{name}.expand_ratio"] = numbers[EXPAND + index]
        _read_bits(values, name, PARTS, numbers[BLOCK_BITS + 2 * len(PARTS) * index :])
    unknown = [choice.name for choice in space.genes if choice.name not in values]
    if unknown:
        raise GenomeError(
            f"The space {space.name!r} has choices that no official gene holds: {unknown}. "
            "Use official_space(width_mult, num_classes)."
        )
    fixed = [choice for choice in space.choices if isinstance(choice, Fixed)]
    for choice in fixed:
        value = values.get(choice.name, choice.value)
        is_dummy = choice.slot == "s0.b0"
        if value != choice.value and not is_dummy:
            raise GenomeError(
                f"{choice.name} is {value} in the gene and always {choice.value} in the space "
                f"{space.name!r}; make the space with a list that contains it."
            )
    return space.decode(np.array([values[choice.name] for choice in space.genes], np.int32))


def load_official(
    state: Mapping[str, np.ndarray],
    width_mult: float,
    num_classes: int,
    *,
    resolutions: Sequence[int] = tuple(range(128, 225, 4)),
    zero_point: str = "fractional",
    narrow_bits: Iterable[int] = (),
) -> "QFASupernet":
    """Builds the supernet of an official state.

    Stored averages of the state are not used: `calibrate` each subnet, as the release does.

    Args:
      state: Maps the names of the release to arrays; see `read_state`.
      width_mult: Width multiplier of the network; 1.2 in the paper.
      num_classes: Outputs of its classifier.
      resolutions: Of the space.
      zero_point: "fractional" computes what the release computes; "integer" rounds the zero
        points, so that subnets can be exported.
      narrow_bits: Weight bit-widths without their most negative code; (8,) for export.

    Raises:
      OfficialStateError: An array is missing, unknown, or of another shape.
    """
    from qfa_tf.supernet import QFASupernet
    from qfa_tf.supernet.options import RELEASE_OPTIONS

    net = QFASupernet(
        official_space(width_mult, num_classes, resolutions),
        zero_point=zero_point,
        padding="symmetric",
        narrow_bits=narrow_bits,
        **RELEASE_OPTIONS,
    )
    fill_official(net, state)
    return net


def fill_official(net: "QFASupernet", state: Mapping[str, np.ndarray]) -> None:
    """Copies an official state into a supernet of `official_space` with symmetric padding.

    Raises:
      OfficialStateError: See `load_official`.
    """
    reader = _StateReader(state)
    steps, theta, beta = (
        variable.numpy()
        for variable in (net.precision.step, net.precision.theta, net.precision.beta)
    )
    for site in net.space.sites:
        layer, prefix = net.site_layer(site.name), _prefix(net.space, site)
        weight = "linear.weight" if site.kind == "dense" else "conv.weight"
        reader.assign(layer.kernel, prefix + weight, _kernel(site))
        if layer.normalization:
            reader.assign(layer.gamma, prefix + "gamma")
            reader.assign(layer.beta, prefix + "beta")
        if layer.use_bias:
            reader.assign(layer.bias, prefix + "linear.bias")
        for size, matrix in layer.transform.matrices.items():
            larger = layer.kernel_sizes[layer.kernel_sizes.index(size) + 1]
            reader.assign(matrix, f"{prefix}{larger}to{size}_matrix")
        banks = [f"s.{size}" for size in layer.kernel_sizes] if site.kind == "depthwise" else [""]
        if layer.weight_quantizer is not None:
            names = _quantizer_names(f"{prefix}w_quantizer", banks, layer.weight_quantizer)
            steps[net.precision.steps_of(site.name)] = reader.scalars(names, "scale")
        if layer.activation_quantizer is not None:
            names = _quantizer_names(f"{prefix}a_quantizer", banks, layer.activation_quantizer)
            place = net.precision.activations_of(site.name)
            theta[place] = reader.scalars(names, "scale")
            beta[place] = reader.scalars(names, "offset")
    for stage, part in enumerate(net.space.stages):
        for block in range(part.max_depth if part.squeeze_excite else 0):
            name = f"s{stage}.b{block}"
            prefix = _block_prefix(stage, block) + "depth_conv.se.fc."
            layer = net.layer(f"{name}.se")
            for half in ("reduce", "expand"):
                kernel, bias = getattr(layer, f"{half}_kernel"), getattr(layer, f"{half}_bias")
                reader.assign(kernel, f"{prefix}{half}.weight", _matrix)
                reader.assign(bias, f"{prefix}{half}.bias")
    reader.finish()
    net.precision.step.assign(steps)
    net.precision.theta.assign(theta)
    net.precision.beta.assign(beta)


def read_state(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Reads the named arrays of an official file.

    Args:
      path: `.npz` (the keys are the names, with or without a leading "state/"), or a PyTorch
        `.pth`, `.pt` or `.tar`, which needs the torch package (`pip install "qfa_tf[torch]"`).

    Raises:
      OfficialStateError: No such file, damaged, or holding something else.
      MissingExtraError: A PyTorch file without the torch package.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise OfficialStateError(f"There is no file {path}.")
    try:
        state = _read_npz(path) if path.suffix == ".npz" else _read_torch(path)
    except QFAError:
        raise
    except Exception as error:  # whatever a damaged file makes the readers raise
        raise OfficialStateError(
            f"{path} cannot be read as a {path.suffix} file of named arrays: {error}"
        ) from error
    prefixes = ("module.", "state/")
    for prefix in prefixes:
        if state and all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state


def _read_npz(path: pathlib.Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as arrays:
        names = [name for name in arrays if name.startswith("state/")] or list(arrays)
        return {name: arrays[name] for name in names}


def _read_torch(path: pathlib.Path) -> dict[str, np.ndarray]:
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError(
            f"{path}, a PyTorch file and no .npz file of named arrays,", "torch", "torch"
        ) from error
    content = torch.load(path, map_location="cpu", weights_only=True)
    for key in ("state_dict", "model", "net"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(map(torch.is_tensor, content.values())):
        raise OfficialStateError(f"{path} holds no state of named tensors.")
    return {name: value.numpy() for name, value in content.items()}


class _StateReader:
    """Takes arrays out of a state, checks their shapes and notices what nobody took."""

    IGNORED = ("running_mean", "running_var", "running_min", "running_max", "num_batches_tracked")

    def __init__(self, state: Mapping[str, np.ndarray]):
        self._state = state
        self._taken: set[str] = set()

    def _take(self, name: str) -> np.ndarray:
        if name not in self._state:
            raise OfficialStateError(
                f"The state has no {name!r}; is it one of the official BatchQuant supernets? "
                f"Some of its names: {sorted(self._state)[:3]}."
            )
        self._taken.add(name)
        return np.asarray(self._state[name], np.float32)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._take(name).shape

    def assign(self, variable, name: str, convert=lambda array: array) -> None:
        value = convert(self._take(name))
        if value.shape != tuple(variable.shape):
            raise OfficialStateError(
                f"{name!r} has the shape {list(self._state[name].shape)}, which does not fit "
                f"{list(variable.shape)} here. Is width_mult or num_classes another one?"
            )
        variable.assign(value)

    def scalars(self, names: Sequence[str], role: str) -> list[float]:
        return [float(self._take(f"{name}.{role}").reshape(())) for name in names]

    def finish(self) -> None:
        """Refuses arrays of a part of a network that was not built."""
        left = [
            name
            for name in self._state
            if name not in self._taken
            and not name.endswith(self.IGNORED)
            and "_quantizer" not in name
        ]
        if left:
            raise OfficialStateError(
                f"The state has arrays that this network has no place for: {sorted(left)[:5]} "
                f"({len(left)} in all). Is it of another space?"
            )


def _read_bits(values: dict, name: str, parts: Sequence[str], gene: np.ndarray) -> None:
    for index, part in enumerate(parts):
        values[f"{name}.{part}.weight_bits"] = gene[2 * index]
        values[f"{name}.{part}.activation_bits"] = gene[2 * index + 1]


def _block_prefix(stage: int, block: int) -> str:
    index = 0 if stage == 0 else 1 + (stage - 1) * BLOCKS_PER_STAGE + block
    return _BLOCK.format(index=index)


def _prefix(space: SearchSpace, site: Site) -> str:
    stage, block, part = space.place(site.name)
    if stage is None:
        return _OUTER[part]
    return _block_prefix(stage, block) + _CONVOLUTIONS[part]


def _quantizer_names(prefix: str, banks: Sequence[str], quantizer) -> list[str]:
    return [
        f"{prefix}{bank}.quantizers.{bits}"
        for bank in banks
        for bits in quantizer.bit_widths.choices
    ]


def _kernel(site):
    """From the layout of PyTorch to that of the site."""
    if site.kind == "depthwise":  # [C, 1, k, k] to [k, k, C, 1]
        return lambda array: array.transpose(2, 3, 0, 1)
    if site.kind == "convolution":  # [out, in, k, k] to [k, k, in, out]
        return lambda array: array.transpose(2, 3, 1, 0)
    return _matrix


def _matrix(array: np.ndarray) -> np.ndarray:
    """[out, in] or [out, in, 1, 1] to [in, out]."""
    return array.reshape(array.shape[:2]).T
