"""Measures subnets of a trained supernet for the search."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from qfa_tf.runs.building import build_space
from qfa_tf.runs.checkpoints import key_of, require_newest, restore
from qfa_tf.runs.config import calibration_batch_size
from qfa_tf.runs.errors import CheckpointError
from qfa_tf.runs.run_data import open_data
from qfa_tf.runs.startup import load_tensorflow
from qfa_tf.runs.workdir import Workdir
from qfa_tf.search import Evaluation
from qfa_tf.search.abandonment import is_hopeless
from qfa_tf.space import Architecture, SearchSpace
from quantize_configs.errors import InvalidInputError

if TYPE_CHECKING:
    import tensorflow as tf

    from qfa_tf.data import DataSplits, Split
    from qfa_tf.supernet import Calibration, QFASupernet

EVALUATION_BATCH_SIZE = 100
SEARCH_SPLIT = "search_validation"
UNSEEN_SPLIT = "test"
"""Images that nothing is chosen by."""
_KEPT_BYTES = 1 << 30


class SupernetEvaluator:
    """Calibrates and evaluates subnets; an Evaluator of `qfa_tf.search`.

    The supernet is loaded when the first subnet is evaluated: a search that finds everything in
    its store never loads it.

    Args:
      space: Search space.
      data: All splits; `evaluate` looks at calibration and search validation only.
      load_net: Makes the trained supernet.
      checkpoint_key: Identifies its weights.
      batch_size: Of the calibration; that of the training.
      calibration_batches: Most batches to calibrate with.

    Attributes:
      checkpoint_key: As given.
      calibration_key: Split sizes, batches, and a digest of the images.
      split: "search_validation".
      images: Of that split.
      calibration_images: Of the calibration.
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
        self.images = len(data.search_validation)
        self._space = space
        self._data = data
        self._load_net = load_net
        self._net: QFASupernet | None = None
        self._measurement = Measurement(data, batch_size, calibration_batches)
        self.calibration_images = self._measurement.calibration_images

    def evaluate(
        self,
        genomes: np.ndarray,
        *,
        images: int | None = None,
        to_beat: np.ndarray | None = None,
    ) -> Sequence[Evaluation]:
        """Returns one Evaluation per genome of int32[n, n_genes], in order; see `Evaluator`."""
        if self._net is None:
            self._net = self._load_net()
        net = self._net
        rivals = [None] * len(genomes) if to_beat is None else to_beat
        return [
            self._evaluate_one(net, self._space.decode(genome), images, rival)
            for genome, rival in zip(genomes, rivals, strict=True)
        ]

    def evaluate_apart(self, genome: np.ndarray, split: str) -> Evaluation:
        """Measures one subnet on images that nothing is chosen by, and that no store may know.

        Args:
          genome: Canonical, int32[n_genes].
          split: Name of a split, such as "test".
        """
        if self._net is None:
            self._net = self._load_net()
        architecture = self._space.decode(genome)
        return self._evaluate_one(self._net, architecture, None, None, split)

    def images_key(self, split: str) -> str:
        """Identifies the images of a split."""
        return getattr(self._data, split).fingerprint().hex()

    def _evaluate_one(
        self,
        net: "QFASupernet",
        architecture: Architecture,
        images: int | None,
        rival: float | None,
        split: str = SEARCH_SPLIT,
    ) -> Evaluation:
        calibration = self._measurement.calibrate(net, architecture)
        result = self._measurement.evaluate(
            net, architecture, calibration, split, images=images, to_beat=rival
        )
        return Evaluation(result["accuracy"], result["loss"], result["images"], result["answers"])


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
        self._batches: dict[str, Iterable[tuple[tf.Tensor, ...]]] = {}

    @property
    def calibration_images(self) -> int:
        """Images of a calibration."""
        count = min(self._calibration_batches, len(self._data.calibration) // self._batch_size)
        return count * self._batch_size

    def calibrate(self, net: "QFASupernet", architecture: Architecture) -> "Calibration":
        """Statistics of a subnet on full batches of the calibration split."""
        if "calibration" not in self._batches:
            split = self._data.calibration.take(np.arange(self.calibration_images))
            self._batches["calibration"] = _tensors(split, self._batch_size)
        from quantize_configs.native.operators import native_kernels_at_hand

        with native_kernels_at_hand():
            return net.calibrate(
                self._batches["calibration"], architecture, batches=self._calibration_batches
            )

    def evaluate(
        self,
        net: "QFASupernet",
        architecture: Architecture,
        calibration: "Calibration",
        split: str,
        *,
        images: int | None = None,
        to_beat: float | None = None,
    ) -> dict[str, Any]:
        """Accuracy, loss, number of images and answers on one of the splits.

        The answers are bytes, one per image, 1 where the subnet is right.

        Args:
          net: With the weights.
          architecture: What to evaluate.
          calibration: Of `architecture`.
          split: Name of the split.
          images: Look at the first so many only.
          to_beat: Stop when it is nearly certain that the accuracy on all images stays below this.
        """
        from qfa_tf.supernet.measuring import answers
        from quantize_configs.native.operators import native_kernels_at_hand

        if split not in self._batches:
            self._batches[split] = _tensors(getattr(self._data, split), EVALUATION_BATCH_SIZE)
        total = len(getattr(self._data, split))
        wanted = total if images is None else min(images, total)
        if wanted < 1:
            raise InvalidInputError(
                f"A subnet is evaluated on at least one image. The split {split!r} has {total}; "
                f"received images={images}."
            )
        right, loss = np.zeros(0, bool), 0.0
        wanted_batches = _first_images(self._batches[split], wanted)
        with native_kernels_at_hand():
            for more, losses in answers(net, architecture, wanted_batches, calibration):
                right = np.concatenate([right, more])
                loss += losses
                seen, correct = len(right), int(right.sum())
                if to_beat is not None and is_hopeless(correct, seen, total, to_beat):
                    break
        return {
            "accuracy": correct / seen,
            "loss": loss / seen,
            "images": seen,
            "answers": right.tobytes(),
        }


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
        open_data(workdir, config) if data is None else data,
        lambda: _restored(workdir, checkpoint_key) if net is None else net,
        checkpoint_key=checkpoint_key,
        batch_size=calibration_batch_size(config),
        calibration_batches=config.data.calibration_batches,
    )


