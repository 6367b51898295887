"""What runtimes do with every operator and type: the contract test of the operators, run on each.

    python benchmarks/delegates.py                      # all runtimes that are installed
    python benchmarks/delegates.py --runtimes=gpu,micro
    python benchmarks/delegates.py --missing            # only what the file does not have yet

Every combination that is exported, in a few of the settings of
tests/tflite_tools/test_operator_contract.py, one operator a file: is it refused, does the
accelerator take it, do its values differ from the integer arithmetic where one is modelled, by how
much from XNNPACK where none is. Replaces what tflite_tools/benchmarking/delegates_seen.json says of
these runtimes, and the table of docs/runtimes.md, which names the delegates that were not tried.
"""

import argparse
import datetime
import json
import pathlib
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "tests" / "tflite_tools"))

from test_operator_contract import ACCEPTED, OF_POSITIVE, graphs_of

from quantize_configs.files import write_text
from tflite_tools.benchmarking.delegates import delegates
from tflite_tools.benchmarking.measurement import host_processor
from tflite_tools.benchmarking.seen import SEEN
from tflite_tools.flatbuffer.emitter import emit
from tflite_tools.flatbuffer.runtime import KernelSet
from tflite_tools.operators.operator import Arithmetic, run_in_litert
from tflite_tools.reference.interpreter import interpret
from tflite_tools.runtimes.processes import execute_many
from tflite_tools.runtimes.registry import RUNTIMES, chosen_runtimes
from tflite_tools.runtimes.runtime import Execution, MissingRuntimeError, Runtime

CASES = 3
LIMIT = 60.0
BROWSERS = "browser:"
PAGE = pathlib.Path(__file__).parents[1] / "docs" / "runtimes.md"
BEGIN, END = "<!-- operators: python benchmarks/delegates.py -->", "<!-- end of operators -->"


