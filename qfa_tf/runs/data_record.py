"""Which images a workdir was made from, and in which split each of them is."""

import dataclasses
import io
import json
import pathlib
import zipfile
from typing import TYPE_CHECKING

import numpy as np

from qfa_tf.runs.errors import WorkdirError
from qfa_tf.runs.workdir import Workdir
from quantize_configs.files import write_bytes, write_text

if TYPE_CHECKING:
    from qfa_tf.data.membership import Membership

SCHEMA_VERSION = 1
_COLUMNS = ("content", "name", "label", "split")


@dataclasses.dataclass(frozen=True)
class DataRecord:
    """What a workdir knows about its data set.

    Attributes:
      name: Of the data set.
      rule: How the splits were drawn: "images", "positions", or "" where the data set brings them.
      members: Its images and their splits.
      skipped: Names of damaged files that were left out.
    """

    name: str
    rule: str
    members: "Membership"
    skipped: tuple[str, ...] = ()

    def write(self, workdir: Workdir) -> None:
        """Writes `data_images.npz`, and `data.json` for people.

        Raises:
          FileWriteError: They cannot be written.
        """
        facts = {
            "schema_version": SCHEMA_VERSION,
            "name": self.name,
            "fingerprint": self.members.fingerprint,
            "split_by": self.rule or "the data set itself",
            "images": {split: self.members.count(split) for split in _splits()},
            "skipped_damaged": list(self.skipped),
        }
        columns = {column: getattr(self.members, column) for column in _COLUMNS}
        text = np.frombuffer(json.dumps({**facts, "rule": self.rule}).encode(), np.uint8)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, facts=text, **columns)
        write_bytes(workdir.data_images, buffer.getvalue())
        write_text(workdir.data_json, json.dumps(facts, indent=1) + "\n")

    @classmethod
    def read(cls, workdir: Workdir) -> "DataRecord | None":
        """What `write` wrote; None where nothing was.

        Raises:
          WorkdirError: It is damaged, or of another version.
        """
        from qfa_tf.data.membership import Membership

        path = workdir.data_images
        if not path.is_file():
            return None
        try:
            with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
                facts = json.loads(file["facts"].tobytes())
                members = Membership(*(file[column] for column in _COLUMNS))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise _damaged(path, f"is damaged ({error})") from error
        if facts.get("schema_version") != SCHEMA_VERSION:
            raise _damaged(path, f"has schema version {facts.get('schema_version')!r}")
        return cls(facts["name"], facts["rule"], members, tuple(facts["skipped_damaged"]))


def _splits() -> tuple[str, ...]:
    from qfa_tf.data.membership import SPLITS

    return SPLITS


def _damaged(path: pathlib.Path, reason: str) -> WorkdirError:
    return WorkdirError(
        f"{path} {reason}, so that nobody can tell which images were held out. It was left as it "
        "is; restore it from a copy, or choose another --workdir."
    )
