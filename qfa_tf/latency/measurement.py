"""Measuring the latency table of a search space on a device: `apps/benchmark.py --table`."""

import dataclasses
import datetime
import functools
import os
import pathlib
import time
from collections.abc import Mapping, Sequence

import numpy as np
import rich.console

from qfa_tf.cost import CostModel, LatencyTable, LatencyTableError, OperatorKey
from qfa_tf.cost.device_label import device_label
from qfa_tf.cost.latency_table import MICROSECONDS_PER_MILLISECOND, occurrences
from qfa_tf.latency.progress import TableProgress
from qfa_tf.runs.messages import new_console, say
from qfa_tf.runs.requirements import require_packages
from qfa_tf.runs.startup import load_tensorflow
from qfa_tf.space import SearchSpace
from tflite_tools.benchmarking.options import BenchmarkOptions, DeviceFiles
from tflite_tools.benchmarking.profiling import time_alone

OPERATOR_OPTIONS = BenchmarkOptions(num_runs=10, min_seconds=0.03)
"""For one operator in one pass."""
SUBNET_OPTIONS = BenchmarkOptions(num_runs=50, min_seconds=1.0, rounds=5)
"""For a whole subnet."""
INPUT_TYPE = "uint8"
"""Of the images, as `apps/export.py` writes it."""
STEADY = 0.05
"""By how much the two fastest passes of an operator may differ, relatively."""
FURTHER_PASSES = 4
"""Of the operators that differ more."""
CANDIDATES = 2000
"""Random subnets among which those are chosen that fit the factor and the constant."""
_SECONDS_BETWEEN_MESSAGES = 10.0


@dataclasses.dataclass(frozen=True)
class TableSettings:
    """How a table is measured.

    Attributes:
      passes: Times that each operator is measured; the fastest counts, because what disturbs a
        measurement makes it slower. Where the two fastest differ, up to FURTHER_PASSES are added.
      networks: Subnets from fast to slow whose times fit the factor and the constant.
      checked: Random subnets, on which the error of the table is measured.
      seed: Of the subnets and the order of the operators.
    """

    passes: int = 3
    networks: int = 12
    checked: int = 30
    seed: int = 0

    def __post_init__(self):
        if self.passes < 1 or min(self.networks, self.checked) < 0:
            raise LatencyTableError(
                "A table needs passes of at least 1, and networks and checked of at least 0. "
                f"Received: {self}."
            )


@dataclasses.dataclass(frozen=True)
class Prediction:
    """Whole subnets, predicted and measured.

    Attributes:
      genomes: int32[n, genes].
      predicted_ms: float64[n].
      measured_ms: float64[n].
    """

    genomes: np.ndarray
    predicted_ms: np.ndarray
    measured_ms: np.ndarray

    @property
    def errors(self) -> np.ndarray:
        """Relative errors, float64[n]."""
        return self.predicted_ms / self.measured_ms - 1

    @property
    def mean_absolute_error(self) -> float:
        """As a fraction."""
        return float(np.abs(self.errors).mean())

    def __str__(self):
        worst = float(np.abs(self.errors).max())
        varies = min(np.ptp(self.predicted_ms), np.ptp(self.measured_ms)) > 0
        order = np.corrcoef(self.predicted_ms, self.measured_ms)[0, 1] if varies else np.nan
        return (
            f"{len(self.errors)} random subnets of {self.measured_ms.min():.3g} to "
            f"{self.measured_ms.max():.3g} ms: mean absolute error "
            f"{100 * self.mean_absolute_error:.2f} %, largest {100 * worst:.2f} %, mean "
            f"{100 * self.errors.mean():+.2f} %, correlation {order:.4f}"
        )