def cases_of(row) -> list[tuple]:
    """(graph, inputs) of a few settings of a combination."""
    built = list(graphs_of(row))
    found = []
    for builder, output in built[:: max(-(-len(built) // CASES), 1)]:
        graph = builder.finish(output)
        inputs = builder.inputs_for(1)
        if row.operator in OF_POSITIVE:
            inputs = [np.abs(values) + 0.01 for values in inputs]
        found.append((graph, inputs))
    return found


def expected(graph, inputs, runtime: Runtime) -> np.ndarray | None:
    """The output by the arithmetic of a runtime; None where it is not modelled."""
    (operation,) = graph.operations
    output = graph.tensor(operation.outputs[0])
    arithmetic = Arithmetic.of(graph.tensor(operation.inputs[0]), output)
    kernels = operation.attributes.kernels[arithmetic]
    if runtime.kernel_set is None or run_in_litert in kernels.values():
        return None
    return interpret(graph, inputs, runtime.kernel_set, processor=runtime.processor)[output.name]


def seen_on(runtime: Runtime, cases: dict[str, list], baseline: dict[str, list]) -> dict:
    """What a runtime does with all combinations, by their names."""
    for_reference = runtime.kernel_set is KernelSet.REFERENCE
    works = [
        (emit(graph, for_reference=for_reference), inputs)
        for items in cases.values()
        for graph, inputs in items
    ]
    outcomes = iter(execute_many(runtime, works, LIMIT))
    rows, versions = {}, set()
    for name, items in cases.items():
        row = {"cases": len(items), "ran": 0}
        for number, (graph, inputs) in enumerate(items):
            outcome = next(outcomes)
            if not isinstance(outcome, Execution):
                row["problem"] = str(outcome)
                continue
            row["ran"] += 1
            versions.add(outcome.version)
            if outcome.accelerated is not None:
                row["accelerated"] = row.get("accelerated", 0) + bool(outcome.accelerated)
            (found,) = outcome.outputs
            wanted = expected(graph, inputs, runtime)
            if wanted is not None:
                row["values"] = row.get("values", 0) + found.size
                differing = np.ascontiguousarray(found).view(np.uint8) != np.ascontiguousarray(
                    wanted
                ).view(np.uint8)
                sizes = differing.reshape(found.size, -1).any(1)
                row["mismatches"] = row.get("mismatches", 0) + int(sizes.sum())
            other = baseline[name][number]
            if wanted is None and isinstance(other, Execution):
                distance = np.abs(found.astype(np.float64) - other.outputs[0])
                row["off_xnnpack"] = max(row.get("off_xnnpack", 0.0), float(distance.max()))
        rows[name] = row
    return {"title": runtime.title, "version": "; ".join(sorted(versions)), "rows": rows}


def baseline_of(cases: dict[str, list]) -> dict[str, list]:
    """What XNNPACK gives for all cases, by the names of the combinations."""
    works = [(emit(graph), inputs) for items in cases.values() for graph, inputs in items]
    outcomes = iter(execute_many(RUNTIMES["xnnpack"], works, LIMIT))
    return {name: [next(outcomes) for _ in items] for name, items in cases.items()}


def main() -> None:
    """Runs all combinations on the chosen runtimes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    usual = ",".join(name for name in RUNTIMES if not name.startswith(BROWSERS))
    parser.add_argument("--runtimes", default=usual, help="names with commas")
    parser.add_argument("--label", default="", help="after the names, for another environment")
    parser.add_argument("--missing", action="store_true", help="only what is not in the file yet")
    args = parser.parse_args()
    content = json.loads(SEEN.read_text("utf-8")) if SEEN.exists() else {"runtimes": {}}
    content = {"command": "python benchmarks/delegates.py", **content}
    baseline: dict[str, list] = {}
    for runtime in chosen_runtimes(args.runtimes):
        title = runtime.name + args.label
        known = content["runtimes"].get(title, {}).get("rows", {}) if args.missing else {}
        cases = {row_name(row): cases_of(row) for row in ACCEPTED if row_name(row) not in known}
        if not cases:
            print(f"{title}: nothing is missing")
            continue
        try:
            if new := {name: cases[name] for name in cases if name not in baseline}:
                baseline |= baseline_of(new)
            seen = seen_on(runtime, cases, baseline)
        except MissingRuntimeError as missing:
            print(missing)
            continue
        rows = known | seen["rows"]
        seen["rows"] = {name: rows[name] for name in map(row_name, ACCEPTED)}
        place = {"date": datetime.date.today().isoformat(), "processor": host_processor()}
        content["runtimes"][title] = {**place, **seen}
        write_text(SEEN, json.dumps(content, indent=1) + "\n")
        write_text(PAGE, with_table(PAGE.read_text("utf-8"), content))
        rows = seen["rows"].values()
        print(
            f"{runtime.name}: {sum(row['ran'] == row['cases'] for row in rows)} of {len(rows)} "
            f"combinations run, {sum(row.get('accelerated') == row['cases'] for row in rows)} "
            f"accelerated; {sum(row.get('mismatches', 0) for row in rows)} of "
            f"{sum(row.get('values', 0) for row in rows)} values differ",
            flush=True,
        )


def row_name(row) -> str:
    """A combination as the file names it."""
    return " ".join(str(part or "-") for part in row.combination)


def with_table(page: str, content: dict) -> str:
    """The page with the table of now between its marks."""
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n{table(content)}\n{END}{rest.partition(END)[2]}"


def table(content: dict) -> str:
    """Every combination on every runtime, as Markdown."""
    runtimes = content["runtimes"]
    lines = [
        f"| operator, types | {' | '.join(runtimes)} |",
        f"|{'---|' * (len(runtimes) + 1)}",
    ]
    for name in next(iter(runtimes.values()))["rows"]:
        cells = [cell(entry["rows"].get(name)) for entry in runtimes.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    where = [f"{name}: {entry['version']}, {entry['date']}" for name, entry in runtimes.items()]
    untried = [one.title for one in delegates().values() if not one.runtime]
    return "\n".join(
        [*lines, "", f"Seen on {'; '.join(where)}. Not tried, for want of a device: "
         f"{', '.join(untried)}."]
    )  # fmt: skip


def cell(row: dict | None) -> str:
    """What was seen of one combination on one runtime."""
    if row is None:
        return "not tried"
    if row["ran"] < row["cases"]:
        return "refused" if not row["ran"] else f"{row['ran']} of {row['cases']} run"
    parts = []
    if "accelerated" in row:
        whole = row["accelerated"] == row["cases"]
        some = f"{row['accelerated']} taken" if row["accelerated"] else "left to the CPU"
        parts.append("taken" if whole else some)
    if "values" in row:
        parts.append("exact" if not row["mismatches"] else f"{row['mismatches']} differ")
    elif row.get("off_xnnpack"):
        parts.append(f"off by {row['off_xnnpack']:.2g}")
    elif "off_xnnpack" in row:
        parts.append("equal")
    return ", ".join(parts) or "runs"


if __name__ == "__main__":
    main()
