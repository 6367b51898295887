"""A CSV file with a column `step` that a resumed run cuts back and continues."""

import csv
import io
import pathlib
from collections.abc import Iterable, Mapping

from qfa_tf.runs.errors import WorkdirError
from quantize_configs.files import write_text


class CsvTable:
    """Rows in memory and in a file, which is replaced as a whole.

    Rows are written before the checkpoint of their step; those of a run that was killed in
    between are dropped when it resumes, because the steps will be repeated.

    Args:
      path: The file.
      step: Where the run resumes; later rows are dropped.

    Attributes:
      rows: Texts by column.

    Raises:
      WorkdirError: The file is damaged.
    """

    def __init__(self, path: pathlib.Path, step: int):
        self._path = path
        self.rows = [row for row in read_rows(path) if int(row["step"]) <= step]

    def append(self, rows: Iterable[Mapping[str, object]]) -> None:
        """Adds rows; numbers get six digits, a column that a row does not have stays empty.

        Raises:
          FileWriteError: The file cannot be written.
        """
        self.rows += [{key: _text(value) for key, value in row.items()} for row in rows]
        columns = list(dict.fromkeys(key for row in self.rows for key in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_text(self._path, text.getvalue())


def read_rows(path: pathlib.Path) -> list[dict[str, str]]:
    """The rows of a table, none when there is no file.

    Raises:
      WorkdirError: It is damaged.
    """
    if not path.is_file():
        return []
    try:
        rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8")), strict=True))
        for row in rows:
            int(row["step"])
            if None in row or None in row.values():
                raise ValueError("a row has too few or too many columns")
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise WorkdirError(
            f"{path} is damaged: {error}. It was left as it is; move it away to continue with a "
            "new one."
        ) from error
    return rows


def _text(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
