"""Searching the supernet of a workdir: what `apps/search.py` does."""

import contextlib
import functools
import hashlib
import os
import pathlib
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import rich.console

from qfa_tf.cost import CostModel, CostUnavailableError, LatencyTableError
from qfa_tf.runs.architecture_files import write_architecture
from qfa_tf.runs.building import build_space
from qfa_tf.runs.checkpoints import key_of, require_newest
from qfa_tf.runs.commands import command
from qfa_tf.runs.errors import RunError
from qfa_tf.runs.measurement import (
    UNSEEN_SPLIT,
    SupernetEvaluator,
    single_threaded_evaluator,
    workdir_evaluator,
)
from qfa_tf.runs.messages import new_console, say
from qfa_tf.runs.requirements import require_packages
from qfa_tf.runs.searching.display import SearchDisplay
from qfa_tf.runs.searching.folder import (
    DEFAULT_NAME,
    PREDICTOR_FILE,
    SearchFolder,
    claimed_search,
    finished_searches,
    search_folder,
)
from qfa_tf.runs.searching.reporting import known_unseen, write_page
from qfa_tf.runs.searching.settings import SearchSettings
from qfa_tf.runs.training.final_table import uniform_bits, uniform_genomes
from qfa_tf.runs.workdir import Workdir
from qfa_tf.search import (
    PREDICTED,
    Candidate,
    EvaluationStore,
    Evaluator,
    PredictingEvaluator,
    Predictor,
    Reference,
    SearchResult,
    StoredEvaluator,
    Subspace,
    check_feasible,
    parse_constraints,
    search,
)
from qfa_tf.search.constraints import resolve_constraints
from qfa_tf.search.evaluator_pool import EvaluatorPool
from qfa_tf.search.intervals import with_interval
from qfa_tf.search.report import ReportDetails, Unseen
from qfa_tf.search.sensitivity import Change, sensitivity
from qfa_tf.search.worker_pool import WorkerPool
from qfa_tf.space import SearchSpace

BACKENDS = ("processes", "ray")


def search_workdir(
    workdir: Workdir,
    settings: SearchSettings,
    console: rich.console.Console | None = None,
    *,
    name: str | None = None,
    predictor_of: str | None = None,
    workers: int = 0,
    backend: str = "processes",
) -> SearchResult:
    """Searches and writes what it found into `searches/NAME/` of the workdir.

    That is `pareto.json`, `pareto.png`, `report.html`, `predictor.npz`, and the chosen subnet as
    `architecture.json`. An equal search that was stopped is continued.

    Every evaluation is stored at once in `evaluations.sqlite`: after a kill, the same call asks
    only for what is missing. The strategy "predicted" measures nothing and needs no TensorFlow.

    Args:
      workdir: Of a trained supernet.
      settings: What to search for.
      console: For progress.
      name: Of the search; by default that of an equal one, else the first of "default",
        "default-2" and so on that is free.
      predictor_of: Name of the search whose predictor the strategy "predicted" takes; the newest
        one by default.
      workers: Processes that evaluate, each with one thread; 0 evaluates in this process.
      backend: "processes", or "ray" for the machines of a Ray cluster.

    Raises:
      RunError, ConstraintError, InfeasibleBudgetError: Something is missing or hopeless, the
        workdir holds one subnet that was trained alone, or no evaluated subnet meets a constraint
        on the accuracy (the files are written all the same).
      CostUnavailableError, LatencyTableError: A cost cannot be computed.
      StoreError, PredictorError, FileWriteError, StoreWriteError: A file is damaged or cannot be
        written.
      MissingExtraError: Without pymoo, matplotlib or Ray, before anything is evaluated.
    """
    require_packages("The search", *_packages(settings.strategy, backend))
    console = console or new_console()
    if backend not in BACKENDS or workers < 0:
        raise RunError(
            f"backend must be one of {BACKENDS} and workers at least 0. Received: {backend!r} and "
            f"{workers}."
        )
    config = workdir.config()
    if config.training.architecture:
        raise RunError(
            f"{workdir} holds one subnet that was trained alone, so there is nothing to search. "
            f"Export it: {command('export', workdir=workdir)}; or search the workdir of a "
            "supernet."
        )
    space = build_space(config)
    cost = settings.cost_model(space)
    bits = settings.bits(space)
    constraints = resolve_constraints(parse_constraints(settings.constraints), cost)
    objective = cost.resolve(settings.objective)
    check_feasible(constraints, cost, Subspace(space, bits, settings.uniform_bits))
    budget = ", ".join(map(str, constraints)) or "no constraint"
    say(
        console,
        f"Searching {space.name} with {settings.strategy}: accuracy against {objective}, {budget}, "
        f"bits {', '.join(map(str, bits))}{', uniform' if settings.uniform_bits else ''}, "
        f"{settings.budget} evaluations, seed {settings.seed}",
    )
    wanted: dict[str, Any] = {
        "constraints": constraints,
        "objective": objective,
        "minimize": settings.minimize,
        "seed": settings.seed,
        "bits": bits,
        "uniform_bits": settings.uniform_bits,
    }
    request = {"space": space.fingerprint, **settings.request()}
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(claimed_search(workdir, request, name))
        say(console, f"Search {folder.name!r} in {folder}")
        display = SearchDisplay(console)
        evaluator: Evaluator
        evaluations: int | None = None
        stored: StoredEvaluator | None = None
        apart: SupernetEvaluator | None = None
        if settings.strategy == "predicted":
            evaluator, strategy = _predicting(workdir, settings, space, predictor_of, console)
        else:
            _say_if_older(folder, key_of(require_newest(workdir)), console)
            strategy, evaluations = settings.build_strategy(), settings.budget
            store = stack.enter_context(EvaluationStore(workdir.evaluations, space))
            say(console, "Loading TensorFlow, the images and the supernet.")
            measuring, apart = stack.enter_context(_measuring(workdir, space, workers, backend))
            stored = evaluator = StoredEvaluator(measuring, store)
        with display:
            result = search(
                space,
                cost,
                evaluator,
                strategy=strategy,
                evaluations=evaluations,
                on_progress=display,
                on_predictor=lambda predictor: predictor.save(folder.predictor),
                **wanted,
            )
        began = time.perf_counter()
        references = _uniform_references(space, cost, evaluator, objective, console)
        display.seconds["references"] = time.perf_counter() - began
        changes: tuple[Change, ...] = ()
        if settings.sensitivity and result.chosen is not None:
            began = time.perf_counter()
            say(console, "Measuring the chosen subnet with each bit-width changed ...")
            changes = sensitivity(result.chosen, cost, objective, evaluator.evaluate)
            display.seconds["sensitivity"] = time.perf_counter() - began
        unseen: Unseen | None = None
        if apart is not None and result.chosen is not None:
            began = time.perf_counter()
            known_to = [folder, *finished_searches(workdir)]
            unseen = _on_unseen_images(apart, result.chosen, known_to, console)
            display.seconds["unseen images"] = time.perf_counter() - began
        next_command = _next_command(workdir, settings, folder)
        details = ReportDetails(
            references, changes, display.seconds, _data(config), next_command, unseen=unseen
        )
        _write(workdir, folder, result, details)
    if stored is not None:
        say(
            console,
            f"{stored.misses} subnets evaluated, {stored.hits} found in "
            f"{workdir.evaluations.name}.",
        )
    if result.quality is not None:
        say(console, str(result.quality))
    _print_outcome(result, references, unseen, folder, next_command, console)
    return result


