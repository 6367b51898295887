"""The logs of a training: CSV files, and TensorBoard scalars in the same folder."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from qfa_tf.runs.training.csv_table import CsvTable
from qfa_tf.runs.workdir import Workdir
from quantize_configs.files import FileWriteError

MEASURES = ("loss", "accuracy")


class TrainingLog:
    """Appends epochs, probes and quantizers.

    Args:
      workdir: Of the run.
      step: Where the training resumes; later rows are dropped.

    Raises:
      WorkdirError: A CSV file is damaged.
      FileWriteError: The file for TensorBoard cannot be made.
    """

    def __init__(self, workdir: Workdir, step: int):
        import tensorflow as tf

        self._epochs = CsvTable(workdir.training_csv, step)
        self._probes = CsvTable(workdir.probes_csv, step)
        self._quantizers = CsvTable(workdir.quantizers_csv, step)
        self._folder = workdir.logs
        with self._writing():
            self._writer = tf.summary.create_file_writer(str(workdir.logs))

    @property
    def epochs(self) -> list[dict[str, str]]:
        """The rows of all epochs so far."""
        return self._epochs.rows

    def write_epoch(self, step: int, values: Mapping[str, float]) -> None:
        """Adds the row of an epoch.

        Args:
          step: The last step of the epoch.
          values: Columns after `step`; "smallest_accuracy" becomes accuracy/smallest in
            TensorBoard, so that the roles of subnets share a chart.

        Raises:
          FileWriteError: The files cannot be written.
        """
        self._epochs.append([{"step": step, **values}])
        self._write_scalars(step, {_tag(key): value for key, value in values.items()})

    def write_probes(self, step: int, rows: Iterable[Mapping[str, Any]]) -> None:
        """Adds the probes of a step, rows with `subnet`, `bits`, `accuracy` and `loss`."""
        rows = list(rows)
        self._probes.append({"step": step, **row} for row in rows)
        scalars = {
            f"probe_{measure}/{row['subnet']}_{row['bits']}bit": row[measure]
            for row in rows
            for measure in MEASURES
        }
        self._write_scalars(step, scalars)

    def write_quantizers(self, step: int, rows: Iterable[Mapping[str, object]]) -> None:
        """Adds the quantizers of a step, rows as `quantizer_rows` makes them."""
        rows = list(rows)
        self._quantizers.append({"step": step, **row} for row in rows)
        scalars = {}
        for row in rows:
            size = f"_k{row['kernel_size']}" if row["kernel_size"] != "" else ""
            name = f"{row['site']}{size}_{row['bits']}bit"
            for key, value in row.items():
                if isinstance(value, float):
                    scalars[f"{key}/{name}"] = value
        self._write_scalars(step, scalars)

    def _write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """What `tf.summary.scalar` writes; that function needs the tensorboard package."""
        import tensorflow as tf

        metadata = tf.compat.v1.SummaryMetadata(
            plugin_data=tf.compat.v1.SummaryMetadata.PluginData(plugin_name="scalars"),
            data_class=1,
        )
        with self._writing(), self._writer.as_default():
            for tag, value in scalars.items():
                tf.summary.write(tag, tf.constant(value, tf.float32), step=step, metadata=metadata)
            self._writer.flush()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """One sentence where the operating system refuses to write."""
        import tensorflow as tf

        try:
            yield
        except tf.errors.OpError as error:
            reason = (error.message or str(error)).splitlines()[0].rpartition("; ")[2]
            raise FileWriteError(
                f"Could not write the events for TensorBoard in {self._folder}: {reason}. Free "
                "some space and repeat the command: the training goes on from its last checkpoint."
            ) from error


def _tag(key: str) -> str:
    role, _, measure = key.rpartition("_")
    return f"{measure}/{role}" if measure in MEASURES else key
