"""Training curves as a picture, from the logs of a run."""

from qfa_tf.runs.training.csv_table import read_rows
from qfa_tf.runs.workdir import Workdir
from quantize_configs.files import replacing

SIZE = (10.0, 7.0)  # inches
DOTS_PER_INCH = 110


def plot_training(workdir: Workdir) -> bool:
    """Writes `training.png`: loss, accuracy, probes, learning rate and gradient norm by step.

    Returns:
      False when matplotlib is not installed or there is nothing to plot.

    Raises:
      WorkdirError: A log is damaged.
      FileWriteError: The picture cannot be written.
    """
    epochs, probes = read_rows(workdir.training_csv), read_rows(workdir.probes_csv)
    if not epochs:
        return False
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return False
    figure = Figure(SIZE, dpi=DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 2)
    for axis, measure in zip(axes[0], ("loss", "accuracy"), strict=True):
        for column in _columns(epochs, f"_{measure}"):
            _line(axis, epochs, column, column.removesuffix(f"_{measure}"))
        axis.set_title(f"training {measure}, mean of an epoch")
    _plot_probes(axes[1, 0], probes)
    _line(axes[1, 1], epochs, "gradient_norm", "gradient norm", "tab:gray")
    axes[1, 1].set_yscale("log")
    rate = axes[1, 1].twinx()
    _line(rate, epochs, "learning_rate", "learning rate", "tab:red")
    rate.set_ylabel("learning rate", color="tab:red")
    axes[1, 1].set_title("gradient norm and learning rate")
    for axis in axes.flat:
        axis.set_xlabel("step")
        axis.grid(alpha=0.3)
        if axis.get_legend_handles_labels()[0]:
            axis.legend(fontsize="small")
    with replacing(workdir.training_png) as temporary:
        figure.savefig(temporary)
    return True


def _plot_probes(axis, probes) -> None:
    axis.set_title("probes on search validation, calibrated on few batches")
    axis.set_ylabel("accuracy")
    for subnet in dict.fromkeys(row["subnet"] for row in probes):
        for bits in dict.fromkeys(row["bits"] for row in probes):
            rows = [row for row in probes if (row["subnet"], row["bits"]) == (subnet, bits)]
            style = "--" if subnet == "smallest" else "-"
            _line(axis, rows, "accuracy", f"{subnet} {bits} bit", linestyle=style)


def _columns(rows, ending: str) -> list[str]:
    return list(dict.fromkeys(key for row in rows for key in row if key.endswith(ending)))


def _line(axis, rows, column, label, color=None, linestyle="-") -> None:
    rows = [row for row in rows if row.get(column)]
    steps = [int(row["step"]) for row in rows]
    values = [float(row[column]) for row in rows]
    axis.plot(steps, values, linestyle, color=color, label=label, marker=".", markersize=4)
