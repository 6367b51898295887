"""Four splits of a labelled image set.

Training and calibration come from the training images; search sees only images held out of them;
the test images are for the final table.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from qfa_tf.data.collecting import collect
from qfa_tf.data.division import BY_IMAGE, RULES, by_content_and_class, held_out_by_content
from qfa_tf.data.errors import DataError
from qfa_tf.data.folder_report import FolderReport
from qfa_tf.data.split import Split
from qfa_tf.data.splitting import SPLIT_SEED, SplitSizes, random_indices, stratified_indices


@dataclasses.dataclass(frozen=True, eq=False)
class Pools:
    """What the splits of a data set are made from.

    Attributes:
      train: Training images, before anything is held out.
      test: Test images of the data set; None where they are held out of `train`.
      sizes: Of the splits.
      rule: "images" or "positions", see `DataSplits.divide`.
      usual_rule: That of the format.
    """

    train: Split
    test: Split | None
    sizes: SplitSizes
    rule: str
    usual_rule: str


@dataclasses.dataclass(frozen=True, eq=False)
class DataSplits:
    """The splits of one data set.

    Attributes:
      name: Of the data set.
      num_classes: Number of labels.
      train: For the weights.
      calibration: Training images for statistics.
      search_validation: For the search and for predictors.
      test: For the final figures only.
      class_names: Of the labels 0, 1, ...; empty where they are not known.
      pools: What they were divided from; None where they were not.
      report: What the scan of a folder found.
    """

    name: str
    num_classes: int
    train: Split
    calibration: Split
    search_validation: Split
    test: Split
    class_names: tuple[str, ...] = ()
    pools: Pools | None = None
    report: FolderReport | None = None

    @classmethod
    def divide(
        cls,
        name: str,
        num_classes: int,
        train: Split,
        test: Split | None = None,
        *,
        sizes: SplitSizes | None = None,
        class_names: Sequence[str] = (),
        rule: str = BY_IMAGE,
        report: FolderReport | None = None,
    ) -> "DataSplits":
        """Holds search validation, and test where there is none, out of the training images.

        The division is the same every time. With the rule "images" the content of an image alone
        decides its split, so that images which are added or removed move none of the others (where
        numbers of images are asked for: few others); each class has about its share. With
        "positions" it is drawn for the images in their order, and each class has exactly its
        share (but not where labels can only be found by reading all images).

        Args:
          name: Of the data set.
          num_classes: Number of labels.
          train: Training images.
          test: Test images; None to hold them out of `train`.
          sizes: Numbers of images.
          class_names: Of the labels.
          rule: "images" or "positions".
          report: For `DataSplits.report`.

        Raises:
          DataError: There are too few images for these sizes.
        """
        if rule not in RULES:
            raise DataError(f"rule must be one of {RULES}. Received: {rule!r}.")
        pools = Pools(train, test, sizes or SplitSizes(), rule, rule)
        divided = _by_image(pools) if rule == BY_IMAGE else _by_position(pools)
        return cls(name, num_classes, *divided, tuple(class_names), pools, report)

    def divided_again(self, rule: str) -> "DataSplits":
        """The same images divided by another rule; unchanged where `pools` is None."""
        if self.pools is None or self.pools.rule == rule:
            return self
        pools = self.pools
        divided = self.divide(
            self.name,
            self.num_classes,
            pools.train,
            pools.test,
            sizes=pools.sizes,
            class_names=self.class_names,
            rule=rule,
            report=self.report,
        )
        kept = dataclasses.replace(pools, rule=rule)
        return dataclasses.replace(divided, pools=kept)

    @classmethod
    def from_arrays(
        cls,
        train: tuple[np.ndarray, np.ndarray],
        test: tuple[np.ndarray, np.ndarray] | None = None,
        *,
        resolution: int,
        num_classes: int | None = None,
        name: str = "arrays",
        eval_crop: float | None = None,
        search_validation: int | None = None,
        test_size: int | None = None,
        calibration: int | None = None,
        class_names: Sequence[str] = (),
        rule: str = BY_IMAGE,
    ) -> "DataSplits":
        """Divides images of your own.

        Args:
          train: (images, labels): uint8, or float32 in [0, 1], [N, height, width, channels] with
            1 or 3 channels, and integers [N] or one-hot rows [N, classes].
          test: The same; None to hold it out of `train`.
          resolution: Height and width to which the pipelines resize: the largest of the space.
          num_classes: None for one more than the largest label.
          name: Of the data set, for records.
          eval_crop: See `Split`.
          search_validation: Number of images; see `SplitSizes`.
          test_size: The same, where `test` is None.
          calibration: The same.
          class_names: Of the labels 0, 1, ...
          rule: See `divide`.

        Raises:
          DataError: There are too few images, or labels are out of range.
          ValueError: Shapes, types or values do not fit.
        """
        sizes = SplitSizes(search_validation, test_size, calibration)
        splits = [
            Split.from_arrays(*pair, resolution=resolution, eval_crop=eval_crop)
            for pair in (train, test)
            if pair is not None
        ]
        if not len(splits[0]):
            raise DataError(f"The data set {name!r} has no training images.")
        if test is not None and splits[0].image_shape != splits[1].image_shape:
            raise DataError(
                f"Training images have {splits[0].source.channels} channels, test images "
                f"{splits[1].source.channels}. Convert one of them."
            )
        if num_classes is None:
            num_classes = int(splits[0].labels.max()) + 1
        for kind, split in zip(("training", "test"), splits, strict=False):
            check_labels(split.labels, num_classes, f"The {kind} labels")
        return cls.divide(
            name, num_classes, *splits, sizes=sizes, class_names=class_names, rule=rule
        )

    @classmethod
    def from_datasets(
        cls, train: tf.data.Dataset, test: tf.data.Dataset | None = None, **options
    ) -> "DataSplits":
        """Reads `tf.data` of your own into memory and divides it.

        Args:
          train: Finite dataset of (image, label) or of batches of them: images of one size, uint8
            or float in [0, 1], [height, width, channels]; integer labels. Not augmented and not
            repeated; the order does not matter, but should be the same every time.
          test: The same; None to hold it out of `train`.
          **options: As for `from_arrays`.

        Raises:
          DataError: The elements are something else, or too many for memory.
        """
        options.setdefault("name", "tf.data")
        pairs = [collect(dataset) for dataset in (train, test) if dataset is not None]
        return cls.from_arrays(*pairs, **options)


def check_labels(labels: np.ndarray, num_classes: int, what: str) -> None:
    """Raises DataError unless all labels are in 0 ... num_classes - 1."""
    if len(labels) and not 0 <= labels.min() <= labels.max() < num_classes:
        raise DataError(
            f"{what} must be from 0 to {num_classes - 1}. Received: {labels.min()} to "
            f"{labels.max()}."
        )


def _by_position(pools: Pools) -> tuple[Split, Split, Split, Split]:
    """(train, calibration, search validation, test)."""
    rng = np.random.default_rng(SPLIT_SEED)
    sizes, test = pools.sizes, pools.test
    held_out = sizes.held_out(len(pools.train), with_test=test is None)
    validation, *rest = _divide(pools.train, held_out, rng)
    if test is None:
        test, rest = rest[0], rest[1:]
    (train,) = rest
    calibration, _ = _divide(train, (sizes.calibrating(len(train)),), rng)
    return train, calibration, validation, test


def _by_image(pools: Pools) -> tuple[Split, Split, Split, Split]:
    """(train, calibration, search validation, test), each in the order of the contents."""
    pool, sizes = pools.train, pools.sizes
    content, labels = pool.content_ids(), pool.labels
    parts = held_out_by_content(content, labels, sizes, with_test=pools.test is None)
    validation, test, train = (
        pool.take(part[np.argsort(content[part], kind="stable")]) for part in parts
    )
    chosen, _ = by_content_and_class(
        train.content_ids(), train.labels, (sizes.calibrating(len(train)),)
    )
    return train, train.take(chosen), validation, test if pools.test is None else pools.test


def _divide(split: Split, sizes: tuple[int, ...], rng: np.random.Generator) -> list[Split]:
    if split.source.labels_known:
        parts = stratified_indices(split.labels, sizes, rng)
    else:
        parts = random_indices(len(split), sizes, rng)
    return [split.take(part) for part in parts]
