"""The learned scales and measured ranges of every site as rows of a table."""

import functools
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from qfa_tf.space import Architecture, SearchSpace

if TYPE_CHECKING:
    from qfa_tf.supernet import Calibration, QFASupernet


def quantizer_rows(
    net: "QFASupernet", calibrations: Mapping[int | str, "Calibration"]
) -> Iterator[dict[str, Any]]:
    """One row per site, bit-width and kernel size.

    Columns: `site`, `bits`, `kernel_size` (empty at sites with one), `weight_step` (empty where
    weights do not have these bits), `gamma` and `beta` of the input (the same), or `input_step` and
    `input_low` where its grid is learned, `range_low` and
    `range_high` of the input (empty unless a calibration has this site at these bits and kernel).

    Args:
      net: Any supernet.
      calibrations: By bit-width, of a subnet with these bits everywhere.
    """
    bank = net.precision
    steps = bank.step.numpy()
    learned = bank.readable_activations()
    for site, quantizers in bank.sites.items():
        weights: dict[int, np.ndarray] = {}
        inputs: dict[str, dict[int, np.ndarray]] = {name: {} for name in learned}
        if quantizers.weight is not None:
            weights = _by_bits(quantizers.weight, steps[bank.steps_of(site)])
        if quantizers.activation is not None:
            place = bank.activations_of(site)
            inputs = {
                name: _by_bits(quantizers.activation, values[place])
                for name, values in learned.items()
            }
        sizes = quantizers.kernel_sizes
        for row, size in enumerate(sizes):
            for bits in sorted(
                {*weights, *(bits for values in inputs.values() for bits in values)}
            ):
                yield {
                    "site": site,
                    "bits": bits,
                    "kernel_size": size if len(sizes) > 1 else "",
                    "weight_step": abs(float(weights[bits][row])) if bits in weights else "",
                    **{
                        name: float(values[bits][row]) if bits in values else ""
                        for name, values in inputs.items()
                    },
                } | _range(net, site, bits, size, calibrations)


def _by_bits(quantizer, values: np.ndarray) -> dict[int, np.ndarray]:
    """Learned values, one per kernel size, by bit-width."""
    choices = quantizer.bit_widths.choices
    return dict(zip(choices, values.reshape(-1, len(choices)).T, strict=True))


@functools.lru_cache(maxsize=64)
def kernel_sizes_of(space: SearchSpace, architecture: Architecture) -> dict[str, int]:
    """The kernel size of every site of a subnet, by name."""
    return {part.node.name: part.kernel_size for part in space.subnet(architecture).nodes}


def _range(net, site, bits, kernel_size, calibrations) -> dict[str, object]:
    for calibration in calibrations.values():
        architecture = calibration.architecture
        if architecture.site_bits.get(site, (None, None))[1] != bits:
            continue
        if kernel_sizes_of(net.space, architecture)[site] != kernel_size:
            continue
        low, high = calibration.read(net.layout, f"{site}.range")
        return {"range_low": float(low), "range_high": float(high)}
    return {"range_low": "", "range_high": ""}
