"""What each search strategy finds with the same number of exact evaluations.

    python benchmarks/search_strategies.py --workdir workdir/digits

Searches a trained supernet with every strategy and several seeds, then with one bit-width for the
whole network at 2, 3 and 4 bits. Every search measures anew in a store of its own, so that its
times are true. Writes into benchmarks/results: search_strategies.csv (hypervolume against
evaluations), search_strategies.png (the same, drawn), search_summary.csv (a row per search with
Kendall tau, time per phase and evaluations per minute) and search_mixed_against_uniform.csv (best
accuracy at equal mflops_8bit).
"""

import argparse
import datetime
import functools
import io
import pathlib
import tempfile
import time

import numpy as np
import results_file

from qfa_tf.cost import CostModel
from qfa_tf.runs import Workdir
from qfa_tf.runs.building import build_space
from qfa_tf.runs.measurement import single_threaded_evaluator, workdir_evaluator
from qfa_tf.runs.searching.run import default_workers
from qfa_tf.search import (
    EvaluationStore,
    ExactNSGA2,
    IterativeRefinement,
    PredictorGuided,
    RandomSearch,
    SearchResult,
    StoredEvaluator,
    hypervolume,
    search,
)
from qfa_tf.search.worker_pool import WorkerPool
from quantize_configs.files import write_bytes

OBJECTIVE = "mflops_8bit"
MAX_BITS = (2, 3, 4)
STRATEGIES = {
    "nsga2": lambda n: ExactNSGA2(population=20, generations=None),
    "predictor": lambda n: PredictorGuided(n, sample_share=0.5, population=200, generations=200),
    "refine": lambda n: IterativeRefinement(n, predictor="gp", population=200, generations=50),
    "random": lambda n: RandomSearch(n),
}
LEVELS = (0.025, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.15)


