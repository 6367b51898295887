"""Opening the data set of a workdir: the same images in the same splits, or a sentence."""

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import rich.console
import rich.progress
from ml_collections import ConfigDict

from qfa_tf.runs.building import build_data
from qfa_tf.runs.checkpoints import newest
from qfa_tf.runs.data_record import DataRecord
from qfa_tf.runs.errors import WorkdirError
from qfa_tf.runs.imported import import_source
from qfa_tf.runs.messages import say
from qfa_tf.runs.startup import load_tensorflow
from qfa_tf.runs.workdir import Workdir

if TYPE_CHECKING:
    from qfa_tf.data import DataSplits
    from qfa_tf.data.membership import Adoption, Membership

BY_POSITION = "positions"
SHOWN_NAMES = 50


def open_data(
    workdir: Workdir,
    config: ConfigDict,
    console: rich.console.Console | None = None,
    *,
    changed_data: bool = False,
    skip_damaged: bool = False,
    writes: bool = True,
    before_writing: Callable[[], object] | None = None,
) -> "DataSplits":
    """The splits of the data set of a workdir, which stay those of its first training.

    The workdir notes all images. Where they are others now that is refused; with `changed_data`
    each image that is known keeps its split, so that no held-out image is ever trained on, new
    ones are divided as always, and the note is renewed.

    Workdirs that were trained before there were such notes keep the splits they had.

    Args:
      workdir: Of the run.
      config: Of the run, complete.
      console: For progress and findings; None for silence.
      changed_data: Whether to go on with a data set that changed.
      skip_damaged: Whether to go on without damaged image files.
      writes: Whether this process may write into the workdir.
      before_writing: Called when the images are known to be usable, before anything is written.

    Raises:
      ConfigError: There is no such data set, or it does not fit the space.
      WorkdirError: The data set is another one now, or the note about it is damaged.
      FileWriteError: The note cannot be written.
    """
    load_tensorflow()
    from qfa_tf.data.membership import Membership

    record = DataRecord.read(workdir)
    parent = _parent(workdir, config) if record is None else None
    parents = None if parent is None else DataRecord.read(parent)
    rule = _rule(parent or workdir, record or parents)
    skip = skip_damaged or (record is not None and bool(record.skipped))
    with _scanning(console) as on_progress:
        data = build_data(config, rule=rule, skip_damaged=skip, on_progress=on_progress)
    skipped = () if data.report is None else data.report.skipped
    _check_skipped(workdir, skipped, record, skip_damaged)
    if parent is not None and parents is not None:
        data = _adopted(parent, parents.members, data).data
    now = Membership.of(data)
    if record is None:
        _check_source(workdir, config, now)
        if console is not None:
            _tell(workdir, data, rule, console)
        if writes:
            if before_writing is not None:
                before_writing()
            DataRecord(data.name, _rule_of(data), now, skipped).write(workdir)
        return data
    before = record.members
    if now.fingerprint == before.fingerprint:
        return _adopted(workdir, before, data).data
    changes = before.changes(now)
    if not changed_data:
        raise WorkdirError(
            f"The images of {config.data.name} are not those that {workdir} was made from "
            f"({before.fingerprint}, now {now.fingerprint}): {changes}. Restore them, choose "
            "another --workdir, or train on with --changed_data=ok: what was held out stays held "
            "out. Nothing was changed."
        )
    adoption = _adopted(workdir, before, data)
    noted = Membership.of(adoption.data)
    data = _adopted(workdir, noted, data).data  # in the order in which the next program has it
    if console is not None:
        left = f", {adoption.left_out:,} of mixed use left out" if adoption.left_out else ""
        say(
            console,
            f"The images changed ({changes}); those that stayed keep their splits. Now there are "
            f"{_sizes(data)}{left}.",
        )
    if writes:
        if before_writing is not None:
            before_writing()
        DataRecord(data.name, record.rule, noted, skipped).write(workdir)
    return data


def _rule(workdir: Workdir, record: DataRecord | None) -> str | None:
    """How the splits of a workdir were drawn; None for the way of its data set."""
    if record is not None:
        return record.rule or None
    trained = newest(workdir.checkpoints) is not None and not workdir.import_file.is_file()
    return BY_POSITION if trained else None


def _parent(workdir: Workdir, config: ConfigDict) -> Workdir | None:
    """The workdir that a new training starts from, when it has the same data set.

    What is held out there must not be trained on here: its weights know the rest.
    """
    path = config.training.initial_checkpoint
    if not path or newest(workdir.checkpoints) is not None:
        return None
    parent = Workdir(path)
    same = parent.config_file.is_file() and parent.config().data.name == config.data.name
    return parent if same else None


def _check_source(workdir: Workdir, config: ConfigDict, now: "Membership") -> None:
    """Refuses other images than those that an imported supernet was trained on.

    What is held out of them could be what it was trained on.
    """
    wanted = (import_source(workdir) or {}).get("data_fingerprint")
    if wanted not in (None, now.fingerprint):
        raise WorkdirError(
            f"The supernet of {workdir} was trained on other images than those of "
            f"{config.data.name} ({wanted}, here {now.fingerprint}), so that nobody can tell which "
            "of these it knows. Give it its own data set, or train a supernet on these images."
        )


def _rule_of(data: "DataSplits") -> str:
    return "" if data.pools is None else data.pools.rule


def _check_skipped(
    workdir: Workdir, skipped: tuple[str, ...], record: DataRecord | None, allowed: bool
) -> None:
    """Refuses damaged files that were not yet damaged when the workdir was made."""
    known = () if record is None else record.skipped
    fresh = sorted(set(skipped) - set(known))
    if fresh and not allowed:
        raise WorkdirError(
            f"{len(fresh):,} image files are damaged that were not when {workdir} was made: "
            f"{', '.join(fresh[:SHOWN_NAMES])}. Restore them, or go on without with --skip_damaged."
        )


def _adopted(workdir: Workdir, before: "Membership", data: "DataSplits") -> "Adoption":
    from qfa_tf.data import DataError
    from qfa_tf.data.membership import adopt

    try:
        return adopt(before, data)
    except DataError as error:
        raise WorkdirError(
            f"{workdir} cannot go on with the images there are now: {error}"
        ) from error


def _tell(workdir: Workdir, data: "DataSplits", rule: str | None, console) -> None:
    """Findings of the scan, and how an earlier workdir is split."""
    for sentence in () if data.report is None else data.report.sentences():
        say(console, f"Note: {sentence}")
    if rule == BY_POSITION and data.pools is not None and data.pools.usual_rule != rule:
        say(
            console,
            f"Note: {workdir} was trained before splits followed the images. It keeps its splits, "
            "which were drawn by position, and from now on notices when images change.",
        )


def _sizes(data: "DataSplits") -> str:
    return (
        f"{len(data.train):,} training, {len(data.search_validation):,} search validation and "
        f"{len(data.test):,} test images"
    )


@contextlib.contextmanager
def _scanning(
    console: rich.console.Console | None,
) -> Iterator[Callable[[int, int], None] | None]:
    """A progress bar that appears when files are scanned, on a terminal."""
    if console is None or not console.is_terminal:
        yield None
        return
    columns = (
        rich.progress.TextColumn("Looking at the image files"),
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TimeRemainingColumn(),
    )
    with rich.progress.Progress(*columns, console=console, transient=True) as progress:
        task = None

        def on_progress(done: int, total: int) -> None:
            nonlocal task
            if task is None:
                task = progress.add_task("scan", total=total)
            progress.update(task, completed=done)

        yield on_progress
