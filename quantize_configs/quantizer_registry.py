"""Every quantizer class by its name, and the ways to quantize activations by theirs."""

from collections.abc import Mapping
from typing import Any

from quantize_configs.batch_quantizer import BatchQuantizer
from quantize_configs.elastic_quantizer import ElasticQuantizer
from quantize_configs.errors import InvalidInputError
from quantize_configs.lsq_activation_quantizer import LSQActivationQuantizer
from quantize_configs.lsq_quantizer import LSQQuantizer
from quantize_configs.options import options_of
from quantize_configs.quantizer_options import ACTIVATION_KINDS

QUANTIZERS: dict[str, type[ElasticQuantizer]] = {
    kind.__name__: kind for kind in (BatchQuantizer, LSQActivationQuantizer, LSQQuantizer)
}


def serialized(quantizer: ElasticQuantizer | None) -> dict[str, Any] | None:
    """Class name and constructor arguments, in the types of JSON; None of None."""
    if quantizer is None:
        return None
    return {"class_name": type(quantizer).__name__, "config": quantizer.get_config()}


def deserialized(entry: Mapping[str, Any] | None) -> ElasticQuantizer | None:
    """The quantizer that `serialized` described.

    Raises:
      KeyError: No quantizer has this name.
    """
    if entry is None:
        return None
    return QUANTIZERS[entry["class_name"]].from_config(entry["config"])


def activation_quantizer(kind: str, num_bits: Any, **options: Any) -> ElasticQuantizer:
    """A quantizer of activations by the name of its kind.

    Args:
      kind: One of `ACTIVATION_KINDS`.
      num_bits: See the quantizers.
      **options: For the quantizers of all kinds; each takes those it has.

    Raises:
      InvalidInputError: Unknown kind, or a value that is not allowed.
    """
    if kind not in ACTIVATION_KINDS:
        raise InvalidInputError(
            f"activation_quantizer must be one of {tuple(ACTIVATION_KINDS)}. Received: {kind!r}."
        )
    chosen = ACTIVATION_KINDS[kind]
    owner = QUANTIZERS[chosen.class_name]
    known = options_of(owner)
    own = {name: value for name, value in options.items() if name in known}
    return owner(num_bits, **{**own, **chosen.fixed})
