"""Starting a training from the weights of another run."""

import json
from typing import TYPE_CHECKING

from ml_collections import ConfigDict

from qfa_tf.runs.building import build_space
from qfa_tf.runs.checkpoints import restore
from qfa_tf.runs.errors import ConfigError, RunError
from qfa_tf.runs.workdir import Workdir
from qfa_tf.space import BITS, SearchSpace

if TYPE_CHECKING:
    from qfa_tf.layers.precision import PrecisionBank
    from qfa_tf.supernet import QFASupernet

STRUCTURE = ("stem", "stages", "head", "input_channels", "num_classes", "width_divisor")


def load_initial_weights(net: "QFASupernet", config: ConfigDict) -> str:
    """Fills a supernet with the weights of `config.training.initial_checkpoint`.

    The other run needs the same structure; its resolutions and bits may differ. Quantizers start
    with what the other run learned for the same site and bits; the others start anew from the
    weights, as LSQ does.

    Args:
      net: Of this run.
      config: Of this run, complete.

    Returns:
      The key of the weights.

    Raises:
      ConfigError: There is no such run, or it has another structure.
      CheckpointError: Its checkpoint is damaged.
    """
    source_workdir = Workdir(config.training.initial_checkpoint)
    where = "config.training.initial_checkpoint"
    try:
        source_config = source_workdir.config()
        source_space = build_space(source_config)
        _require_same_structure(source_space, net.space, where)
        source, key = restore(source_workdir)
    except RunError as error:
        message = str(error) if str(error).startswith(where) else f"{where}: {error}"
        raise ConfigError(message) from error
    _copy_weights(source, net)
    net.reset_steps()
    trained = {bits for stage in source_config.training.stage_bits for bits in stage}
    _copy_quantizers(
        source.precision,
        net.precision,
        lambda site: set(BITS) if site in source_space.fixed_bits else trained,
    )
    return key


def _require_same_structure(source: SearchSpace, target: SearchSpace, where: str) -> None:
    there, here = (json.loads(space.to_json()) for space in (source, target))
    differing = [field for field in STRUCTURE if there[field] != here[field]]
    if differing:
        parts = "; ".join(
            f"{field} is {there[field]} there, {here[field]} here" for field in differing
        )
        raise ConfigError(
            f"{where} has another structure: {parts}. Only resolutions and bits may differ."
        )


def _copy_weights(source, target) -> None:
    """Everything but quantizers; both nets list their weights in the same order."""
    for there, here in zip(_plain_weights(source), _plain_weights(target), strict=True):
        here.assign(there.numpy())


def _plain_weights(net) -> list:
    learned = {variable.ref() for variable in net.precision.weights}
    return [weight for weight in net.weights if weight.ref() not in learned]


def _copy_quantizers(source: "PrecisionBank", target: "PrecisionBank", trained) -> None:
    """Copies the learned values of the bits that a site has in both, and the source trained.

    Args:
      source: Of the other run.
      target: Of this run.
      trained: From a site to the bits that its source trained.
    """
    for role in ("step", "theta", "beta"):
        kind = "weight" if role == "step" else "activation"
        there, here = (getattr(bank, role).numpy().copy() for bank in (source, target))
        for site in target.sites:
            quantizers = [getattr(bank.sites[site], kind) for bank in (source, target)]
            if None in quantizers:
                continue
            choices = [quantizer.bit_widths.choices for quantizer in quantizers]
            learned, values = (
                vector[
                    bank.steps_of(site) if kind == "weight" else bank.activations_of(site)
                ].reshape(-1, len(offered))  # a view: kernel sizes by bits
                for vector, bank, offered in zip(
                    (there, here), (source, target), choices, strict=True
                )
            )
            for bits in set(choices[0]) & set(choices[1]) & trained(site):
                values[:, choices[1].index(bits)] = learned[:, choices[0].index(bits)]
        getattr(target, role).assign(here)
