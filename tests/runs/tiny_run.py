"""A tiny space, tiny synthetic data and a config of two epochs; also a training program.

    python tests/runs/tiny_run.py WORKDIR [STRATEGY [KEY=JSON ...]]

trains as `apps/train.py` does. From the environment: MIRRORED_CPUS=2 makes that many logical
devices, PAUSE_AFTER=3 waits after the checkpoint of step 3 while the file WORKDIR.paused exists,
PAUSE_BEFORE=3 before it,
DUMP_WEIGHTS=FILE.npz writes the weights that this process has after the last step, and ends.
"""

import functools
import json
import os
import pathlib
import sys
import time

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "benchmarks"))

from small_recipe import small_config, small_space

CLASSES = 4
DATA = "python:tiny_run:load_bright_corners"
"""Needs no registration, which other tests of the process would see."""


def tiny_space():
    return small_space(CLASSES, "tiny")


def load_bright_corners(resolution):
    """Images whose class is their brightest quarter."""
    from qfa_tf.data import DataSplits, Split

    rng = np.random.default_rng(5)
    labels = np.arange(200, dtype=np.int32) % CLASSES
    images = rng.uniform(0, 0.5, (200, resolution, resolution, 1)).astype(np.float32)
    half = resolution // 2
    for image, label in zip(images, labels, strict=True):
        rows, columns = half * (label // 2), half * (label % 2)
        image[rows : rows + half, columns : columns + half] += 0.5
    everything = Split.from_arrays(images, labels)
    train, validation, test = np.split(np.arange(200), [96, 148])
    return DataSplits(
        name="bright_corners",
        num_classes=CLASSES,
        train=everything.take(train),
        calibration=everything.take(train[:64]),
        search_validation=everything.take(validation),
        test=everything.take(test),
    )


def tiny_config():
    """Two epochs of four steps, one stage in float and two in fewer bits."""
    training = {
        "batch_size": 16,
        "stage_bits": ((32,), (4, 8, 32), (4, 8)),
        "stage_steps": (3, 2, 3),
    }
    return small_config(tiny_space(), DATA, training)


def main(path, strategy="default", *changes):
    """Trains."""
    from qfa_tf.runs import Workdir, train

    config = tiny_config()
    for change in changes:
        key, _, value = change.partition("=")
        section, name = key.split(".")
        config[section][name] = json.loads(value)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    devices = int(os.environ.get("MIRRORED_CPUS", "1"))
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0],
        [tf.config.LogicalDeviceConfiguration() for _ in range(devices)],
    )
    _pause(pathlib.Path(f"{path}.paused"))
    _dump_weights(os.environ.get("DUMP_WEIGHTS"))
    train(config, Workdir(path), strategy=strategy)


def _pause(flag):
    from qfa_tf.runs.checkpoints import TrainingState

    save = TrainingState.save

    def wait(here):
        if here:
            flag.touch()
            while flag.exists():
                time.sleep(0.02)

    def paused(state, progress):
        wait(os.environ.get("PAUSE_BEFORE") == str(progress.step))
        save(state, progress)
        wait(os.environ.get("PAUSE_AFTER") == str(progress.step))

    TrainingState.save = paused


def _dump_weights(path):
    from qfa_tf.runs.training.loop import TrainingLoop

    run = TrainingLoop.run

    def dumping(loop):
        run(loop)
        if path:
            np.savez(path, *[weight.numpy() for weight in loop._net.weights])
            sys.exit(0)

    TrainingLoop.run = dumping


if __name__ == "__main__":
    from qfa_tf.runs import command_line

    arguments, sys.argv[1:] = sys.argv[1:], []
    command_line.run_app(functools.partial(main, *arguments))