def measure_latency_table(
    path: str | os.PathLike,
    space: SearchSpace,
    *,
    device: str = "host",
    options: BenchmarkOptions | None = None,
    files: DeviceFiles | None = None,
    bits: Sequence[int] | None = None,
    settings: TableSettings | None = None,
    console: rich.console.Console | None = None,
) -> tuple[LatencyTable, Prediction | None]:
    """Measures every operator of a space, and how well their sums predict whole subnets.

    The same call continues after a kill or a lost device; rows that are in the table already are
    not measured again.

    Args:
      path: JSON file to write; its name is that of the table.
      space: Search space.
      device: See `tflite_tools.benchmark`.
      options: How one operator is measured in one pass.
      files: Programs and libraries for a phone.
      bits: Bit-widths to cover; all of the space by default.
      settings: Passes and subnets.
      console: For progress.

    Returns:
      The table, and the error on random subnets (None when none were asked for).

    Raises:
      LatencyTableError: The file is of another device, or damaged.
      DeviceError: The device cannot do it; what was measured is kept.
      FileWriteError: A file cannot be written.
      MissingExtraError: LiteRT is not installed.
    """
    require_packages("The latency table", "ai_edge_litert", "flatbuffers")
    console = console or new_console()
    say(console, f"Measuring the operators of {space.name} on {device}.")
    load_tensorflow()  # the models are written with the rules of the exporter
    from tflite_tools.benchmarking.measurement import open_device

    options = options or OPERATOR_OPTIONS
    settings = settings or TableSettings()
    once = dataclasses.replace(options, rounds=1)
    turns = dataclasses.replace(SUBNET_OPTIONS, **_shared(options))
    path = pathlib.Path(path)
    choices = space.restrict(bits)
    with open_device(device, files) as opened:
        blank = _blank(path, opened.info(), options)
        known = _known(path, blank)
        progress = TableProgress(path.with_suffix(".partial.jsonl"), _identity(blank))
        try:
            table = _with_rows(
                blank, known, opened, space, choices, once, settings, console, progress
            )
            table = _fitted(table, known, opened, space, choices, turns, settings, console)
            table.write(path)
            progress.remove()
        except BaseException:
            progress.close()
            raise
        say(console, f"Wrote {path}: {len(table.rows)} operators of {table.device}")
        if not settings.checked:
            return table, None
        genomes = _subnets(space, choices, settings.checked, settings.seed + 1)
        prediction = predict_and_measure(table, space, genomes, opened, turns, console)
    say(console, f"Error of the table: {prediction}")
    return table, prediction


def predict_and_measure(
    table: LatencyTable,
    space: SearchSpace,
    genomes: np.ndarray,
    device,
    options: BenchmarkOptions,
    console: rich.console.Console,
) -> Prediction:
    """Compares what a table predicts with whole subnets on the device."""
    metric = f"latency_ms@{table.name}"
    cost = CostModel(space, latency_tables={table.name: table})
    predicted = cost.evaluate(genomes, [metric])[metric]
    measured = measure_subnets(space, genomes, device, options, console)
    return Prediction(genomes, predicted, measured)


def measure_subnets(
    space: SearchSpace,
    genomes: np.ndarray,
    device,
    options: BenchmarkOptions,
    console: rich.console.Console,
) -> np.ndarray:
    """Latencies of whole subnets in milliseconds, float64[n]: the median of the fastest round.

    The subnets take turns, so that a drift of the device meets all of them.
    """
    from qfa_tf.latency.subnet_graph import subnet_graph
    from tflite_tools.benchmarking.measurement import benchmark_all
    from tflite_tools.flatbuffer.emitter import emit

    say(console, f"Measuring {len(genomes)} whole subnets in {options.rounds} rounds")
    models = {
        str(number): emit(subnet_graph(space, space.decode(genome), INPUT_TYPE))
        for number, genome in enumerate(genomes)
    }
    reports = benchmark_all(models, device, options, measure_memory=False)
    return np.array([min(reports[name].round_medians_ms) for name in models])


def _with_rows(
    blank, known, device, space, choices, options, settings, console, progress
) -> LatencyTable:
    """The table with all rows, without factor and constant."""
    from qfa_tf.latency.operator_models import measured_as

    places = occurrences(space, choices)
    stands_for = {key: measured_as(key, space.network, node) for key, (node, _) in places.items()}
    missing = [key for key in places if key not in known.rows]
    wanted = {stands_for[key]: places[key] for key in missing}
    if missing:
        say(
            console,
            f"{len(missing)} operators of {space.name} to measure, {len(wanted)} different ones, "
            f"{settings.passes} passes",
        )
    _measure(wanted, device, space, options, settings, console, progress)
    fastest: dict[OperatorKey, float] = {}
    for (_, key), value in progress.times.items():
        fastest[key] = min(value, fastest.get(key, np.inf))
    rows = {key: fastest[stands_for[key]] for key in missing}
    return dataclasses.replace(blank, rows={**known.rows, **rows})


def _measure(wanted, device, space, options, settings, console, progress) -> None:
    """Measures each operator in every pass, and again where the two fastest passes differ."""
    from qfa_tf.latency.operator_models import operator_model
    from tflite_tools.benchmarking.operator_units import empty_model

    models = functools.cache(lambda key: operator_model(key, space.network, *wanted[key]))
    call = None
    for number in range(settings.passes + (FURTHER_PASSES if settings.passes > 1 else 0)):
        keys = list(wanted)
        if number >= settings.passes:
            keys = [key for key in keys if _is_unsteady(progress, key)]
        order = np.random.default_rng([settings.seed, number]).permutation(len(keys))
        keys = [keys[i] for i in order if (number, keys[i]) not in progress.times]
        if keys:
            say(console, f"Pass {number + 1}: {len(keys)} operators")
        began = said = time.monotonic()
        for done, key in enumerate(keys):
            if call is None:
                empty = [
                    time_alone("an empty model", empty_model(), device, options) for _ in range(5)
                ]
                call = min(empty)
            model, copies = models(key)
            name = (
                f"{key.operator} {key.input_size}px {key.input_channels}->{key.output_channels} "
                f"k{key.kernel_size} w{key.weight_bits}a{key.activation_bits}"
            )
            value = time_alone(name, model, device, options)
            progress.add(number, key, max(0.0, value - call) / copies)
            now = time.monotonic()
            if now - said > _SECONDS_BETWEEN_MESSAGES:
                said = now
                left = (now - began) / (done + 1) * (len(keys) - done - 1)
                say(console, f"{done + 1} of {len(keys)} measured, {left:.0f} s left in this pass")


