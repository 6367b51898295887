"""Starting a training from the weights of another run."""

import json
from collections.abc import Collection
from typing import TYPE_CHECKING

from ml_collections import ConfigDict

from qfa_tf.errors import QFAError
from qfa_tf.network.families import KerasModel
from qfa_tf.runs.building import build_architecture, build_space, is_float_stage
from qfa_tf.runs.checkpoints import restore
from qfa_tf.runs.errors import ConfigError, RunError
from qfa_tf.runs.workdir import Workdir
from qfa_tf.space import Architecture, SearchSpace

if TYPE_CHECKING:
    from qfa_tf.supernet import QFASupernet

FREE = ("name", "resolutions", "weight_bits", "activation_bits", "fixed_bits")
"""What may differ between the spaces of both runs."""


def load_initial_weights(net: "QFASupernet", config: ConfigDict) -> str:
    """Fills a supernet with the weights of `config.training.initial_checkpoint`.

    That is the workdir of another run, or the file of the Keras model that the space was made from.
    The other run needs the same structure; its resolutions, bits and quantizers may differ.
    Quantizers start with what the other run learned for the same site and bits, or, as
    `config.training.inheritance` says, for more bits; the others start anew, from the weights or
    the first images, as LSQ does.

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
    if isinstance(net.space.family, KerasModel) and not source_workdir.config_file.is_file():
        return _load_model(net, config.training.initial_checkpoint, where)
    try:
        source_config = source_workdir.config()
        source_space = build_space(source_config)
        _require_same_structure(source_space, net.space, where)
        source, key = restore(source_workdir)
    except RunError as error:
        message = str(error) if str(error).startswith(where) else f"{where}: {error}"
        raise ConfigError(message) from error
    from qfa_tf.supernet import inherit

    inherit(source, net, config.training.inheritance, _trained(source_config))
    return key


def _load_model(net: "QFASupernet", path: str, where: str) -> str:
    """Fills the supernet of a model with the values of the model."""
    from qfa_tf.keras_models import as_model

    try:
        model = as_model(path)
        net.start_from_model(model)
    except QFAError as error:
        raise ConfigError(f"{where}: {error}") from error
    return f"the model {model.name!r}"


def _trained(config: ConfigDict) -> Collection[int] | Architecture:
    """Which quantizers a run trained, as `inherit` takes it."""
    stage_bits = config.training.stage_bits
    architecture = build_architecture(config)
    quantizes = not all(is_float_stage(config, stage) for stage in range(len(stage_bits)))
    if architecture is not None and quantizes:
        return architecture
    return {bits for stage in stage_bits for bits in stage}


def _require_same_structure(source: SearchSpace, target: SearchSpace, where: str) -> None:
    there, here = (json.loads(space.to_json()) for space in (source, target))
    fields = sorted({*there, *here} - {*FREE})
    differing = [field for field in fields if there.get(field) != here.get(field)]
    if differing:
        parts = "; ".join(
            f"{field} is {there.get(field)} there, {here.get(field)} here" for field in differing
        )
        raise ConfigError(
            f"{where} has another structure: {parts}. Only resolutions and bits may differ."
        )
