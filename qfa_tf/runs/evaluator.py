"""Measures subnets of a trained supernet for the search."""

import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from qfa_tf.runs.building import build_data
from qfa_tf.runs.checkpoints import key_of, require_newest, restore
from qfa_tf.runs.workdir import Workdir
from qfa_tf.search import Evaluation
from qfa_tf.space import Architecture, SearchSpace

if TYPE_CHECKING:
    from qfa_tf.data import DataSplits, Split
    from qfa_tf.supernet import Calibration, QFASupernet

EVALUATION_BATCH_SIZE = 100
SEARCH_SPLIT = "search_validation"


class SupernetEvaluator:
    """Calibrates and evaluates subnets; an Evaluator of `qfa_tf.search`.

    The supernet is loaded when the first subnet is evaluated: a search that finds everything in
    its store never loads it.

    Args:
      space: Search space.
      data: All splits; only calibration and search validation are looked at.
      load_net: Makes the trained supernet.
      checkpoint_key: Identifies its weights.
      batch_size: Of the calibration; that of the training.
      calibration_batches: Most batches to calibrate with.

    Attributes:
      checkpoint_key: As given.
      calibration_key: Split sizes, batches, and a digest of the images.
      split: "search_validation".
    """

    split = SEARCH_SPLIT

    def __init__(
        self,
        space: SearchSpace,
        data: "DataSplits",
        load_net: Callable[[], "QFASupernet"],
        *,
        checkpoint_key: str,
        batch_size: int,
        calibration_batches: int,
    ):
        self.checkpoint_key = checkpoint_key
        self.calibration_key = calibration_key(data, batch_size, calibration_batches)
        self._space = space
        self._load_net = load_net
        self._net = None
        self._measurement = Measurement(data, batch_size, calibration_batches)

    def evaluate(self, genomes: np.ndarray) -> Sequence[Evaluation]:
        """Returns one Evaluation per genome of int32[n, n_genes], in order."""
        if self._net is None:
            self._net = self._load_net()
        return [self._evaluate_one(self._space.decode(genome)) for genome in genomes]

    def _evaluate_one(self, architecture: Architecture) -> Evaluation:
        calibration = self._measurement.calibrate(self._net, architecture)
        result = self._measurement.evaluate(self._net, architecture, calibration, self.split)
        return Evaluation(result["accuracy"], result["loss"], result["images"])


class Measurement:
    """Calibration and evaluation of subnets with the same batches every time.

    Args:
      data: All splits.
      batch_size: Of the calibration.
      calibration_batches: Most batches to calibrate with.
    """

    def __init__(self, data: "DataSplits", batch_size: int, calibration_batches: int):
        self._data = data
        self._batch_size = batch_size
        self._calibration_batches = calibration_batches
        self._batches = {}

    def calibrate(self, net: "QFASupernet", architecture: Architecture) -> "Calibration":
        """Statistics of a subnet on full batches of the calibration split."""
        if "calibration" not in self._batches:
            split, size = self._data.calibration, self._batch_size
            count = min(self._calibration_batches, len(split) // size)
            self._batches["calibration"] = _tensors(split.take(np.arange(count * size)), size)
        return net.calibrate(
            self._batches["calibration"], architecture, batches=self._calibration_batches
        )

    def evaluate(
        self, net: "QFASupernet", architecture: Architecture, calibration: "Calibration", split: str
    ) -> dict[str, float]:
        """Accuracy, loss and number of images on one of the splits."""
        if split not in self._batches:
            self._batches[split] = _tensors(getattr(self._data, split), EVALUATION_BATCH_SIZE)
        return net.evaluate_architecture(architecture, self._batches[split], calibration)


def calibration_key(data: "DataSplits", batch_size: int, calibration_batches: int) -> str:
    """Identifies the images of calibration and search validation and how they are batched."""
    digest = hashlib.sha256()
    for split in (data.calibration, data.search_validation):
        digest.update(split.fingerprint())
    size = data.calibration.resolution
    return (
        f"{data.name}-{size}px-calibration{len(data.calibration)}"
        f"-{calibration_batches}x{batch_size}-evaluation{len(data.search_validation)}"
        f"-{digest.hexdigest()[:12]}"
    )


def workdir_evaluator(
    workdir: Workdir,
    space: SearchSpace,
    data: "DataSplits | None" = None,
    net: "QFASupernet | None" = None,
) -> SupernetEvaluator:
    """The evaluator of a trained run.

    Args:
      workdir: Of the run.
      space: Its search space.
      data: Its data, loaded when None.
      net: Its supernet with the weights of the newest checkpoint, restored when None.

    Raises:
      WorkdirError, ConfigError: There is no run.
      CheckpointError: There is no checkpoint, or (when it is loaded) it is damaged.
    """
    config = workdir.config()
    checkpoint_key = key_of(require_newest(workdir))
    return SupernetEvaluator(
        space,
        build_data(config) if data is None else data,
        lambda: restore(workdir)[0] if net is None else net,
        checkpoint_key=checkpoint_key,
        batch_size=config.training.batch_size,
        calibration_batches=config.data.calibration_batches,
    )


def _tensors(split: "Split", batch_size: int) -> list:
    """Batches as tensors: turning arrays into tensors again for each subnet would cost more."""
    from qfa_tf.data import batches

    return list(batches(split, batch_size))
