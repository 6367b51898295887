"""The CSV file and the picture of predicted against measured latencies."""

import csv
import io
import os

from qfa_tf.latency.measurement import Prediction
from qfa_tf.space import SearchSpace
from quantize_configs.errors import MissingExtraError
from quantize_configs.files import replacing, write_text


def write_prediction_csv(
    prediction: Prediction, space: SearchSpace, path: str | os.PathLike
) -> None:
    """Writes a row per subnet.

    Raises:
      FileWriteError: The file cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["predicted_ms", "measured_ms", "error", "architecture"])
    for genome, predicted, measured, error in zip(
        prediction.genomes,
        prediction.predicted_ms,
        prediction.measured_ms,
        prediction.errors,
        strict=True,
    ):
        row = [f"{predicted:.4f}", f"{measured:.4f}", f"{error:.4f}"]
        writer.writerow([*row, space.decode(genome).describe().replace("\n", "; ")])
    write_text(path, text.getvalue())


def plot_prediction(prediction: Prediction, title: str, path: str | os.PathLike) -> None:
    """Draws measured against predicted latencies, with a band of 5 %.

    Raises:
      MissingExtraError: Without matplotlib.
      FileWriteError: The file cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("Drawing", "matplotlib", "plot") from error

    figure = Figure(figsize=(5.5, 5), layout="constrained")
    axes = figure.subplots()
    top = 1.05 * max(prediction.predicted_ms.max(), prediction.measured_ms.max())
    axes.plot([0, top], [0, top], color="grey", linewidth=1)
    axes.fill_between(
        [0, top], [0, 0.95 * top], [0, 1.05 * top], color="grey", alpha=0.2, label="5 %"
    )
    axes.scatter(prediction.measured_ms, prediction.predicted_ms, s=18)
    axes.set(xlim=(0, top), ylim=(0, top), xlabel="measured (ms)", ylabel="predicted (ms)")
    percent = 100 * prediction.mean_absolute_error
    axes.set_title(f"{title}\nmean absolute error {percent:.2f} %", fontsize=9)
    axes.legend()
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)