def _write(
    workdir: Workdir, folder: SearchFolder, result: SearchResult, details: ReportDetails
) -> None:
    """Writes all files of a search; `pareto.json`, which marks it as finished, last."""
    from qfa_tf.search.plot import plot_pareto

    if result.chosen is None:  # that of an earlier search would be of another front
        folder.architecture_file.unlink(missing_ok=True)
    else:
        write_architecture(result.architecture(result.chosen), folder.architecture_file)
    plot_pareto(result, folder.pareto_png, details.references)
    write_page(workdir, folder, result, details)
    result.write_pareto_json(folder.pareto_json)


def _say_if_older(folder: SearchFolder, checkpoint_key: str, console) -> None:
    """Tells that the result of an equal search is of other weights, and will be replaced."""
    if not folder.pareto_json.is_file():
        return
    before = folder.result().checkpoint_key
    if before != checkpoint_key:
        say(
            console,
            f"This search was done with the weights {before}; it is done again with "
            f"{checkpoint_key}.",
        )


def _packages(strategy: str, backend: str) -> list[str]:
    """What a search imports sooner or later."""
    needed = ["pymoo", "matplotlib"]
    needed += ["sklearn"] * (strategy in ("predictor", "refine", "predicted"))
    return needed + ["ray"] * (backend == "ray")


