"""The log of a training: a row of a CSV file and TensorBoard scalars per epoch."""

import csv
import io
import pathlib
from collections.abc import Mapping

from qfa_tf.runs.errors import WorkdirError
from quantize_configs.files import write_text


class TrainingLog:
    """Appends epochs to `train.csv` and to TensorBoard files in the same folder.

    Rows are written before the checkpoint of their epoch; those of a run that was killed in
    between are dropped here, because the epoch will be repeated.

    Args:
      path: The CSV file.
      step: Where the training resumes; later rows are dropped.

    Raises:
      WorkdirError: The CSV file is damaged.
    """

    def __init__(self, path: pathlib.Path, step: int):
        import tensorflow as tf

        self._path = path
        self.rows = [row for row in read_rows(path) if int(row["step"]) <= step]
        self._writer = tf.summary.create_file_writer(str(path.parent))

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Adds the row of an epoch.

        Args:
          step: The last step of the epoch.
          values: Columns after `step`; names with a `_` after the role, such as
            "smallest_accuracy", are grouped in TensorBoard.

        Raises:
          FileWriteError: The CSV file cannot be written.
        """
        self.rows.append({"step": str(step), **{key: f"{v:.6g}" for key, v in values.items()}})
        text = io.StringIO()
        writer = csv.DictWriter(text, self.rows[-1].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_text(self._path, text.getvalue())
        with self._writer.as_default():
            for key, value in values.items():
                _write_scalar(key, value, step)
        self._writer.flush()


def read_rows(path: pathlib.Path) -> list[dict[str, str]]:
    """The rows of a training log, none when there is no file.

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


def _write_scalar(key: str, value: float, step: int) -> None:
    """What `tf.summary.scalar` writes; that function needs the tensorboard package."""
    import tensorflow as tf

    metadata = tf.compat.v1.SummaryMetadata(
        plugin_data=tf.compat.v1.SummaryMetadata.PluginData(plugin_name="scalars"), data_class=1
    )
    role, _, measure = key.rpartition("_")
    tag = f"{measure}/{role}" if measure in ("loss", "accuracy") else key
    tf.summary.write(tag, tf.constant(value, tf.float32), step=step, metadata=metadata)
