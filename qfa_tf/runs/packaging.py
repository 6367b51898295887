"""Making the small files of a trained supernet from its workdir."""

import datetime
import importlib.metadata
import json
import os
import pathlib

import numpy as np
import rich.console

from qfa_tf.runs.building import build_space
from qfa_tf.runs.checkpoints import restore
from qfa_tf.runs.data_record import DataRecord
from qfa_tf.runs.errors import RunError
from qfa_tf.runs.measurement import SEARCH_SPLIT, workdir_evaluator
from qfa_tf.runs.messages import new_console, say
from qfa_tf.runs.run_data import open_data
from qfa_tf.runs.startup import load_tensorflow
from qfa_tf.runs.training.final_table import uniform_bits
from qfa_tf.runs.workdir import Workdir
from qfa_tf.search.intervals import with_interval

_PACKAGES = ("qfa_tf", "tensorflow", "numpy")
_SIZES = ("smallest", "largest")


def package_workdir(
    workdir: Workdir,
    name: str,
    folder: str | os.PathLike,
    *,
    licence: str,
    data_licence: str,
    console: rich.console.Console | None = None,
) -> pathlib.Path:
    """Writes NAME.npz and NAME.json of a trained supernet, and measures what they hold.

    The accuracies are those of the weights as they are stored. Values outside the bounds that
    training keeps by now, of nets that an earlier release trained, are brought within.

    Args:
      workdir: Of a finished training of a supernet.
      name: Of the files.
      folder: Where to.
      licence: Of the weights, an SPDX expression.
      data_licence: Where the images come from, and their licence.
      console: For progress.

    Returns:
      The path of the .npz file.

    Raises:
      WorkdirError, ConfigError, CheckpointError: There is no such run.
      RunError: It is of one subnet alone.
      FileWriteError: The files cannot be written.
    """
    console = console or new_console()
    config = workdir.config()
    if config.training.architecture:
        raise RunError(f"{workdir} holds one subnet that was trained alone, and no supernet.")
    space = build_space(config)
    say(console, "Loading TensorFlow, the images and the supernet.")
    load_tensorflow()
    from qfa_tf.supernet.pretrained import assign_weights, stored_weights, write_pretrained

    data = open_data(workdir, config)
    net, checkpoint_key = restore(workdir)
    bounded = _bounded(net)
    arrays = stored_weights(net)
    assign_weights(net, arrays, name)
    evaluator = workdir_evaluator(workdir, space, data, net)
    accuracy: dict[str, dict[str, float]] = {}
    for split in (SEARCH_SPLIT, "test"):
        for bits in uniform_bits(space):
            for size in _SIZES:
                architecture = getattr(space, size)(bits=bits)
                found = evaluator.evaluate_apart(np.asarray(space.encode(architecture)), split)
                label = f"{size}, {bits} bits"
                accuracy.setdefault(split, {"images": found.images})[label] = found.accuracy
                say(console, f"{split}, {label}: {with_interval(found.accuracy, found.images)}")
    record = DataRecord.read(workdir)
    facts = {
        "name": name,
        "made": datetime.date.today().isoformat(),
        "licence": licence,
        "space": json.loads(space.to_json()),
        "options": {key: value for key, value in net.get_config().items() if key != "space"},
        "recipe": json.loads(json.dumps(config.to_dict())),
        "data": {
            "name": config.data.name,
            "licence": data_licence,
            "fingerprint": None if record is None else record.members.fingerprint,
            "split_by": "" if record is None else record.rule,
            "images": {
                split: len(getattr(data, split))
                for split in ("train", "calibration", "search_validation", "test")
            },
        },
        "accuracy": accuracy,
        "checkpoint": checkpoint_key,
        "values_brought_within_bounds": bounded,
        "versions": {package: importlib.metadata.version(package) for package in _PACKAGES},
    }
    path = write_pretrained(pathlib.Path(folder), name, arrays, facts)
    say(console, f"Wrote {path} ({path.stat().st_size:,} bytes) and {path.with_suffix('.json')}")
    return path


def _bounded(net) -> int:
    """Brings learned values within their bounds; how many were outside."""
    outside = 0
    for variable in net.trainable_variables:
        if variable.constraint is not None:
            before, after = variable.numpy(), variable.constraint(variable).numpy()
            outside += int(np.count_nonzero(before != after))
            variable.assign(after)
    return outside
