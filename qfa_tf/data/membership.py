"""Which image is in which split of a data set, and what changed since."""

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from qfa_tf.data.data_splits import DataSplits
from qfa_tf.data.errors import DataError
from qfa_tf.data.split import Split

SPLITS = ("train", "calibration", "search_validation", "test", "left_out")
"""The numbers of the splits; calibration images are training images, too."""

_TRAIN, _CALIBRATION, _VALIDATION, _TEST, _LEFT_OUT = range(len(SPLITS))
_UNKNOWN = -1
_NAMELESS = 0


class Changes(NamedTuple):
    """How many images a set has that another has not.

    Attributes:
      added: New ones.
      removed: Those that are gone.
      changed: Of the same name with another content, or of the same content with another label.
      renamed: Of the same content under another name.
    """

    added: int
    removed: int
    changed: int
    renamed: int

    def __str__(self) -> str:
        parts = [f"{value:,} {name}" for name, value in zip(self._fields, self, strict=True)]
        return ", ".join(parts)


@dataclasses.dataclass(frozen=True, eq=False)
class Membership:
    """All images of a data set and their splits, in any order.

    Attributes:
      content: uint64 [N], see `qfa_tf.data.identity`.
      name: uint64 [N]; 0 where images have no names.
      label: int32 [N].
      split: int8 [N], places in `SPLITS`.
    """

    content: np.ndarray
    name: np.ndarray
    label: np.ndarray
    split: np.ndarray

    @classmethod
    def of(cls, data: DataSplits) -> "Membership":
        """All images of a data set, also those that no split has."""
        parts = []
        if data.pools is None:
            held_out = ((_VALIDATION, data.search_validation), (_TEST, data.test))
            parts = [_columns(split, {number: split}) for number, split in held_out]
            parts.append(_columns(data.train, _trained(data)))
        else:
            of_train = {**_trained(data), _VALIDATION: data.search_validation}
            if data.pools.test is None:
                of_train[_TEST] = data.test
            else:
                parts.append(_columns(data.pools.test, {_TEST: data.test}))
            parts.append(_columns(data.pools.train, of_train))
        return cls(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def __len__(self) -> int:
        return len(self.content)

    @property
    def fingerprint(self) -> str:
        """Twelve digits that differ when names, contents or labels do, whatever the splits."""
        order = np.lexsort((self.label, self.name, self.content))
        digest = hashlib.sha256()
        for column in (self.content, self.name, self.label.astype(np.int32)):
            digest.update(np.ascontiguousarray(column[order]).tobytes())
        return digest.hexdigest()[:12]

    def has_splits_of(self, other: "Membership") -> bool:
        """Whether two records of the same images agree on the split of each."""
        one, another = (
            members.split[np.lexsort((members.split, members.name, members.label, members.content))]
            for members in (self, other)
        )
        return np.array_equal(one, another)

    def changes(self, now: "Membership") -> Changes:
        """From this one to `now`."""
        if self.name.any() and now.name.any():
            before = dict(zip(self.name.tolist(), self.content.tolist(), strict=True))
            after = dict(zip(now.name.tolist(), now.content.tolist(), strict=True))
            common = before.keys() & after.keys()
            changed = sum(before[name] != after[name] for name in common)
            removed = np.array([before[name] for name in before.keys() - common], np.uint64)
            added = np.array([after[name] for name in after.keys() - common], np.uint64)
            renamed = _common(removed, added)
        else:
            pairs = [_pairs(self), _pairs(now)]
            removed, added = _difference(*pairs)["content"], _difference(*pairs[::-1])["content"]
            changed, renamed = _common(removed, added), 0
            removed, added = removed[changed:], added[changed:]
            return Changes(len(added), len(removed), changed, 0)
        return Changes(len(added) - renamed, len(removed) - renamed, changed, renamed)

    def count(self, split: str) -> int:
        """Number of images of a split, or of those of `train` that are for calibration."""
        number = SPLITS.index(split)
        if number == _TRAIN:
            return int((self.split <= _CALIBRATION).sum())
        return int((self.split == number).sum())

    def known(self, split: Split) -> np.ndarray:
        """int8 [N]: the split that each of these images has here, by its content and its name.

        Where they are not known together, by one of them; -1 for images that are new. Where content
        and name disagree, test goes before search validation; what one says was trained on and the
        other held out is left out.
        """
        content, names = split.content_ids(), split.name_ids()
        by_content = _look_up(self.content, self.split, content)
        by_name = _look_up(self.name, self.split, names)
        by_name[names == _NAMELESS] = _UNKNOWN
        both = (by_content != _UNKNOWN) & (by_name != _UNKNOWN)
        mixed = both & ((by_content <= _CALIBRATION) != (by_name <= _CALIBRATION))
        found = np.where(mixed, _LEFT_OUT, np.maximum(by_content, by_name))
        exact = _look_up(_pair(self.content, self.name), self.split, _pair(content, names))
        return np.where(exact == _UNKNOWN, found, exact)


class Adoption(NamedTuple):
    """A data set in the splits of an earlier one.

    Attributes:
      data: The splits.
      left_out: Number of images in none of them: those that were held out and now stand among
        training images, or were trained on and now stand among test images.
    """

    data: DataSplits
    left_out: int


def adopt(before: Membership, data: DataSplits) -> Adoption:
    """Gives every image that `before` knows its split there; new ones keep that of `data`.

    Raises:
      DataError: The splits of `data` were made by hand and put held-out images into training, or
        one of them has no images left.
    """
    if Membership.of(data).has_splits_of(before):
        return Adoption(data, before.count("left_out"))
    pools = data.pools
    if pools is None:
        mixed = int((before.known(data.train) >= _VALIDATION).sum())
        if mixed:
            raise DataError(
                f"{mixed:,} images that were held out are training images now, and {data.name!r} "
                "makes its splits itself. Keep each image in its split there."
            )
        return Adoption(data, 0)
    of_train = {**_trained(data), _VALIDATION: data.search_validation}
    if pools.test is None:
        of_train[_TEST] = data.test
    numbers = _known_or(before, pools.train, of_train)
    if pools.test is None:
        test = _ordered(pools.train, numbers == _TEST)
        left_out = 0
    else:
        tests = _known_or(before, pools.test, {_TEST: data.test})
        test = pools.test.take(np.flatnonzero(tests == _TEST))
        numbers = np.where(numbers == _TEST, _LEFT_OUT, numbers)
        left_out = len(pools.test) - len(test)
    left_out += int((numbers == _LEFT_OUT).sum())
    calibration = _ordered(pools.train, numbers == _CALIBRATION)
    missing = before.count("calibration") - len(calibration)
    if missing > 0:
        more = _ordered(pools.train, numbers == _TRAIN).indices[:missing]
        indices = np.concatenate([calibration.indices, more])
        calibration = dataclasses.replace(calibration, indices=indices)
    train = _ordered(pools.train, numbers <= _CALIBRATION)
    validation = _ordered(pools.train, numbers == _VALIDATION)
    for name, split in (("training", train), ("search validation", validation), ("test", test)):
        if not len(split):
            raise DataError(f"No {name} images are left of {data.name!r}.")
    changed = dataclasses.replace(
        data, train=train, calibration=calibration, search_validation=validation, test=test
    )
    return Adoption(changed, left_out)


def _trained(data: DataSplits) -> dict[int, Split]:
    """Splits by number; where two have an image, the later one counts."""
    return {_TRAIN: data.train, _CALIBRATION: data.calibration}


def _numbers(pool: Split, splits: Mapping[int, Split]) -> np.ndarray:
    """int8 [N]: the split of each image of a pool."""
    numbers = np.full(len(pool.source), _LEFT_OUT, np.int8)
    for number, split in splits.items():
        numbers[split.indices] = number
    return numbers[pool.indices]


def _columns(pool: Split, splits: Mapping[int, Split]) -> tuple[np.ndarray, ...]:
    """The columns of a `Membership`."""
    return pool.content_ids(), pool.name_ids(), pool.known_labels(), _numbers(pool, splits)


def _known_or(before: Membership, pool: Split, splits: Mapping[int, Split]) -> np.ndarray:
    """The split that each image of a pool had, or has where it is new."""
    known = before.known(pool)
    return np.where(known == _UNKNOWN, _numbers(pool, splits), known)


def _ordered(pool: Split, chosen: np.ndarray) -> Split:
    """Those images, in the order of their contents."""
    part = pool.take(np.flatnonzero(chosen))
    return part.take(np.argsort(part.content_ids(), kind="stable"))


def _look_up(keys: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The largest value of each wanted key; -1 where there is none."""
    order = np.lexsort((values, keys))
    keys, values = keys[order], values[order]
    last = np.searchsorted(keys, wanted, side="right") - 1
    found = (last >= 0) & (keys[np.maximum(last, 0)] == wanted) if len(keys) else False
    return np.where(found, values[np.maximum(last, 0)], _UNKNOWN).astype(np.int8)


def _pair(content: np.ndarray, name: np.ndarray) -> np.ndarray:
    """uint64 [N] of both; the product wraps around."""
    return content ^ (name * np.uint64(0x9E3779B97F4A7C15))


def _common(one: np.ndarray, other: np.ndarray) -> int:
    """Number of equal pairs, each used once."""
    values, counts = np.unique(one, return_counts=True)
    others, other_counts = np.unique(other, return_counts=True)
    _, places, other_places = np.intersect1d(values, others, return_indices=True)
    return int(np.minimum(counts[places], other_counts[other_places]).sum())


def _pairs(members: Membership) -> np.ndarray:
    pairs = np.empty(len(members), [("content", np.uint64), ("label", np.int32)])
    pairs["content"], pairs["label"] = members.content, members.label
    return np.sort(pairs)


def _difference(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Sorted elements of `one` without as many equal ones of `other`."""
    values, counts = np.unique(one, return_counts=True)
    others, other_counts = np.unique(other, return_counts=True)
    _, places, other_places = np.intersect1d(values, others, return_indices=True)
    counts[places] -= np.minimum(counts[places], other_counts[other_places])
    return np.repeat(values, counts)
