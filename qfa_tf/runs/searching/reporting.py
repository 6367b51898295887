"""The page of a search, written when it ends and again when one of its subnets is exported."""

import dataclasses
import json
import os
from collections.abc import Iterable

from qfa_tf.runs.exporting.records import ModelRecord, model_path, read_record, record_path
from qfa_tf.runs.searching.folder import SearchFolder, finished_searches
from qfa_tf.runs.workdir import Workdir
from qfa_tf.search import Reference, SearchResult, write_report
from qfa_tf.search.report import ReportDetails, Unseen
from qfa_tf.search.report_chart import ExportedPoint, Series
from qfa_tf.search.sensitivity import Change
from quantize_configs.files import write_text
from tflite_tools.runtimes.report import table_row

SCHEMA_VERSION = 1
_KEPT = ("seconds", "data", "next_command")


def write_page(
    workdir: Workdir, folder: SearchFolder, result: SearchResult, details: ReportDetails
) -> None:
    """Writes the page of a search, with the other searches and the files of its subnets.

    Raises:
      FileWriteError: A file cannot be written.
      ModelRecordError, ResultError: The record of a model or another search is damaged.
    """
    content = {
        "schema_version": SCHEMA_VERSION,
        "references": [reference._asdict() for reference in details.references],
        "sensitivity": [change._asdict() for change in details.sensitivity],
        **{name: getattr(details, name) for name in _KEPT},
        "unseen": None if details.unseen is None else details.unseen._asdict(),
    }
    write_text(folder.details_file, json.dumps(content, indent=1) + "\n")
    write_report(result, folder.report, _completed(workdir, folder, result, details))


def refresh_page(workdir: Workdir, folder: SearchFolder) -> None:
    """Writes the page again, from what `write_page` kept; searches of earlier releases keep theirs.

    Raises:
      FileWriteError: It cannot be written.
      ModelRecordError, ResultError: A file that it is made from is damaged.
    """
    if not folder.details_file.is_file():
        return
    content = json.loads(folder.details_file.read_text(encoding="utf-8"))
    if content.get("schema_version") != SCHEMA_VERSION:
        return
    unseen = content.get("unseen")  # earlier releases have none
    details = ReportDetails(
        unseen=None if unseen is None else Unseen(**unseen),
        references=[Reference(**fields) for fields in content["references"]],
        sensitivity=[Change(**fields) for fields in content["sensitivity"]],
        **{name: content[name] for name in _KEPT},
    )
    result = folder.result()
    write_report(result, folder.report, _completed(workdir, folder, result, details))


def known_unseen(folders: Iterable[SearchFolder], key: str) -> Unseen | None:
    """What `write_page` kept of a chosen subnet on unseen images, where it is that of a key.

    Args:
      folders: Of the searches that may know it.
      key: Identifies weights, calibration, images and subnet.
    """
    for folder in folders:
        try:
            content = json.loads(folder.details_file.read_text(encoding="utf-8"))
            found = Unseen(**content["unseen"])
        except (OSError, ValueError, KeyError, TypeError):  # it is measured again
            continue
        if found.key == key:
            return found
    return None


def _completed(
    workdir: Workdir, folder: SearchFolder, result: SearchResult, details: ReportDetails
) -> ReportDetails:
    """The details with what else the workdir has."""
    others = [
        Series(other.name, found)
        for other in finished_searches(workdir)
        if other.name != folder.name
        for found in [other.result()]
        if (found.space, found.objective) == (result.space, result.objective)
    ]
    members = {
        result.architecture(candidate): candidate.costs[result.objective]
        for candidate in result.front
    }
    records = [read_record(workdir, path.stem) for path in sorted(workdir.models.glob("*.json"))]
    return dataclasses.replace(
        details,
        name=folder.name,
        others=others,
        exported=[
            _point(workdir, folder, record, members[record.architecture])
            for record in records
            if record.architecture in members and record.checkpoint_key == result.checkpoint_key
        ],
        links=[
            (path.name, path.name)
            for path in (folder.pareto_json, folder.pareto_png, folder.architecture_file)
        ],
    )


def _point(
    workdir: Workdir, folder: SearchFolder, record: ModelRecord, cost: float
) -> ExportedPoint:
    images = record.runtimes.get("images", 0)
    paths = [model_path(workdir, record.name), record_path(workdir, record.name)]
    return ExportedPoint(
        name=record.name,
        cost=cost,
        accuracy=record.accuracy["litert"],
        images=record.accuracy["verified_images"],
        split=record.accuracy["split"],
        file_bytes=record.file_bytes,
        latency=", ".join(
            f"{key}: {report['median_ms']:.3f} ms" for key, report in record.benchmarks.items()
        ),
        links=tuple((path.name, os.path.relpath(path, folder.path)) for path in paths),
        runtimes=[table_row(row, images) for row in record.runtimes.get("runtimes", ())],
        runtime_images=images,
        against_float=record.verification.get("against_float"),
    )
