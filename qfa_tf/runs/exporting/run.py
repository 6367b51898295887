"""Exporting subnets of a workdir as verified `.tflite` files: what `apps/export.py` does."""

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Unpack

import rich.console

from qfa_tf.cost import CostModel
from qfa_tf.runs.building import build_space
from qfa_tf.runs.commands import command
from qfa_tf.runs.exporting.budget import members_in_turn, none_holds, terms_of_file
from qfa_tf.runs.exporting.building import PIXEL_RANGE, Draft, ModelBuilder, VerifiedModel
from qfa_tf.runs.exporting.hints import slow_filters
from qfa_tf.runs.exporting.options import ExportOptions
from qfa_tf.runs.exporting.page import require_page, write_model_page
from qfa_tf.runs.exporting.promises import broken_promises
from qfa_tf.runs.exporting.records import (
    ModelRecord,
    existing_record,
    known_sizes,
    model_identity,
    model_path,
    read_record,
)
from qfa_tf.runs.exporting.terms import PassedOver, Term, broken_terms
from qfa_tf.runs.messages import new_console, say
from qfa_tf.runs.requirements import require_packages, require_writable
from qfa_tf.runs.run_data import open_data
from qfa_tf.runs.searching.reporting import refresh_page
from qfa_tf.runs.searching.staleness import is_stale, measured_anew, select_for_weights
from qfa_tf.runs.selection import Member, Selection, SubnetArguments
from qfa_tf.runs.workdir import Workdir
from qfa_tf.search import PREDICTED
from qfa_tf.search.intervals import with_interval
from qfa_tf.space import Architecture, SearchSpace
from quantize_configs.files import write_bytes

if TYPE_CHECKING:
    from qfa_tf.data import DataSplits

_PACKAGES = ("qfa_tf", "tensorflow", "tf-keras", "ai-edge-litert")


def export_model(
    workdir: Workdir,
    *,
    stale: str = "refuse",
    name: str | None = None,
    options: ExportOptions | None = None,
    page: bool = False,
    overlays: bool = False,
    console: rich.console.Console | None = None,
    **which: Unpack[SubnetArguments],
) -> ModelRecord:
    """Extracts, converts and verifies one subnet; a model that was exported before is kept.

    The budget of the search is measured on the file. Where the subnet that the search chose does
    not keep it, the next best member of the front that does is exported instead; one that was
    asked for by its index is exported all the same, and what it breaks is said.

    Args:
      workdir: Of a trained supernet.
      stale: "ok" to take a subnet of a search of other weights, after measuring it anew.
      name: Of the files; by default the space and a digest of the model.
      options: How it becomes a file.
      page: Whether to write a page beside it that runs it in a browser.
      overlays: Whether to write numbers per layer for Model Explorer into a folder beside it.
      console: For progress.
      **which: The subnet; see `SubnetArguments`.

    Raises:
      MissingExtraError: LiteRT is not installed.
      MissingRuntimeError: A page was asked for, and LiteRT.js is not installed.
      RunError: Something is missing, damaged or in the way, or no member of the front keeps the
        budget.
      UnsupportedCombinationError: LiteRT cannot compute the subnet exactly.
      FileWriteError: The files cannot be written.
    """
    require_packages("The export", "ai_edge_litert", "flatbuffers")
    console = console or new_console()
    config = workdir.config()
    space = build_space(config)
    selection, checkpoint_key = select_for_weights(workdir, space, console, stale=stale, **which)
    options = _fitting(options or ExportOptions(), space, console)
    if page:
        require_page(options)
    say(console, "Loading TensorFlow and the images.")
    data = open_data(workdir, config)
    if selection.member is not None and is_stale(selection, checkpoint_key):
        measured_anew(workdir, selection.member, data, console)
    export = _Export(workdir, space, checkpoint_key, data, options, name, console)
    if which.get("index") is not None or selection.member is None:
        record = export.one(selection)
    else:
        record = export.first_within_budget(selection.member, selection.source)
    if page:
        write_model_page(workdir, record, data, PIXEL_RANGE, console)
    if overlays:
        _write_overlays(workdir, record, console)
    return record


def fitting_subnet(
    workdir: Workdir, search: str, console: rich.console.Console | None = None
) -> Member:
    """What a search chose, or the next best member of its front whose file will keep the budget.

    Only the size of the file is looked at; nothing is verified or written.

    Args:
      workdir: Of a trained supernet.
      search: Name of the search.
      console: For progress.

    Raises:
      RunError: Something is missing or damaged, or no member of the front keeps the budget.
    """
    require_packages("The export", "ai_edge_litert", "flatbuffers")
    console = console or new_console()
    config = workdir.config()
    space = build_space(config)
    selection, key = select_for_weights(workdir, space, console, stale="refuse", search=search)
    assert selection.member is not None, "it is of a search"
    data = open_data(workdir, config)
    options = ExportOptions().for_space(space)
    export = _Export(workdir, space, key, data, options, None, console)
    fitting = export.fitting(selection.member, selection.source).member
    assert fitting is not None, "it is of the same search"
    return fitting