def default_workers() -> int:
    """One per core that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextlib.contextmanager
def _measuring(
    workdir: Workdir, space, workers: int, backend: str
) -> Iterator[tuple[Evaluator, SupernetEvaluator]]:
    """The evaluator, with its processes when there are some, and the one of this process."""
    reference = workdir_evaluator(workdir, space)
    if not workers:
        yield reference, reference
        return
    factory = functools.partial(
        single_threaded_evaluator, str(workdir.path.absolute()), reference.checkpoint_key
    )
    if backend == "ray":
        from qfa_tf.search.ray_pool import RayPool

        pool: EvaluatorPool = RayPool(factory, workers, reference)
    else:
        pool = WorkerPool(factory, workers, reference)
    with pool:
        yield pool, reference


def _on_unseen_images(
    evaluator: SupernetEvaluator,
    chosen: Candidate,
    folders: Sequence[SearchFolder],
    console: rich.console.Console,
) -> Unseen:
    """The chosen subnet, and no other one, on the images that chose nothing.

    A search picks what was lucky on its images, so those flatter what it picks.
    """
    parts = [evaluator.checkpoint_key, evaluator.calibration_key]
    parts += [evaluator.images_key(UNSEEN_SPLIT), str(list(chosen.genome))]
    key = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    known = known_unseen(folders, key)
    if known is not None:
        return known
    say(console, f"Measuring the chosen subnet on images of {UNSEEN_SPLIT}.")
    found = evaluator.evaluate_apart(np.array(chosen.genome, np.int32), UNSEEN_SPLIT)
    return Unseen(UNSEEN_SPLIT, found.accuracy, found.images, key)


def _predicting(workdir: Workdir, settings: SearchSettings, space, name: str | None, console):
    """Evaluator and strategy of a search on the predictor of an earlier one."""
    from qfa_tf.search import PredictedFront

    path = _predictor_file(workdir, name)
    say(console, f"Predictor: {path}")
    predictor = Predictor.load(path, space)
    strategy = PredictedFront(
        predictor, settings.predictor_population, settings.predictor_generations
    )
    return PredictingEvaluator(predictor), strategy


def _predictor_file(workdir: Workdir, name: str | None) -> pathlib.Path:
    """The predictor of a search, by default of the newest one that has fitted one."""
    if name is not None:
        return search_folder(workdir, name).predictor
    found = [workdir.path / PREDICTOR_FILE, *workdir.searches.glob(f"*/{PREDICTOR_FILE}")]
    found = [path for path in found if path.is_file()]
    if not found:
        raise RunError(
            f"{workdir} has no search with a predictor yet. Make one: "
            f"{command('search', workdir=workdir, strategy='predictor')}"
        )
    return max(found, key=lambda path: path.stat().st_mtime_ns)


def _uniform_references(
    space: SearchSpace,
    cost: CostModel,
    evaluator: Evaluator,
    objective: str,
    console: rich.console.Console,
) -> list[Reference]:
    """The largest subnet at each bit-width, for comparison."""
    genomes = uniform_genomes(space)
    deployment = () if objective in cost.evaluate(genomes[:1]) else (objective,)
    try:
        figures = cost.evaluate(genomes, deployment)[objective]
    except (CostUnavailableError, LatencyTableError) as error:
        say(console, f"Without the largest subnet at each bit-width for comparison: {error}")
        return []
    results = evaluator.evaluate(genomes)
    return [
        Reference(f"largest, {bits} bits", float(figure), result.accuracy)
        for figure, bits, result in zip(figures, uniform_bits(space), results, strict=True)
        if np.isfinite(figure)
    ]


def _data(config) -> dict[str, str]:
    return {
        "set": config.data.name,
        "calibration": f"{config.data.calibration_batches} batches of training images",
        "search_validation": "held out of training; the search and its predictors see nothing else",
        UNSEEN_SPLIT: "only the chosen subnet is measured on them, when it has been chosen",
    }


def _next_command(workdir: Workdir, settings: SearchSettings, folder: SearchFolder) -> str:
    if settings.strategy == "predicted":
        return command("search", workdir=workdir, strategy="predictor")
    name = None if folder.name == DEFAULT_NAME else folder.name
    return command("export", workdir=workdir, search=name)


def _tie(result: SearchResult) -> str:
    """What the chosen subnet was preferred to, where it is not the most accurate one."""
    if result.minimize or result.chosen_index == result.best_index or result.best_index is None:
        return ""
    best = result.candidates[result.best_index]
    return (
        f"the cheapest of {len(result.near_indices)} within one standard error of the most "
        f"accurate one ({100 * best.accuracy:.2f} %, {result.objective} "
        f"{best.costs[result.objective]:.4g}), "
    )


def _print_outcome(result, references, unseen, folder, next_command, console) -> None:
    for reference in references:
        say(
            console,
            f"{reference.label}: accuracy {100 * reference.accuracy:.2f} %, "
            f"{result.objective} {reference.cost:.4g}",
        )
    if result.chosen is None:
        best = max(candidate.accuracy for candidate in result.candidates)
        raise RunError(
            f"No evaluated subnet meets {', '.join(map(str, result.constraints))}; the best "
            f"accuracy within the budget is {best:.4f}. Allow a larger budget or less accuracy, or "
            "search longer with more --generations or --evaluations."
        )
    chosen = result.chosen
    note = "" if PREDICTED not in result.split else " (a prediction; measure it before you use it)"
    accuracy = with_interval(chosen.accuracy, chosen.images)
    if note:  # the predictor's own error, not the number of images, limits it
        accuracy = f"{100 * chosen.accuracy:.2f} %"
    say(
        console,
        f"Chosen: accuracy {accuracy} on {result.split}{note}, {_tie(result)}"
        f"{result.objective} {chosen.costs[result.objective]:.4g}, "
        f"{chosen.costs['weight_bytes']:,.0f} weight bytes\n"
        f"{'' if unseen is None else f'{unseen}{chr(10)}'}"
        f"{result.architecture(chosen).describe()}\n"
        f"Front of {len(result.front)} in {folder.pareto_json}, page in {folder.report}, the "
        f"chosen subnet in {folder.architecture_file}.\n"
        f"Next: {next_command}",
    )
