"""The table of runtimes in a terminal of 80 columns."""

import io

import rich.console

from qfa_tf.runs.benchmarking.runtimes import print_report
from tflite_tools.runtimes.registry import RUNTIMES
from tflite_tools.runtimes.report import IntegerMatch, RuntimeResult, RuntimesReport


def test_names_and_times_are_whole():
    results = [
        RuntimeResult(
            name,
            "",
            accelerated=149,
            operators=149,
            integers=IntegerMatch(2, 762856, 0, None),
            equal_answers=200,
            largest_difference=0.125,
            correct=150,
            milliseconds=10.0 + number / 1000,
        )
        for number, name in enumerate(RUNTIMES)
    ]
    results.append(RuntimeResult("own", "", "The runtime 'own' does not run the model: no."))
    shown = io.StringIO()
    console = rich.console.Console(file=shown, width=80)
    print_report("net", RuntimesReport(200, tuple(results)), console)
    lines = shown.getvalue().splitlines()
    for number, name in enumerate(RUNTIMES):
        (line,) = [line for line in lines if line.startswith(f"{name} ")]
        assert line.rstrip().endswith(f"10.{number:03d}")
    assert "own: The runtime 'own' does not run the model: no." in lines