def main() -> None:
    """Runs all searches of one supernet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", required=True, help="of a trained supernet")
    parser.add_argument("--evaluations", type=int, default=200, help="budget of each search")
    parser.add_argument("--uniform_evaluations", type=int, default=100, help="of each bit-width")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=default_workers())
    args = parser.parse_args()

    workdir = Workdir(args.workdir)
    space = build_space(workdir.config())
    cost = CostModel(space)
    reference = workdir_evaluator(workdir, space)
    factory = functools.partial(
        single_threaded_evaluator, str(workdir.path.absolute()), reference.checkpoint_key
    )
    curves, summary, mixed, uniform = [], [], [], {}
    with WorkerPool(factory, args.workers, reference) as pool:
        # A worker traces its graph at its first subnet; that belongs to no search.
        pool.evaluate(space.sample_genomes(np.random.default_rng(1), 2 * args.workers))
        run = functools.partial(_search, space, cost, pool)
        for seed in range(args.seeds):
            for name, strategy in STRATEGIES.items():
                curve = []
                result, row = run(strategy(args.evaluations), args.evaluations, seed, curve=curve)
                summary.append(row)
                curves += [{"strategy": name, "seed": seed, **point} for point in curve]
                print(row, flush=True)
                if name != "random":
                    mixed.append(result)
        for bits in MAX_BITS:
            exact = ExactNSGA2(population=20, generations=None)
            uniform[bits], row = run(exact, args.uniform_evaluations, 0, bits=(bits,))
            summary.append({**row, "strategy": f"uniform {bits} bits"})
            print(summary[-1], flush=True)
    stamp = {"date": datetime.date.today().isoformat(), "space": space.name}
    results_file.write("search_strategies", curves)
    results_file.write("search_summary", [{**stamp, **row} for row in summary])
    results_file.write("search_mixed_against_uniform", _levels(mixed, uniform))
    write_bytes(results_file.RESULTS / "search_strategies.png", _picture(curves, space.name))


def _search(space, cost, pool, strategy, evaluations, seed, bits=MAX_BITS, curve=None):
    """Runs one search with an empty store; returns its result and its row of the summary."""
    seconds: dict[str, float] = {}
    last = began = time.perf_counter()

    def on_progress(progress) -> None:
        nonlocal last
        now = time.perf_counter()
        phase = "search" if progress.phase == "generation" else progress.phase
        seconds[phase] = seconds.get(phase, 0.0) + now - last
        last = now
        if curve is not None and (not curve or progress.spent > curve[-1]["evaluations"]):
            point = {"evaluations": progress.spent, "hypervolume": progress.hypervolume}
            curve.append({key: round(value, 6) for key, value in point.items()})

    with (
        tempfile.TemporaryDirectory() as folder,
        EvaluationStore(pathlib.Path(folder) / "evaluations.sqlite", space) as store,
    ):
        stored = StoredEvaluator(pool, store)
        result = search(
            space,
            cost,
            stored,
            strategy=strategy,
            evaluations=evaluations,
            objective=OBJECTIVE,
            seed=seed,
            bits=bits,
            uniform_bits=len(bits) == 1,
            on_progress=on_progress,
        )
        measured = stored.misses
    total = time.perf_counter() - began
    measuring = sum(seconds.get(phase, 0.0) for phase in ("search", "sample", "verify"))
    quality = result.quality
    return result, {
        "strategy": result.strategy,
        "seed": seed,
        "evaluations": round(result.spent, 2),
        "abandoned": result.abandoned,
        "front": len(result.front),
        "hypervolume": round(_volume(result.candidates, cost), 5),
        "kendall_tau": "" if quality is None else round(quality.kendall_tau, 3),
        "rmse_points": "" if quality is None else round(100 * quality.rmse, 3),
        "seconds": round(total, 1),
        **{
            f"{phase}_seconds": round(seconds.get(phase, 0.0), 1)
            for phase in ("search", "sample", "fit", "predict", "verify")
        },
        "evaluations_per_minute": round(60 * measured / measuring),
        "workers": len(pool.process_ids),
    }


def _volume(candidates, cost) -> float:
    """Of some candidates, with the largest network at 4 bits as the reference."""
    largest = cost.space.encode(cost.space.largest(bits=MAX_BITS[-1]))
    reference = cost.evaluate(largest[None])[OBJECTIVE][0]
    accuracy = [candidate.accuracy for candidate in candidates]
    costs = [candidate.costs[OBJECTIVE] for candidate in candidates]
    return hypervolume(np.array(accuracy), np.array(costs), reference)


def _levels(mixed: list[SearchResult], uniform: dict[int, SearchResult]) -> list[dict]:
    """The best accuracy at no more than each cost; of mixed precision, the median of searches."""
    rows = []
    for level in LEVELS:
        found = [_best(result, level) for result in mixed]
        row = {"mflops_8bit": level, "mixed": round(float(np.median(found)), 4)}
        row |= {f"uniform_{bits}": _best(result, level) for bits, result in uniform.items()}
        rows.append(
            {k: v if k == "mflops_8bit" or v > 0 else "not attainable" for k, v in row.items()}
        )
    return rows


def _best(result: SearchResult, level: float) -> float:
    within = [c.accuracy for c in result.candidates if c.costs[OBJECTIVE] <= level]
    return round(max(within, default=0.0), 4)


def _picture(curves: list[dict], space: str) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 4.8), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for i, name in enumerate(STRATEGIES):
        points = [row for row in curves if row["strategy"] == name]
        seeds = sorted({row["seed"] for row in points})
        steps = np.unique([row["evaluations"] for row in points])
        lines = [
            np.array([(p["evaluations"], p["hypervolume"]) for p in points if p["seed"] == seed]).T
            for seed in seeds
        ]
        values = np.array([np.interp(steps, *line) for line in lines])
        axes.plot(steps, values.mean(axis=0), color=f"C{i}", label=name)
        axes.fill_between(steps, values.min(axis=0), values.max(axis=0), color=f"C{i}", alpha=0.15)
    axes.set_xlabel("exact evaluations")
    axes.set_ylabel("hypervolume of accuracy against mflops_8bit")
    axes.set_title(f"{space}: mean and range over {len(seeds)} seeds")
    axes.set_ylim(bottom=float(np.quantile([row["hypervolume"] for row in curves], 0.05)))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    png = io.BytesIO()
    figure.savefig(png, format="png", metadata={"Software": None})
    return png.getvalue()


if __name__ == "__main__":
    main()
