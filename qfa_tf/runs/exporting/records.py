"""The `.json` beside each exported model."""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from qfa_tf.runs.commands import command
from qfa_tf.runs.errors import RunError
from qfa_tf.runs.exporting.options import DEFAULT_FLOAT_SITES, ExportOptions
from qfa_tf.runs.exporting.terms import PassedOver, Term
from qfa_tf.runs.workdir import Workdir
from qfa_tf.space import Architecture
from quantize_configs.errors import DamagedFileError
from quantize_configs.files import write_text

SCHEMA_VERSION = 1


class ModelRecordError(RunError, DamagedFileError):
    """A model or its record is damaged, missing or in the way."""


@dataclasses.dataclass(frozen=True)
class ModelRecord:
    """What is known about an exported model.

    Attributes:
      name: Of the files.
      identity: Digest of everything that determines the model.
      source: Where the architecture comes from.
      architecture: The subnet.
      resolution: Height and width of the input in pixels.
      cost: Maps cost metrics to values.
      checkpoint_key: Identifies the weights.
      calibration_key: Identifies the calibration.
      conversion: Arguments of `tflite_tools.convert`.
      accuracy: On the test split: "supernet", "keras" (extracted) and "litert"; "equal_answers" is
        the share of images on which LiteRT answers as the external teacher of the training.
      verification: `VerificationReport.as_dict()`.
      file_bytes: Size of the flatbuffer.
      file_sha256: Digest of the flatbuffer.
      versions: Of the packages that took part.
      float_sites: What sites became that the space keeps in float, see `QFASupernet.extract`.
      softmax: Whether the file answers with probabilities rather than logits.
      search: Name of the search that it comes from; None when it is not from one.
      budget: The constraints of that search, measured.
      passed_over: Better members of that front whose files would have broken the budget.
      benchmarks: Reports by device and threads, such as "host-1".
      runtimes: `RuntimesReport.as_dict()` of the last comparison; empty without one.
    """

    name: str
    identity: str
    source: str
    architecture: Architecture
    resolution: int
    cost: Mapping[str, float]
    checkpoint_key: str
    calibration_key: str
    conversion: Mapping[str, str]
    accuracy: Mapping[str, Any]
    verification: Mapping[str, Any]
    file_bytes: int
    file_sha256: str
    versions: Mapping[str, str]
    float_sites: str = DEFAULT_FLOAT_SITES  # also of records that were written without it
    softmax: bool = False
    search: str | None = None
    budget: tuple[Term, ...] = ()
    passed_over: tuple[PassedOver, ...] = ()
    benchmarks: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    runtimes: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def write(self, workdir: Workdir) -> None:
        """Writes the record.

        Raises:
          FileWriteError: It cannot be written; the old one is untouched.
        """
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        fields["architecture"] = json.loads(self.architecture.to_json())
        for name in ("budget", "passed_over"):
            fields[name] = [dataclasses.asdict(item) for item in fields[name]]
        content = {"schema_version": SCHEMA_VERSION, **fields}
        path = record_path(workdir, self.name)
        write_text(path, json.dumps(content, indent=1, default=_as_plain) + "\n")

    def check_file(self, workdir: Workdir) -> pathlib.Path:
        """Returns the path of the flatbuffer, after comparing it with the record.

        Raises:
          ModelRecordError: It is missing, damaged or another one.
        """
        path = model_path(workdir, self.name)
        if not path.is_file():
            raise ModelRecordError(
                f"{path} is missing, but {record_path(workdir, self.name)} describes it. Remove "
                "that file and export again."
            )
        if hashlib.sha256(path.read_bytes()).hexdigest() != self.file_sha256:
            raise ModelRecordError(
                f"{path} is damaged: it is not the file that {self.name}.json describes. It was "
                "left as it is; remove both files and export again."
            )
        return path


def model_path(workdir: Workdir, name: str) -> pathlib.Path:
    """Where the flatbuffer of a model stands."""
    return workdir.models / f"{name}.tflite"


def record_path(workdir: Workdir, name: str) -> pathlib.Path:
    """Where the record of a model stands."""
    return workdir.models / f"{name}.json"


def read_record(workdir: Workdir, name: str) -> ModelRecord:
    """Reads what `ModelRecord.write` wrote.

    Raises:
      ModelRecordError: The file is missing, damaged or of another schema version.
    """
    path = record_path(workdir, name)
    if not path.is_file():
        raise ModelRecordError(
            f"There is no model {name!r} in {workdir.models}: {path} is missing."
        )
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        version = fields.pop("schema_version", None)
        if version == SCHEMA_VERSION:
            fields["architecture"] = Architecture.from_json(json.dumps(fields["architecture"]))
            fields["budget"] = _terms(fields.get("budget", []))
            fields["passed_over"] = tuple(
                PassedOver(**{**item, "terms": _terms(item["terms"])})
                for item in fields.get("passed_over", [])
            )
            return ModelRecord(**fields)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelRecordError(
            f"{path} is damaged: {error}. It was left as it is; remove it and export again."
        ) from error
    raise ModelRecordError(
        f"{path} has schema version {version!r}; this release reads version {SCHEMA_VERSION}. It "
        "was left as it is; remove it and export again."
    )


def read_records(workdir: Workdir) -> list[ModelRecord]:
    """All models of a workdir, by name.

    Raises:
      ModelRecordError: There is none, or a record is damaged.
    """
    names = sorted(path.stem for path in workdir.models.glob("*.json"))
    if not names:
        raise ModelRecordError(
            f"{workdir} has no models yet. Export one: {command('export', workdir=workdir)}"
        )
    return [read_record(workdir, name) for name in names]


def existing_record(
    workdir: Workdir, name: str, identity: str, passed: Sequence[str] = ()
) -> ModelRecord | None:
    """The record of a model that was exported before under this name, None when there is none.

    Args:
      workdir: Of the run.
      name: Of the files.
      identity: Of the model; it also counts as exported where it was passed over for another one.
      passed: Identities that were passed over before it.

    Raises:
      ModelRecordError: There is another model of that name, or it is damaged.
    """
    if not record_path(workdir, name).is_file():
        return None
    record = read_record(workdir, name)
    over = [item.identity for item in record.passed_over]
    if record.identity != identity and over[: len(passed) + 1] != [*passed, identity]:
        raise ModelRecordError(
            f"{model_path(workdir, name)} is another model ({record.source}, weights "
            f"{record.checkpoint_key}). It was left as it is; choose another --name, or remove it."
        )
    record.check_file(workdir)
    return record


def known_sizes(workdir: Workdir) -> dict[str, int]:
    """Bytes of the files that were made, but passed over for others, by identity."""
    return {
        item.identity: item.file_bytes
        for path in sorted(workdir.models.glob("*.json"))
        for item in read_record(workdir, path.stem).passed_over
    }


def model_identity(
    architecture: Architecture, checkpoint_key: str, calibration_key: str, options: ExportOptions
) -> str:
    """Digest of everything that determines a flatbuffer."""
    parts = [architecture.to_json(), checkpoint_key, calibration_key, options.conversion]
    if options.float_sites != DEFAULT_FLOAT_SITES:  # digests without the choice stay as they were
        parts.append({"float_sites": options.float_sites})
    if options.softmax:
        parts.append({"softmax": True})
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _terms(items: Sequence[Mapping[str, Any]]) -> tuple[Term, ...]:
    return tuple(Term(**item) for item in items)


def _as_plain(value: Any) -> Any:
    """NumPy scalars and arrays in a report as JSON types."""
    return value.tolist()