def _write_overlays(workdir: Workdir, record: ModelRecord, console: rich.console.Console) -> None:
    """Bits, bytes and differences of every layer, as Model Explorer reads them."""
    from tflite_tools.flatbuffer.overlays import write_overlays

    path = model_path(workdir, record.name)
    folder = path.with_suffix(".explorer")
    layers = record.verification["layers"]["layers"]
    differing = {layer["name"]: 100 * layer["differing"] for layer in layers}
    others = {"percent_of_codes_off_keras": differing}
    written = write_overlays(path.read_bytes(), folder, record.name, others)
    paths = " ".join(map(str, written))
    say(console, f"Next: model-explorer {path} --node_data_paths={paths.replace(' ', ',')}")


def _fitting(
    options: ExportOptions, space: SearchSpace, console: rich.console.Console
) -> ExportOptions:
    fitting = options.for_space(space)
    if fitting != options:
        say(console, f"The space {space.name!r} keeps nothing in float; float_sites has no effect.")
    return fitting


@dataclasses.dataclass(frozen=True)
class _Candidate:
    """A subnet on its way to a file."""

    selection: Selection
    identity: str
    name: str

    @property
    def architecture(self) -> Architecture:
        return self.selection.architecture

    def terms(self, file_bytes: int) -> tuple[Term, ...]:
        """What its search asked for, and whether a file of this size keeps it."""
        member = self.selection.member
        return () if member is None else terms_of_file(member, file_bytes)


