"""The programs on the small recipe, and what of their work must be the same however often they end.

Used by reliability.py, in processes that are forked from it.
"""

import csv
import dataclasses
import io
import json
import pathlib
from collections.abc import Callable

import numpy as np
import rich.console
import tensorflow as tf
from small_recipe import small_config, small_space

from qfa_tf.cost import LatencyTable
from qfa_tf.latency import TableSettings, measure_latency_table
from qfa_tf.runs import SearchSettings, Workdir, finetune, search_workdir, train
from qfa_tf.runs.checkpoints import newest
from qfa_tf.runs.searching.folder import find_search
from qfa_tf.runs.startup import skip_graph_rewriting
from qfa_tf.search import EvaluationStore
from tflite_tools.benchmarking.options import BenchmarkOptions

SPACE = small_space()
TRAINING = {
    "batch_size": 32,
    "stage_bits": ((32,), (4, 8)),
    "stage_steps": (4, 8),
    "checkpoint_minutes": 0.0,
}
"""Twelve steps, a checkpoint after each."""
_WITH_TIMES = ("progress", "save_counter")
"""Variables of a checkpoint that hold seconds, and how often it was written."""


def silent() -> rich.console.Console:
    """A console whose output nobody reads."""
    return rich.console.Console(file=io.StringIO())


def run_train(folder: pathlib.Path) -> None:
    """`apps/train.py`."""
    skip_graph_rewriting()  # as the programs do
    train(small_config(SPACE, "digits", TRAINING), Workdir(folder), silent())


def run_search(folder: pathlib.Path) -> None:
    """`apps/search.py --workers=0`."""
    skip_graph_rewriting()
    workdir = Workdir(folder)
    search_workdir(workdir, SearchSettings.from_config(workdir.config()), silent())


def run_table(folder: pathlib.Path) -> None:
    """`apps/benchmark.py --table`."""
    measure_latency_table(
        folder / "table.json",
        SPACE,
        device="host",
        options=BenchmarkOptions(num_runs=2, min_seconds=0.002, warmup_runs=1, rounds=1),
        settings=TableSettings(passes=2, networks=3, checked=2),
        console=silent(),
    )


def run_finetune(folder: pathlib.Path) -> None:
    """`apps/finetune.py`."""
    skip_graph_rewriting()
    finetune(Workdir(folder), epochs=2, name="tuned", console=silent())


def weights(folder: pathlib.Path) -> dict[str, bytes]:
    """All variables of the newest checkpoint and the logged figures, without times."""
    workdir = Workdir(folder)
    reader = tf.train.load_checkpoint(str(newest(workdir.checkpoints)))
    names = [
        name
        for name in reader.get_variable_to_shape_map()
        if not name.startswith(_WITH_TIMES) and "OBJECT_GRAPH" not in name
    ]
    found = {name: np.asarray(reader.get_tensor(name)).tobytes() for name in names}
    for path in (workdir.training_csv, workdir.probes_csv, workdir.quantizers_csv):
        with open(path, encoding="utf-8") as file:
            rows = [
                {key: value for key, value in row.items() if "second" not in key}
                for row in csv.DictReader(file)
            ]
        found[path.name] = json.dumps(rows).encode()
    probes = json.loads(workdir.probes_file.read_text(encoding="utf-8"))["accuracy"]
    return found | {"probes": json.dumps(probes).encode()}


def front(folder: pathlib.Path) -> dict[str, bytes]:
    """What the search wrote, and how often each subnet stands in the store."""
    workdir = Workdir(folder)
    with EvaluationStore(workdir.evaluations, SPACE) as store:
        count = len(store)
    pareto = json.loads(find_search(workdir).pareto_json.read_text(encoding="utf-8"))
    del pareto["checkpoint_key"], pareto["digest"]  # they follow from the bytes of the checkpoint
    return {"pareto": json.dumps(pareto).encode(), "evaluations": str(count).encode()}


def operators_of(folder: pathlib.Path) -> dict[str, bytes]:
    """The operators of the table; their times differ from run to run."""
    table = LatencyTable.load(folder / "table.json")
    return {"operators": repr(sorted(map(str, table.rows))).encode()}


def tuned(folder: pathlib.Path) -> dict[str, bytes]:
    """Weights and log of the tuned subnet."""
    return weights(folder / "finetuned" / "tuned")


@dataclasses.dataclass(frozen=True)
class Program:
    """A program that is disturbed.

    Attributes:
      run: Does its work in a folder, or goes on with it.
      outcome: What must be equal in the end.
      needs: Programs whose work stands in the folder before.
    """

    run: Callable[[pathlib.Path], None]
    outcome: Callable[[pathlib.Path], dict[str, bytes]]
    needs: tuple[str, ...] = ()


PROGRAMS = {
    "train": Program(run_train, weights),
    "search": Program(run_search, front, ("train",)),
    "table": Program(run_table, operators_of),
    "finetune": Program(run_finetune, tuned, ("train", "search")),
}
