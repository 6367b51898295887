"""Exporting subnets of a workdir as verified `.tflite` files: what `apps/export.py` does."""

import dataclasses
import hashlib
import importlib.metadata
import json
import os
import time

import numpy as np
import rich.console

from qfa_tf.cost import CostModel
from qfa_tf.data import Split
from qfa_tf.runs.building import build_data, build_space
from qfa_tf.runs.checkpoints import key_of, require_newest, restore
from qfa_tf.runs.commands import command
from qfa_tf.runs.config import calibration_batch_size
from qfa_tf.runs.errors import RunError
from qfa_tf.runs.exporting.records import (
    DEFAULT_FLOAT_SITES,
    ModelRecord,
    ModelRecordError,
    model_path,
    read_record,
    record_path,
)
from qfa_tf.runs.measurement import Measurement, calibration_key
from qfa_tf.runs.messages import say
from qfa_tf.runs.searching.staleness import check_weights, is_stale, measured_anew
from qfa_tf.runs.selection import Selection, say_search, select
from qfa_tf.runs.workdir import Workdir
from qfa_tf.space import SearchSpace
from quantize_configs.bit_widths import is_float_pair
from quantize_configs.files import write_bytes

PIXEL_RANGE = (0.0, 1.0)
"""Of the images that training sees, see `qfa_tf.data`."""

VERIFIED_BYTES = 1 << 30
"""Most bytes of test images that are verified; LiteRT and Keras hold them in memory."""

MIN_AGREEMENT = 0.995
MAX_ACCURACY_DIFFERENCE = 0.002
_PACKAGES = ("qfa_tf", "tensorflow", "tf-keras", "ai-edge-litert")


def export_model(
    workdir: Workdir,
    *,
    index: int | None = None,
    architecture_file: str | os.PathLike | None = None,
    search: str | None = None,
    stale: str = "refuse",
    name: str | None = None,
    weight_container: str = "auto",
    input_type: str = "uint8",
    output_type: str = "float32",
    float_sites: str = DEFAULT_FLOAT_SITES,
    console: rich.console.Console | None = None,
) -> ModelRecord:
    """Extracts, converts and verifies one subnet; a model that was exported before is kept.

    Args:
      workdir: Of a trained supernet.
      index: Which one of the front; see `select`.
      architecture_file: Which one instead.
      search: Name of the search; the only or the newest one by default.
      stale: "ok" to take a subnet of a search of other weights, after measuring it anew.
      name: Of the files; by default the space and a digest of the model.
      weight_container: See `tflite_tools.convert`.
      input_type: See `tflite_tools.convert`; images of bytes stand for 0 to 1, as in training.
      output_type: See `tflite_tools.convert`.
      float_sites: What sites become that the space keeps in float; see `QFASupernet.extract`.
      console: For progress.

    Raises:
      RunError: Something is missing, damaged or in the way.
      UnsupportedCombinationError: LiteRT cannot compute the subnet exactly.
      FileWriteError: The files cannot be written.
    """
    console = console or rich.console.Console()
    config = workdir.config()
    space = build_space(config)
    selection = select(
        workdir, space, index=index, architecture_file=architecture_file, search=search
    )
    checkpoint_key = key_of(require_newest(workdir))
    say_search(selection, console)
    check_weights(workdir, selection, checkpoint_key, stale)
    if float_sites != DEFAULT_FLOAT_SITES and not _has_float_sites(space):
        say(console, f"The space {space.name!r} keeps nothing in float; float_sites has no effect.")
        float_sites = DEFAULT_FLOAT_SITES
    data = build_data(config)
    if is_stale(selection, checkpoint_key):
        measured_anew(workdir, selection, data, console)
    settings = (calibration_batch_size(config), config.data.calibration_batches)
    data_key = calibration_key(data, *settings)
    conversion = {
        "weight_container": weight_container,
        "input_type": input_type,
        "output_type": output_type,
    }
    identity = _identity(selection, checkpoint_key, data_key, conversion, float_sites)
    name = name or f"{space.name}-{identity[:8]}"
    existing = _existing(workdir, name, identity)
    if existing is not None:
        say(console, f"{model_path(workdir, name)} is exported already.")
        return existing

    import tflite_tools

    began = time.perf_counter()
    architecture = selection.architecture
    say(console, f"Exporting ({selection.source}) {architecture.describe()}")
    net, _ = restore(workdir)
    measurement = Measurement(data, *settings)
    calibration = measurement.calibrate(net, architecture)
    supernet = measurement.evaluate(net, architecture, calibration, "test")
    subnet = net.extract(
        architecture, calibration, weight_container=weight_container, float_sites=float_sites
    )
    metadata = {
        "name": name,
        "architecture": json.loads(architecture.to_json()),
        "checkpoint": checkpoint_key,
    }
    flatbuffer = tflite_tools.convert(
        subnet,
        metadata=metadata,
        labels=data.class_names or None,
        pixel_range=None if input_type == "float32" else PIXEL_RANGE,
        **conversion,
    )
    sample = verified_sample(data.test, architecture.resolution)
    if len(sample) < len(data.test):
        say(
            console,
            f"Verifying on {len(sample):,} of the {len(data.test):,} test images, evenly spaced: "
            f"as many as fit {VERIFIED_BYTES >> 20} MiB.",
        )
    report = tflite_tools.verify(
        flatbuffer, subnet, resized_images(sample.read_images(), architecture), labels=sample.labels
    )
    accuracy = {
        "split": "test",
        "images": len(data.test),
        "verified_images": len(sample),
        "supernet": supernet["accuracy"],
        "keras": report.keras_accuracy,
        "litert": report.litert_accuracy,
    }
    flatbuffer = tflite_tools.with_metadata(flatbuffer, {"accuracy": accuracy})
    costs = CostModel(space).evaluate(space.encode(architecture)[None])
    record = ModelRecord(
        name=name,
        identity=identity,
        source=selection.source,
        architecture=architecture,
        resolution=architecture.resolution,
        cost={metric: float(values[0]) for metric, values in costs.items()},
        checkpoint_key=checkpoint_key,
        calibration_key=data_key,
        conversion=conversion,
        float_sites=float_sites,
        accuracy=accuracy,
        verification=report.as_dict(),
        file_bytes=len(flatbuffer),
        file_sha256=hashlib.sha256(flatbuffer).hexdigest(),
        versions={package: importlib.metadata.version(package) for package in _PACKAGES},
    )
    write_bytes(model_path(workdir, name), flatbuffer)
    record.write(workdir)  # last: a model without its record is unfinished and written again
    say(console, str(report))
    warnings = broken_promises(record)
    for warning in warnings:
        say(console, f"Warning: {warning}", style="bold red")
    if warnings:
        plot = model_path(workdir, name).with_suffix(".layers.png")
        report.layers.plot(plot)
        say(console, f"{report.layers}\nDifferences by tensor: {plot}")
    measured = {
        "supernet": supernet["accuracy"],
        "Keras": report.keras_accuracy,
        "LiteRT": report.litert_accuracy,
    }
    shown = ", ".join(f"{what} {100 * value:.2f} %" for what, value in measured.items())
    say(
        console,
        f"Accuracy on test: {shown}\n"
        f"Wrote {model_path(workdir, name)} ({len(flatbuffer):,} bytes) in "
        f"{time.perf_counter() - began:.0f} s\n"
        f"Next: {command('benchmark', workdir=workdir)}",
    )
    return read_record(workdir, name)


