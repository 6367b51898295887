"""Every evaluated subnet of a run, on disk: `evaluations.sqlite`."""

import dataclasses
import datetime
import math
import os
import pathlib
import sqlite3

import numpy as np

from qfa_tf.space import SearchSpace
from quantize_configs.errors import DamagedFileError, UnavailableError

SCHEMA_VERSION = 1
APPLICATION_ID = 0x51464154  # "QFAT"
_MAGIC = b"SQLite format 3\0"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS evaluations (
  genome TEXT NOT NULL, checkpoint TEXT NOT NULL, calibration TEXT NOT NULL, split TEXT NOT NULL,
  accuracy REAL NOT NULL, loss REAL, images INTEGER NOT NULL, seconds REAL NOT NULL,
  created TEXT NOT NULL,
  PRIMARY KEY (genome, checkpoint, calibration, split)
) WITHOUT ROWID;
"""
_ANSWERS = """
CREATE TABLE IF NOT EXISTS answers (
  genome TEXT NOT NULL, checkpoint TEXT NOT NULL, calibration TEXT NOT NULL, split TEXT NOT NULL,
  bits BLOB NOT NULL,
  PRIMARY KEY (genome, checkpoint, calibration, split)
) WITHOUT ROWID;
"""
"""Added to stores that were made without it; programs that do not know it pass over it."""


class StoreError(DamagedFileError):
    """The file is damaged, not an evaluation store, or one of another search space."""


class StoreWriteError(UnavailableError, OSError):
    """The store could not be written; what it had before is still there."""


@dataclasses.dataclass(frozen=True)
class StoredEvaluation:
    """One row of the store.

    Attributes:
      accuracy: Fraction from 0 to 1.
      loss: Mean loss, NaN when there was none.
      images: Number of images.
      split: Name of their split.
      seconds: What it took.
      created: Time of writing, ISO 8601 in UTC.
      answers: A byte per image, 1 where the subnet was right; None where they were not kept.
    """

    accuracy: float
    loss: float
    images: int
    split: str
    seconds: float
    created: str
    answers: bytes | None = None


class EvaluationStore:
    """SQLite file (write-ahead log) with one row per (genome, checkpoint, calibration, split).

    Each `put` is on disk when it returns, as far as the program being killed is concerned. The
    split is part of the key, so that no test result can ever answer for a validation result.

    Args:
      path: File to open, or to make when there is none.
      space: Search space of the genomes.

    Raises:
      StoreError: The file is damaged, foreign, of another schema version or of another space; it
        is left as it is.
      StoreWriteError: The file cannot be made.
    """

    def __init__(self, path: str | os.PathLike, space: SearchSpace):
        self.path = pathlib.Path(path)
        self.space = space
        if self.path.exists() and self.path.stat().st_size > 0:
            self._check_file()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(self.path, timeout=30, isolation_level=None)
        except (sqlite3.Error, OSError) as error:
            raise self._write_error(error) from error
        try:
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=NORMAL")
            if self._connection.execute("PRAGMA user_version").fetchone()[0] == 0:
                self._create()
            self._connection.execute(_ANSWERS)
            self._check_space(self._connection)
        except sqlite3.Error as error:
            self._connection.close()
            raise self._write_error(error) from error
        except StoreError:
            self._connection.close()
            raise

    def __enter__(self) -> "EvaluationStore":
        return self

    def __exit__(self, *error) -> None:
        self.close()

    def __len__(self) -> int:
        return self._connection.execute("SELECT count(*) FROM evaluations").fetchone()[0]

    def close(self) -> None:
        """Closes the file."""
        self._connection.close()

    def get_many(
        self, genomes: np.ndarray, checkpoint: str, calibration: str, split: str
    ) -> list[StoredEvaluation | None]:
        """Returns what is known of each canonical genome of int32[n, n_genes], None if nothing.

        Raises:
          StoreError: The file has been damaged since it was opened.
        """
        query = (
            "SELECT accuracy, loss, images, split, seconds, created, bits FROM evaluations "
            "LEFT JOIN answers USING (genome, checkpoint, calibration, split) "
            "WHERE genome = ? AND checkpoint = ? AND calibration = ? AND split = ?"
        )
        found = []
        try:
            for genome in genomes:
                key = (_text(genome), checkpoint, calibration, split)
                row = self._connection.execute(query, key).fetchone()
                found.append(None if row is None else _stored(row))
        except sqlite3.DatabaseError as error:
            raise self._damaged(error) from error
        return found

    def put(
        self,
        genome: np.ndarray,
        checkpoint: str,
        calibration: str,
        split: str,
        *,
        accuracy: float,
        loss: float,
        images: int,
        seconds: float,
        answers: bytes | None = None,
    ) -> None:
        """Writes one result, replacing an earlier one of the same key.

        Args:
          genome: Canonical, int32[n_genes].
          checkpoint: Identifies the weights.
          calibration: Identifies calibration and evaluation images.
          split: Where the images come from.
          accuracy: Fraction from 0 to 1.
          loss: Mean loss; NaN is kept as "none".
          images: Number of images.
          seconds: What it took.
          answers: A byte per image, 1 where the subnet was right.

        Raises:
          StoreWriteError: No space left, or no permission.
        """
        created = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        key = (_text(genome), checkpoint, calibration, split)
        row = (
            *key,
            *(float(accuracy), None if math.isnan(loss) else float(loss)),
            *(int(images), float(seconds), created),
        )
        try:
            # Answers first: a result that is there has those that belong to it.
            if answers is None:
                self._connection.execute(
                    "DELETE FROM answers WHERE genome = ? AND checkpoint = ? AND calibration = ? "
                    "AND split = ?",
                    key,
                )
            else:
                self._connection.execute(
                    "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?)", (*key, packed(answers))
                )
            self._connection.execute(
                "INSERT OR REPLACE INTO evaluations VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row
            )
        except sqlite3.Error as error:
            raise self._write_error(error) from error

    def _create(self) -> None:
        # One transaction: a kill leaves either no table or the whole schema with its version.
        self._connection.executescript(
            f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; "
            f"PRAGMA application_id = {APPLICATION_ID};"
        )
        self._connection.executemany(
            "INSERT OR IGNORE INTO meta VALUES (?, ?)",
            [("space", self.space.fingerprint), ("space_name", self.space.name)],
        )
        self._connection.execute("COMMIT")

    def _check_file(self) -> None:
        """Looks at an existing file without writing to it."""
        with open(self.path, "rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                raise self._damaged("it does not start like an SQLite file")
        # `immutable` makes no files beside a store that was closed properly; after a kill the
        # write-ahead log holds results and must be read.
        has_log = self.path.with_name(self.path.name + "-wal").exists()
        mode = "mode=ro" if has_log else "immutable=1"
        try:
            connection = sqlite3.connect(f"{self.path.absolute().as_uri()}?{mode}", uri=True)
            try:
                if connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
                    raise self._damaged("its pages are inconsistent")
                version = connection.execute("PRAGMA user_version").fetchone()[0]
                application = connection.execute("PRAGMA application_id").fetchone()[0]
                tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
                if version == application == tables == 0:
                    return  # A program was killed before it made the tables.
                if application != APPLICATION_ID:
                    raise self._damaged("it is the SQLite file of another program")
                if version != SCHEMA_VERSION:
                    raise StoreError(
                        f"{self.path} is an evaluation store of schema version {version}; this "
                        f"program reads {SCHEMA_VERSION}. It was left as it is; choose another one."
                    )
                self._check_space(connection)
            finally:
                connection.close()
        except sqlite3.DatabaseError as error:
            raise self._damaged(error) from error

    def _check_space(self, connection: sqlite3.Connection) -> None:
        meta = dict(connection.execute("SELECT key, value FROM meta"))
        if meta.get("space") != self.space.fingerprint:
            raise StoreError(
                f"{self.path} holds evaluations of space {meta.get('space_name')!r} "
                f"({meta.get('space')}), not of {self.space.name!r} ({self.space.fingerprint}). It "
                "was left as it is; use the workdir of that space or choose another path."
            )

    def _damaged(self, reason: object) -> StoreError:
        return StoreError(
            f"{self.path} is damaged or no evaluation store: {reason}. It was left as it is; "
            "restore it from a copy, or move it away to start with an empty store."
        )

    def _write_error(self, error: Exception) -> StoreWriteError:
        return StoreWriteError(
            f"Could not write {self.path}: {error}. Earlier results are kept; free some space, fix "
            "the permissions or end the program that locks it, then start again."
        )


def _text(genome: np.ndarray) -> str:
    return ",".join(map(str, genome.tolist()))


def packed(answers: bytes) -> bytes:
    """Eight answers to a byte."""
    return np.packbits(np.frombuffer(answers, np.uint8)).tobytes()


def unpacked(bits: bytes, images: int) -> bytes:
    """What `packed` was given, for so many images."""
    return np.unpackbits(np.frombuffer(bits, np.uint8), count=images).tobytes()


def _stored(row: tuple) -> StoredEvaluation:
    accuracy, loss, images, split, seconds, created, bits = row
    return StoredEvaluation(
        accuracy,
        math.nan if loss is None else loss,
        images,
        split,
        seconds,
        created,
        None if bits is None else unpacked(bits, images),
    )
