"""Starting a training from the weights of another run."""

import json
from typing import TYPE_CHECKING

from ml_collections import ConfigDict

from qfa_tf.runs.building import build_space
from qfa_tf.runs.checkpoints import restore
from qfa_tf.runs.errors import ConfigError, RunError
from qfa_tf.runs.workdir import Workdir
from qfa_tf.space import FLOAT_BITS, SearchSpace

if TYPE_CHECKING:
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
    trained = {bits for stage in source_config.training.stage_bits for bits in stage}
    net.training_method.reset_weight_steps()
    for site in net.space.sites:
        fixed = site.name in source_space.fixed_bits
        _copy_quantizers(source, net, site.name, None if fixed else trained)
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
    pairs = zip(_plain_weights(source), _plain_weights(target), strict=True)
    for there, here in pairs:
        here.assign(there.numpy())


def _plain_weights(net) -> list:
    learned = set()
    for site in net.space.sites:
        layer = net.site_layer(site.name)
        for variables in (layer.weight_variables, layer.activation_variables):
            learned |= {variable.ref() for variable in variables.values()}
    return [weight for weight in net.weights if weight.ref() not in learned]


def _copy_quantizers(source, target, site: str, trained: set[int] | None) -> None:
    """Copies the learned values of the bits that both have and the source trained."""
    there, here = source.site_layer(site), target.site_layer(site)
    for kind in ("weight", "activation"):
        quantizers = [getattr(layer, f"{kind}_quantizer") for layer in (there, here)]
        if None in quantizers:
            continue
        choices = [quantizer.bit_widths.choices for quantizer in quantizers]
        common = [bits for bits in choices[0] if bits in choices[1] and bits != FLOAT_BITS]
        common = [bits for bits in common if trained is None or bits in trained]
        for role, variable in getattr(here, f"{kind}_variables").items():
            values = variable.numpy().reshape(-1, len(choices[1]))
            learned = getattr(there, f"{kind}_variables")[role].numpy()
            learned = learned.reshape(-1, len(choices[0]))
            for bits in common:
                values[:, choices[1].index(bits)] = learned[:, choices[0].index(bits)]
            variable.assign(values.reshape(-1))