def verified_sample(split: Split, resolution: int) -> Split:
    """Evenly spaced images of a split, as many as VERIFIED_BYTES hold at a resolution."""
    pixels = max(split.resolution, resolution) ** 2
    most = max(VERIFIED_BYTES // (4 * pixels * split.source.channels), 1)
    if len(split) <= most:
        return split
    chosen = np.linspace(0, len(split) - 1, most).round().astype(int)
    return dataclasses.replace(split, indices=split.indices[chosen])


def print_support() -> None:
    """Prints the support table: what is exported, what falls back, what is refused and why."""
    from tflite_tools.support.table import table_rows

    for row in table_rows():
        weights = "" if row["weights"] == "-" else f" x {row['weights']}"
        types = f"{row['activation']}{weights} -> {row['output']}"
        fate = "refused" if row["exported"] == "refused" else f"XNNPACK: {row['XNNPACK']}"
        print(f"{row['operator']:<18} {types:<26} {fate}")
        for note in filter(None, row["notes"].split("; ")):
            print(f"{'':<18}   {note}")


def print_inspection(path: str | os.PathLike) -> None:
    """Prints what is in a .tflite file, of any converter.

    Raises:
      FlatbufferError: The file is damaged, or no model.
      RunError: It cannot be read.
    """
    import tflite_tools

    try:
        found = tflite_tools.inspect(path)
    except OSError as error:
        raise RunError(f"Cannot read {path}: {error.strerror or error}.") from error
    print(found)
    if found.metadata is not None:
        print(json.dumps(found.metadata, indent=2))


def broken_promises(record: ModelRecord) -> list[str]:
    """What an exported model does not keep of the two promises, as sentences."""
    report, broken = record.verification, []
    if report["mismatches"]:
        broken.append(f"{report['mismatches']} integers of LiteRT differ from the simulation.")
    if report["top1_agreement"] < MIN_AGREEMENT:
        broken.append(
            f"LiteRT and Keras agree on {100 * report['top1_agreement']:.2f} % of the images, less "
            f"than {100 * MIN_AGREEMENT:.1f} %."
        )
    difference = abs(record.accuracy["litert"] - record.accuracy["keras"])
    if difference > MAX_ACCURACY_DIFFERENCE:
        broken.append(
            f"The accuracies of LiteRT and Keras differ by {100 * difference:.2f} points, more "
            f"than {100 * MAX_ACCURACY_DIFFERENCE:.1f}."
        )
    return broken


def _identity(selection: Selection, checkpoint_key, data_key, conversion, float_sites: str) -> str:
    """Digest of everything that determines the flatbuffer."""
    parts = [selection.architecture.to_json(), checkpoint_key, data_key, conversion]
    if float_sites != DEFAULT_FLOAT_SITES:  # digests of models without the choice stay as they are
        parts.append({"float_sites": float_sites})
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _has_float_sites(space: SearchSpace) -> bool:
    """Whether a site has one pair of bits that stands for float."""
    return any(is_float_pair(pair) for pair in space.fixed_bits.values())


def _existing(workdir: Workdir, name: str, identity: str) -> ModelRecord | None:
    """The record of this very model, None when there is none."""
    if not record_path(workdir, name).is_file():
        return None
    record = read_record(workdir, name)
    if record.identity != identity:
        raise ModelRecordError(
            f"{model_path(workdir, name)} is another model ({record.source}, weights "
            f"{record.checkpoint_key}). It was left as it is; choose another --name, or remove it."
        )
    record.check_file(workdir)
    return record


def resized_images(images, architecture):
    """Images as the deployed subnet must be fed."""
    from qfa_tf.supernet.supernet import resize

    return resize(images, architecture.resolution).numpy()