def _is_unsteady(progress: TableProgress, key: OperatorKey) -> bool:
    """Whether the two fastest passes of an operator differ."""
    times = sorted(value for (_, other), value in progress.times.items() if other == key)
    return len(times) > 1 and times[1] > (1 + STEADY) * times[0]


def _fitted(table, known, device, space, choices, options, settings, console) -> LatencyTable:
    """The table with the factor and constant that fit whole subnets best."""
    is_known = known.rows.keys() == table.rows.keys()
    if not settings.networks or is_known:
        return dataclasses.replace(
            table, factor=known.factor, fixed_microseconds=known.fixed_microseconds
        )
    genomes = _spread_subnets(table, space, choices, settings)
    alone = predict_and_measure(table, space, genomes, device, options, console)
    factor, fixed = fit(alone.predicted_ms, alone.measured_ms)
    say(
        console,
        f"In a network, operators take {factor:.3f} of what they take alone, and "
        f"{fixed * MICROSECONDS_PER_MILLISECOND:.1f} us are added",
    )
    return dataclasses.replace(
        table, factor=factor, fixed_microseconds=fixed * MICROSECONDS_PER_MILLISECOND
    )


def fit(alone_ms: np.ndarray, measured_ms: np.ndarray) -> tuple[float, float]:
    """(factor, constant in ms) with the least sum of squared relative errors, both not negative."""
    import scipy.optimize

    columns = np.stack([alone_ms, np.ones_like(alone_ms)], 1) / measured_ms[:, None]
    (factor, fixed), _ = scipy.optimize.nnls(columns, np.ones(len(alone_ms)))
    return float(factor), float(fixed)


def _spread_subnets(table, space, choices, settings: TableSettings) -> np.ndarray:
    """Subnets from the fastest to the slowest of many, in equal ratios.

    Most random subnets of a space are alike; a constant fitted on them would be wrong for small
    ones, which are what a search under a latency looks for.
    """
    metric = f"latency_ms@{table.name}"
    ends = np.array([[values[end] for values in choices] for end in (0, -1)], np.int32)
    genomes = np.concatenate(
        [_subnets(space, choices, CANDIDATES, settings.seed), space.canonicalize(ends)]
    )
    cost = CostModel(space, latency_tables={table.name: table})
    alone = np.log(cost.evaluate(genomes, [metric])[metric])
    wanted = np.linspace(alone.min(), alone.max(), settings.networks)
    nearest = [int(np.abs(alone - value).argmin()) for value in wanted]
    return genomes[sorted(set(nearest))]


def _subnets(space, choices, count, seed) -> np.ndarray:
    """Random subnets."""
    return space.sample_genomes(np.random.default_rng([seed, 7]), count, choices)


def _shared(options: BenchmarkOptions) -> dict:
    """What subnets are measured with as operators are."""
    names = ("num_threads", "warmup_runs", "cool_down", "delegate", "clock")
    return {name: getattr(options, name) for name in names}


def _blank(path: pathlib.Path, info, options: BenchmarkOptions) -> LatencyTable:
    """An empty table of this device."""
    versions = {
        "runtime": info.runtime,
        "system": info.system,
        "input": INPUT_TYPE,
        "clock": options.clock,
    }
    return LatencyTable(
        name=path.name.removesuffix(".json"),
        device=device_label(info.name, info.soc, info.abi, options.delegate, options.num_threads),
        versions={name: value for name, value in versions.items() if value},
        date=datetime.date.today().isoformat(),
        rows={},
    )


def _identity(table: LatencyTable) -> Mapping[str, object]:
    return {"device": table.device, "versions": dict(table.versions)}


def _known(path: pathlib.Path, blank: LatencyTable) -> LatencyTable:
    """The table at `path`, or an empty one."""
    if not path.is_file():
        return blank
    table = LatencyTable.load(path)
    if _identity(table) != _identity(blank):
        raise LatencyTableError(
            f"{path} was measured on {table.device!r} with {dict(table.versions)}, this would be "
            f"{blank.device!r} with {dict(blank.versions)}. Choose another file."
        )
    return table