class _Export:
    """Exports subnets of one workdir in one way."""

    def __init__(
        self,
        workdir: Workdir,
        space: SearchSpace,
        checkpoint_key: str,
        data: "DataSplits",
        options: ExportOptions,
        name: str | None,
        console: rich.console.Console,
    ):
        self._workdir = workdir
        self._space = space
        self._checkpoint_key = checkpoint_key
        self._options = options
        self._name = name
        self._console = console
        self._builder = ModelBuilder(workdir, workdir.config(), data, options, console)
        self._began = time.perf_counter()

    def one(self, selection: Selection) -> ModelRecord:
        """Exports a subnet, whether or not it keeps a budget."""
        candidate = self._candidate(selection)
        existing = existing_record(self._workdir, candidate.name, candidate.identity)
        if existing is not None:
            return self._kept(existing)
        model = self._builder.verify(self._draft(candidate))
        for term in broken_terms(candidate.terms(len(model.flatbuffer))):
            say(self._console, f"Warning: {term}", style="bold red")
        return self._write(candidate, model)

    def first_within_budget(self, member: Member, source: str) -> ModelRecord:
        """Exports a subnet, or the next best member of its front that keeps the budget."""
        passed: list[PassedOver] = []
        known = known_sizes(self._workdir)
        for selection in members_in_turn(member, source):
            candidate = self._candidate(selection)
            existing = existing_record(
                self._workdir, candidate.name, candidate.identity, [one.identity for one in passed]
            )
            if existing is not None and not broken_terms(candidate.terms(existing.file_bytes)):
                return self._kept(existing)
            size, model = known.get(candidate.identity), None
            if size is None or not broken_terms(candidate.terms(size)):
                draft = self._draft(candidate)
                size = self._builder.least_bytes(draft)
                if not broken_terms(candidate.terms(size)):
                    model = self._builder.verify(draft)
                    size = len(model.flatbuffer)
            terms = candidate.terms(size)
            if model is not None and not broken_terms(terms):
                return self._write(candidate, model, passed)
            passed.append(PassedOver(candidate.identity, selection.source, size, terms))
            self._say_broken(selection, terms)
        raise none_holds(member.search.name, [one.terms for one in passed])

    def fitting(self, member: Member, source: str) -> Selection:
        """The subnet, or the next best member of its front whose file will keep the budget."""
        terms = []
        for selection in members_in_turn(member, source):
            candidate = self._candidate(selection)
            terms.append(candidate.terms(self._builder.least_bytes(self._draft(candidate))))
            if not broken_terms(terms[-1]):
                return selection
            self._say_broken(selection, terms[-1])
        raise none_holds(member.search.name, terms)

    def _say_broken(self, selection: Selection, terms: tuple[Term, ...]) -> None:
        told = ", ".join(map(str, broken_terms(terms)))
        say(self._console, f"({selection.source}) as a file: {told}.", style="bold red")

    def _candidate(self, selection: Selection) -> _Candidate:
        identity = model_identity(
            selection.architecture,
            self._checkpoint_key,
            self._builder.calibration_key,
            self._options,
        )
        return _Candidate(selection, identity, self._name or f"{self._space.name}-{identity[:8]}")

    def _draft(self, candidate: _Candidate) -> Draft:
        require_writable(self._workdir.models)
        told = candidate.architecture.describe()
        say(self._console, f"Exporting ({candidate.selection.source}) {told}")
        return self._builder.draft(candidate.architecture, candidate.name)

    def _of_search(self, candidate: _Candidate) -> dict[str, float | int]:
        """What the search measured by, where it did with these weights."""
        member = candidate.selection.member
        if member is None or member.result.checkpoint_key != self._checkpoint_key:
            return {}
        if PREDICTED in member.result.split:
            return {}
        found = member.candidate
        return {"search": found.accuracy, "search_images": found.images}

    def _kept(self, record: ModelRecord) -> ModelRecord:
        say(self._console, f"{model_path(self._workdir, record.name)} is exported already.")
        return record

    def _write(
        self, candidate: _Candidate, model: VerifiedModel, passed: Sequence[PassedOver] = ()
    ) -> ModelRecord:
        """Writes file and record, and tells what came out."""
        genome = self._space.encode(candidate.architecture)
        costs = CostModel(self._space).evaluate(genome[None])
        source, member = candidate.selection.source, candidate.selection.member
        record = ModelRecord(
            name=candidate.name,
            identity=candidate.identity,
            source=f"{source}, in place of {passed[0].source}" if passed else source,
            architecture=candidate.architecture,
            resolution=candidate.architecture.resolution,
            cost={metric: float(values[0]) for metric, values in costs.items()},
            checkpoint_key=self._checkpoint_key,
            calibration_key=self._builder.calibration_key,
            conversion=self._options.conversion,
            float_sites=self._options.float_sites,
            softmax=self._options.softmax,
            accuracy=model.accuracy | self._of_search(candidate),
            verification=model.report.as_dict(),
            file_bytes=len(model.flatbuffer),
            file_sha256=hashlib.sha256(model.flatbuffer).hexdigest(),
            versions={package: importlib.metadata.version(package) for package in _PACKAGES},
            search=None if member is None else member.search.name,
            budget=candidate.terms(len(model.flatbuffer)),
            passed_over=tuple(passed),
        )
        write_bytes(model_path(self._workdir, record.name), model.flatbuffer)
        record.write(self._workdir)  # last: a model without its record is written again
        if member is not None:
            refresh_page(self._workdir, member.search)
        self._tell(record, model)
        return read_record(self._workdir, record.name)

    def _tell(self, record: ModelRecord, model: VerifiedModel) -> None:
        path = model_path(self._workdir, record.name)
        # What the weights do in float says little of a network that was trained with its bits; the
        # page has it.
        say(self._console, str(dataclasses.replace(model.report, against_float=None)))
        warnings = broken_promises(record)
        for warning in warnings:
            say(self._console, f"Warning: {warning}", style="bold red")
        if warnings:
            say(self._console, str(model.report.layers))
            with contextlib.suppress(ImportError):  # without matplotlib there is no picture
                plot = path.with_suffix(".layers.png")
                model.report.layers.plot(plot)
                say(self._console, f"Differences by tensor: {plot}")
        if hint := slow_filters(model.flatbuffer, self._options.runtime):
            say(self._console, hint)
        for term in record.budget:
            say(self._console, f"Budget: {term}")
        if record.passed_over:
            say(self._console, f"Exported {record.source}, which its file would break.")
        measured = {
            "supernet": model.accuracy["supernet"],
            "Keras": model.accuracy["keras"],
            "LiteRT": model.accuracy["litert"],
        }
        images = model.accuracy["images"]
        shown = ", ".join(
            f"{what} {with_interval(value, images)}" for what, value in measured.items()
        )
        if "search" in record.accuracy:
            chosen_by = with_interval(record.accuracy["search"], record.accuracy["search_images"])
            say(
                self._console,
                f"Accuracy of the supernet's subnet: {chosen_by} on the "
                f"{record.accuracy['search_images']:,} images that the search chose it by, "
                f"{with_interval(measured['supernet'], images)} on {images:,} of "
                f"{model.accuracy['split']}, by which no search chose.",
            )
        say(
            self._console,
            f"Accuracy on {images:,} images of test: {shown}\n"
            f"Wrote {path} ({len(model.flatbuffer):,} bytes) in "
            f"{time.perf_counter() - self._began:.0f} s\n"
            f"Next: {command('benchmark', workdir=self._workdir)}",
        )
