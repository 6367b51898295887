"""The final table of a run: one column per exported model."""

from collections.abc import Sequence

import rich.console
import rich.table

from qfa_tf.runs.exporting.records import ModelRecord
from qfa_tf.space import Architecture
from qfa_tf.space.short_names import short_names

MODELS_PER_TABLE = 2


def print_models(
    records: Sequence[ModelRecord], benchmark: str, console: rich.console.Console
) -> None:
    """Prints what was measured for some models.

    "Supernet" is the subnet as training simulates it in Keras, "extracted" the Keras model with
    the 8-bit grids of deployment, "LiteRT" the exported file.

    Args:
      records: Of the models.
      benchmark: Which of their benchmarks, for example "host-1".
      console: Where to print.
    """
    for start in range(0, len(records), MODELS_PER_TABLE):
        part = records[start : start + MODELS_PER_TABLE]
        rows = [model_figures(record, benchmark) for record in part]
        labels = list(dict.fromkeys(label for row in rows for label in row))
        images, split = part[0].accuracy["images"], part[0].accuracy["split"]
        table = rich.table.Table(title=f"Exported models, accuracy on {images} images of {split}")
        table.add_column("model", style="bold")
        for record in part:
            table.add_column(record.name, justify="left", overflow="fold")
        for label in labels:
            table.add_row(label, *(row.get(label, "not known") for row in rows))
        console.print(table)


def model_figures(record: ModelRecord, benchmark: str) -> dict[str, str]:
    """Maps the label of each row of the table to what it says about a model."""
    report = record.benchmarks.get(benchmark)
    accuracy, verification = record.accuracy, record.verification
    latency, partitions = "not measured", "not measured"
    if report is not None:
        latency = f"{report['median_ms']:.3f}"
        if report["p5_ms"] is not None:
            latency += f" ({report['p5_ms']:.3f} - {report['p95_ms']:.3f})"
        partitions = "the device does not tell"
        if report["partitions"] is not None:
            partitions = str(report["partitions"])
            partitions += "" if report["fully_delegated"] else ", not all operators"
    equal = {}
    if "equal_answers" in accuracy:
        equal["answers of the float model (%)"] = f"{100 * accuracy['equal_answers']:.2f}"
    return {
        "architecture": architecture_text(record.architecture),
        "bits per site": bits_text(record.architecture),
        "mflops_8bit": f"{record.cost['mflops_8bit']:.4g}",
        "weight bytes": f"{record.cost['weight_bytes']:,.0f}",
        ".tflite bytes": f"{record.file_bytes:,}",
        "accuracy, supernet (%)": f"{100 * accuracy['supernet']:.2f}",
        "accuracy, extracted (%)": f"{100 * accuracy['keras']:.2f}",
        "accuracy, LiteRT (%)": f"{100 * accuracy['litert']:.2f}",
        **equal,
        "top-1 agreement (%)": f"{100 * verification['top1_agreement']:.2f}",
        "mismatching integers": f"{verification['mismatches']:,} of {verification['elements']:,}",
        f"latency, {benchmark} (ms)": latency,
        "delegate partitions": partitions,
    }


def architecture_text(architecture: Architecture) -> str:
    """Resolution, then kernel sizes and expand ratios, a line per stage."""
    lines = [f"{architecture.resolution} px"]
    for s, stage in enumerate(architecture.stages):
        blocks = " ".join(str(block).replace(" ", "") for block in stage)
        lines.append(f"s{s}: {blocks}")
    return "\n".join(lines)


def bits_text(architecture: Architecture) -> str:
    """Weight and activation bits site by site, a line per block and part of the net.

    `s1.b0: 4/4 3/4 2/4` are those of expand, depthwise and project.
    """
    lines = ["weight/activation"]
    bits = architecture.site_bits
    for prefix, names in short_names(bits).items():
        pairs = " ".join("{}/{}".format(*bits[name]) for name in names.values())
        lines.append(f"{prefix}: {pairs}")
    return "\n".join(lines)