def single_threaded_evaluator(path: str, checkpoint_key: str) -> SupernetEvaluator:
    """The evaluator of a worker process, one of as many as there are cores.

    Sums do not depend on how many threads there are, so that results do not depend on how many
    workers there are.

    Args:
      path: Of the workdir.
      checkpoint_key: Of the weights that the search is about.

    Raises:
      CheckpointError: A training has gone on since.
    """
    load_tensorflow()
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    workdir = Workdir(path)
    evaluator = workdir_evaluator(workdir, build_space(workdir.config()))
    _check_same(workdir, evaluator.checkpoint_key, checkpoint_key)
    return evaluator


def _restored(workdir: Workdir, checkpoint_key: str) -> "QFASupernet":
    net, found = restore(workdir)
    _check_same(workdir, found, checkpoint_key)
    return net


def _check_same(workdir: Workdir, found: str, wanted: str) -> None:
    """Results must not be stored as those of weights that they were not measured with."""
    if found != wanted:
        raise CheckpointError(
            f"{workdir} has new weights, {found}, since the measurement of {wanted} began. "
            "Measure again when the training has ended."
        )


def _first_images(batches: Iterable, count: int) -> Iterator[tuple["tf.Tensor", ...]]:
    """The batches that hold the first images, the last of them cut."""
    for batch in batches:
        size = len(batch[0])
        yield tuple(batch) if size <= count else tuple(tensor[:count] for tensor in batch)
        count -= size
        if count <= 0:
            return


def _tensors(split: "Split", batch_size: int) -> Iterable:
    """Batches as tensors: reading small splits again for each subnet would cost more."""
    from qfa_tf.data import batches

    dataset = batches(split, batch_size)
    return list(dataset) if split.nbytes <= _KEPT_BYTES else dataset
