"""The learned scales and measured ranges of every site as rows of a table."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from quantize_configs.bit_widths import BitWidths

if TYPE_CHECKING:
    from qfa_tf.supernet import Calibration, QFASupernet


def quantizer_rows(
    net: "QFASupernet", calibrations: Mapping[int, "Calibration"]
) -> Iterator[dict[str, object]]:
    """One row per site, bit-width and kernel size.

    Columns: `site`, `bits`, `kernel_size` (empty at sites with one), `weight_step` (empty where
    weights do not have these bits), `gamma` and `beta` of the input (the same), `range_low` and
    `range_high` of the input (empty unless a calibration has this site at these bits and kernel).

    Args:
      net: Any supernet.
      calibrations: By bit-width, of a subnet with these bits everywhere.
    """
    for site in net.space.sites:
        layer = net.site_layer(site.name)
        weights = _banks(layer.weight_quantizer, layer.weight_variables, "step")
        gammas = _banks(layer.activation_quantizer, layer.activation_variables, "theta")
        betas = _banks(layer.activation_quantizer, layer.activation_variables, "beta")
        for bank, size in enumerate(layer.kernel_sizes):
            for bits in sorted({bits for bits, _ in (*weights, *gammas)}):
                step, theta = weights.get((bits, bank)), gammas.get((bits, bank))
                yield {
                    "site": site.name,
                    "bits": bits,
                    "kernel_size": size if len(layer.kernel_sizes) > 1 else "",
                    "weight_step": "" if step is None else abs(step),
                    "gamma": "" if theta is None else _gamma(theta),
                    "beta": betas.get((bits, bank), ""),
                } | _range(net, site.name, bits, size, calibrations)


def _banks(quantizer, variables, role) -> dict[tuple[int, int], float]:
    """Learned values by (bits, bank)."""
    if quantizer is None:
        return {}
    widths: BitWidths = quantizer.bit_widths
    values = variables[role].numpy().reshape(-1, len(widths.choices))
    return {
        (bits, bank): float(row[column])
        for bank, row in enumerate(values)
        for column, bits in enumerate(widths.choices)
    }


def _gamma(theta: float) -> float:
    from quantize_configs.batch_quantizer import learned_factor

    return float(learned_factor(theta))


def _range(net, site, bits, kernel_size, calibrations) -> dict[str, object]:
    for calibration in calibrations.values():
        architecture = calibration.architecture
        if architecture.site_bits.get(site, (None, None))[1] != bits:
            continue
        if site.endswith(".depthwise"):
            stage, block = (int(part[1:]) for part in site.split(".")[:2])
            if architecture.stages[stage][block].kernel_size != kernel_size:
                continue
        low, high = calibration.read(net.layout, f"{site}.range")
        return {"range_low": float(low), "range_high": float(high)}
    return {"range_low": "", "range_high": ""}
