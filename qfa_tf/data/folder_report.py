"""What there is to say about a folder of images: damage, duplicates, files that are not used."""

import collections
import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from qfa_tf.data.scanning import Scan

SHOWN_NAMES = 3


@dataclasses.dataclass(frozen=True)
class FolderReport:
    """Findings of one scan.

    Attributes:
      images: Number of image files.
      skipped: Damaged files that are left out.
      ignored: Number of files by ending that are no images, in class folders and beside them.
      nested: Folders within class folders, whose files are not read.
      outside: Images beside the class folders, which are of no class.
      channels: Number of images by channels (1 grey, 2 grey with alpha, 3 RGB, 4 with alpha).
      copies: Training images that are copies of other training images.
      shared: Names of test images that are copies of training images.
      ambiguous: Names of images that are copies of one in another class.
    """

    images: int
    skipped: tuple[str, ...]
    ignored: Mapping[str, int]
    nested: tuple[str, ...]
    outside: tuple[str, ...]
    channels: Mapping[int, int]
    copies: int
    shared: tuple[str, ...]
    ambiguous: tuple[str, ...]

    @classmethod
    def of(
        cls,
        scan: Scan,
        labels: np.ndarray,
        tests: np.ndarray,
        ignored: Mapping[str, int],
        nested: Sequence[str],
        outside: Sequence[str],
    ) -> "FolderReport":
        """Counts.

        Args:
          scan: Of all files, training and test.
          labels: int [N].
          tests: bool [N], which ones are test images.
          ignored: As the attribute.
          nested: As the attribute.
          outside: As the attribute.
        """
        good = scan.channels > 0
        content, train = scan.content[good], ~tests[good]
        names = np.array(scan.names, object)[good]
        labels, tests = labels[good], tests[good]
        values, inverse = np.unique(content, return_inverse=True)
        lowest = np.full(len(values), np.iinfo(np.int64).max)
        highest = np.full(len(values), -1)
        np.minimum.at(lowest, inverse, labels)
        np.maximum.at(highest, inverse, labels)
        in_training = np.zeros(len(values), bool)
        in_training[inverse[train]] = True
        return cls(
            images=len(scan.names),
            skipped=tuple(scan.damaged),
            ignored=dict(ignored),
            nested=tuple(nested),
            outside=tuple(outside),
            channels=dict(sorted(collections.Counter(scan.channels[good].tolist()).items())),
            copies=int(train.sum() - in_training.sum()),
            shared=tuple(names[tests & in_training[inverse]]),
            ambiguous=tuple(names[(lowest != highest)[inverse]]),
        )

    def sentences(self) -> list[str]:
        """One sentence for each finding; none for a folder without any."""
        found = []
        if self.skipped:
            found.append(
                f"Left out {_count(len(self.skipped), 'damaged image')} of {self.images:,}: "
                f"{some(self.skipped)}."
            )
        if self.ignored:
            kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(self.ignored.items()))
            total = sum(self.ignored.values())
            found.append(f"Ignored {_count(total, 'file')} of other kinds than images: {kinds}.")
        if self.nested:
            found.append(
                f"Ignored {_count(len(self.nested), 'folder')} within class folders: "
                f"{some(self.nested)}."
            )
        if self.outside:
            found.append(
                f"Ignored {_count(len(self.outside), 'image')} beside the class folders: "
                f"{some(self.outside)}."
            )
        grey = self.channels.get(1, 0) + self.channels.get(2, 0)
        total = sum(self.channels.values())
        if 0 < grey < total:
            found.append(f"Of {total:,} images {grey:,} are grey and become RGB.")
        alpha = self.channels.get(2, 0) + self.channels.get(4, 0)
        if alpha:
            found.append(f"Of {total:,} images {alpha:,} have an alpha channel, which is dropped.")
        if self.shared:
            found.append(
                f"Of the test images {len(self.shared):,} have the content of training images, so "
                f"that test figures look too good: {some(self.shared)}. Remove them on one side."
            )
        if self.ambiguous:
            found.append(
                f"Of the images {len(self.ambiguous):,} have the content of one in another class: "
                f"{some(self.ambiguous)}. Remove the wrong ones."
            )
        if self.copies:
            found.append(
                f"Of the training images {self.copies:,} are copies of others. Copies share a "
                "split, but each counts."
            )
        return found


def some(names: Sequence[str], shown: int = SHOWN_NAMES) -> str:
    """The first names, and how many more there are."""
    rest = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {rest:,} more" if rest > 0 else "")


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("" if number == 1 else "s")
