"""Starting one supernet from another: weights, and quantizers of equal or of more bits."""

from collections.abc import Collection

from qfa_tf.space import BITS, Architecture
from qfa_tf.supernet.protocol import Supernet
from quantize_configs.errors import InvalidInputError
from quantize_configs.inherited_grids import INHERITANCES, inherited_low, inherited_step

__all__ = ["INHERITANCES", "check_rule", "inherit", "inherited_low", "inherited_step"]


def inherit(
    source: Supernet,
    target: Supernet,
    rule: str = "double",
    trained: Collection[int] | Architecture | None = None,
) -> None:
    """Fills `target` with the weights and the learned quantizer values of `source`.

    Quantizers of bits that `source` trained at a site keep what it learned. With another rule than
    "equal_bits", those of fewer bits b come from its next wider ones, K:

      "double":       step(b) = 2^(K - b) step(K), the bit inheritance of OQA: the grids are nested,
                      and no value moves by more than (2^(K - b) - 1) step(K). The zero point of a
                      learned offset becomes floor(z / 2^(K - b)).
      "keep_range":   step(b) = step(K) qmax(K) / qmax(b), and the same lower end.
      "power_of_two": that of "keep_range", rounded to a power of two.

    BatchQuant's ranges follow the bits by themselves: with each of these rules its factor is copied
    and its offset, which counts steps, scaled by (2^b - 1) / (2^K - 1). All others start anew:
    weight steps from the weights, learned grids of inputs from the data of the training, and the
    factors and offsets of BatchQuant at 1 and 0, also where `source` quantizes inputs in another
    way. Where only one of both shares its values between kernel sizes, those of the largest kernel
    stand for all.

    Args:
      source: Any supernet with the structure of `target`.
      target: Filled in place.
      rule: One of `INHERITANCES`.
      trained: Bits that `source` trained at sites where they are not fixed, or the one subnet that
        it trained alone; by default those of the training it was compiled with, or all.

    Raises:
      InvalidInputError: Unknown rule, or the structures differ.
    """
    check_rule(rule)
    _copy_weights(source, target)
    target.reset_steps()
    target.precision.reset_activations()
    trained = _trained_bits(source) if trained is None else trained
    for kind in ("weight", "activation"):
        fixed = source.space.fixed_bits
        _inherit_kind(source.precision, target.precision, kind, rule, trained, fixed)


def check_rule(rule: str) -> None:
    """Raises ValueError unless the rule exists."""
    if rule not in INHERITANCES:
        raise InvalidInputError(f"inheritance must be one of {INHERITANCES}. Received: {rule!r}.")


def _copy_weights(source, target) -> None:
    """Everything but quantizers; both nets list their weights in the same order."""
    pairs = list(zip(_plain_weights(source), _plain_weights(target), strict=False))
    if len(pairs) != len(_plain_weights(target)) or any(a.shape != b.shape for a, b in pairs):
        raise InvalidInputError(
            f"The supernets of {source.space.name!r} and {target.space.name!r} differ in their "
            "structure. Only resolutions, bits and quantizers may differ."
        )
    for there, here in pairs:
        here.assign(there.numpy())


def _plain_weights(net) -> list:
    learned = {variable.ref() for variable in net.precision.weights}
    return [weight for weight in net.weights if weight.ref() not in learned]


def _trained_bits(net) -> Collection[int] | Architecture:
    method = net.training_method
    if method is None:
        return BITS
    recipe = method.recipe
    if recipe.architecture is not None and not all(stage.is_float for stage in recipe.stages):
        return recipe.architecture
    return {bits for stage in recipe.stages for bits in stage.bits}


def _bits_at(trained: Collection[int] | Architecture, kind: str, site: str) -> Collection[int]:
    """The bits of weights or inputs that were trained at a site where they are not fixed."""
    if not isinstance(trained, Architecture):
        return trained
    if site not in trained.site_bits:
        return ()
    weight_bits, activation_bits = trained.site_bits[site]
    return (weight_bits,) if kind == "weight" else (activation_bits,)


def _inherit_kind(source, target, kind, rule, trained, fixed) -> None:
    """Fills the learned vectors of weights or of inputs."""
    if kind == "activation" and source.learns_grids != target.learns_grids:
        return
    roles = ("step",) if kind == "weight" else target.activation_roles
    there = [getattr(source, role).numpy() for role in roles]
    here = [getattr(target, role).numpy() for role in roles]
    started = target.activation_started.numpy() if target.learns_grids else None
    for site in target.sites:
        pair = [bank.sites[site] for bank in (source, target)]
        quantizers = [getattr(one, kind) for one in pair]
        if None in quantizers or len({quantizer.kind_of_grid for quantizer in quantizers}) > 1:
            continue
        places = [
            bank.steps_of(site) if kind == "weight" else bank.activations_of(site)
            for bank in (source, target)
        ]
        counts = [len(quantizer.bit_widths.choices) for quantizer in quantizers]
        rows = _rows(*(one.kernel_sizes for one in pair))
        learned = [vector[places[0]].reshape(-1, counts[0])[rows] for vector in there]
        values = [vector[places[1]].reshape(-1, counts[1]) for vector in here]  # views
        offered = quantizers[0].bit_widths.choices
        at_site = _bits_at(trained, kind, site)
        known = [one for one in offered if one in at_site or site in fixed]
        for column, bits in enumerate(quantizers[1].bit_widths.choices):
            wider = [one for one in known if one >= bits]
            if not wider or (wider[0] > bits and rule == "equal_bits"):
                continue
            parent = [array[:, offered.index(wider[0])] for array in learned]
            if wider[0] > bits:
                parent = quantizers[0].narrowed(parent, wider[0], bits, rule)
            for array, new in zip(values, parent, strict=True):
                array[:, column] = new
            if kind == "activation" and started is not None:
                started[places[1]].reshape(-1, counts[1])[:, column] = 1.0
    for role, vector in zip(roles, here, strict=True):
        getattr(target, role).assign(vector)
    if kind == "activation" and started is not None:
        target.activation_started.assign(started)


def _rows(there: tuple[int, ...], here: tuple[int, ...]) -> list[int]:
    """For each kernel size with parameters here, the row of the source: its own or the largest."""
    return [there.index(size) if size in there else len(there) - 1 for size in here]
