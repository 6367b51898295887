"""One file on every runtime; what goes wrong in one is a sentence and stops no other."""

import functools
import json
import re
import sys
import time

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from random_graphs import SINGLE_OPERATIONS, GraphBuilder

import tflite_tools
from quantize_configs.errors import InvalidInputError
from tflite_tools.flatbuffer.emitter import emit
from tflite_tools.integer_graph.graph import DataType, Quantization
from tflite_tools.operators.convolution import Conv2D, FullyConnected
from tflite_tools.operators.functions import Logistic
from tflite_tools.operators.grids import Dequantize, Quantize
from tflite_tools.operators.pooling import Mean
from tflite_tools.runtimes.processes import execute, execute_many, worker_launch
from tflite_tools.runtimes.registry import RUNTIMES, UnknownRuntimeError
from tflite_tools.runtimes.runtime import (
    CrashedRuntimeError,
    Execution,
    Launch,
    MissingRuntimeError,
    RefusedModelError,
    Runtime,
)
from tflite_tools.runtimes.workers.folder import Folder

SLOW = {"arm64:builtin", "arm64:reference", "browser:webgpu"}


def network(weight_type=DataType.INT8):
    """A graph from bytes of an image to float logits, as it is exported."""
    builder = GraphBuilder(7)
    image = builder.graph.add_input(
        "image", (1, 6, 6, 3), DataType.UINT8, Quantization(np.float32(1 / 255), 0)
    )
    real = builder.operation(Dequantize(), [image], dtype=DataType.FLOAT32)
    x = builder.operation(Quantize(), [real], Quantization(np.float32(1 / 255), -128))
    x = builder.linear(Conv2D(), x, (8, 3, 3, 3))
    x = builder.operation(Mean(), [x], builder.quantization(0.02))
    x = builder.linear(FullyConnected(), x, (5, 8), weight_type)
    logits = builder.operation(Dequantize(), [x], dtype=DataType.FLOAT32)
    graph = builder.finish(logits)
    return emit(graph), builder.inputs_for(4)[0]


@pytest.mark.parametrize("name", [name for name in RUNTIMES if name not in SLOW])
def test_a_runtime_runs_the_file(name):
    check_runtime(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SLOW))
def test_a_slow_runtime_runs_the_file(name):
    check_runtime(name)


def check_runtime(name):
    flatbuffer, images = network()
    try:
        RUNTIMES[name].launch()
    except MissingRuntimeError as missing:
        pytest.skip(str(missing))
    report = tflite_tools.compare_runtimes(
        flatbuffer, images, np.zeros(4, int), runtimes=[name], limit=300
    )
    (result,) = report.results
    assert result.problem == ""
    assert result.equal_answers >= 3
    assert result.version
    if RUNTIMES[name].kernel_set is not None:
        assert (result.integers.mismatches, result.integers.first) == (0, None)
        assert result.integers.elements == 2 * sum((108, 108, 288, 8, 5, 5))
    if RUNTIMES[name].has_accelerator:
        assert (result.accelerated, result.operators) == (6, 6)
    row = report.as_dict()["runtimes"][0]
    low, high = row["accuracy_interval"]
    assert 0 <= low < row["accuracy"] + 1e-9 < high + 2e-9 <= 1 + 2e-9


def test_the_interval_is_wilsons():
    from tflite_tools.runtimes.report import RuntimeResult, RuntimesReport

    result = RuntimeResult("xnnpack", "", correct=81)
    # Newcombe, "Two-sided confidence intervals for the single proportion", 1998, table I.
    assert RuntimesReport(263, (result,)).interval(result) == pytest.approx(
        (0.2553, 0.3662), abs=1e-4
    )
    result = RuntimeResult("xnnpack", "", correct=0)
    assert RuntimesReport(20, (result,)).interval(result) == pytest.approx((0.0, 0.1611), abs=1e-4)


def faulty(name, program):
    """A runtime whose worker is a program in Python, given the folder."""
    prelude = (
        "import sys, os, time, signal; import numpy as np\n"
        "from tflite_tools.runtimes.workers.folder import Folder\n"
        "folder = Folder(sys.argv[1])\n"
    )
    command = (sys.executable, "-c", prelude + program)
    launch = Launch(command, {"PYTHONPATH": ":".join(filter(None, sys.path))})
    return Runtime(name, name, functools.partial(lambda launch: launch, launch))


FAULTS = {
    "crash": (
        "os.kill(os.getpid(), signal.SIGSEGV)",
        r"^The process of the runtime 'crash' ended with the signal SIGSEGV and no answer\.$",
    ),
    "traceback": (
        "raise MemoryError('no room')",
        r"ended with code 1 and no answer; it said: MemoryError: no room\.$|it said: .*MemoryError",
    ),
    "hang": ("time.sleep(60)", r"^The runtime 'hang' did not finish within 3 s and was stopped\."),
    "nan": (
        "folder.write_answer([[np.full((1, 5), np.nan, np.float32)]] * 4, runtime='x')",
        r"gave 20 of 20 values of the output '.*' that are not finite\.$",
    ),
    "two outputs": (
        "folder.write_answer([[np.zeros((1, 5), np.float32)] * 2] * 4, runtime='x')",
        r"gave 2 output\(s\); the model has 1\.$",
    ),
    "shape": (
        "folder.write_answer([[np.zeros((1, 6), np.float32)]] * 4, runtime='x')",
        r"float32 of shape \(4, 6\) for the output '.*', which is float32 of shape \(4, 5\)\.$",
    ),
    "refusal": (
        "print('ERROR: Node 3 (CONV_2D) failed to prepare'); folder.refuse('cannot allocate')",
        r"does not run the model: Node 3 \(CONV_2D\) failed to prepare; cannot allocate$",
    ),
}


def test_what_goes_wrong_is_one_sentence_and_stops_no_other():
    flatbuffer, images = network()
    runtimes = [faulty(name, program) for name, (program, _) in FAULTS.items()]
    report = tflite_tools.compare_runtimes(
        flatbuffer, images, runtimes=[*runtimes, "xnnpack"], limit=3
    )
    *broken, good = report.results
    for result, (_, expected) in zip(broken, FAULTS.values(), strict=True):
        assert result.problem
        assert re.search(expected, result.problem), result.problem
        assert "\n" not in result.problem
        assert result.is_installed
    assert good.problem == ""
    assert good.equal_answers == 4
    table = str(report)
    assert all(name in table for name in FAULTS)
    json.loads(report.to_json())


def test_many_models_share_a_process_that_is_started_anew_after_a_crash():
    flatbuffer, images = network()
    program = (
        "for path in sys.argv[1:]:\n"
        "    folder = Folder(path)\n"
        "    folder.begin()\n"
        "    given = [image[0] for image in folder.images()]\n"
        "    print(f'ERROR: Node {given[0].max()}')\n"
        "    sys.stdout.flush()\n"
        "    if given[0].max() == 0:\n"
        "        os.kill(os.getpid(), signal.SIGSEGV)\n"
        "    if given[0].max() == 1:\n"
        "        folder.refuse('not this one')\n"
        "        continue\n"
        "    outputs = [[np.zeros((1, 5), np.float32)] for _ in given]\n"
        "    folder.write_answer(outputs, runtime=str(os.getpid()))\n"
    )
    works = [(flatbuffer, [np.full_like(images, value)]) for value in (2, 3, 0, 1, 4)]
    first, second, crash, refusal, last = execute_many(faulty("many", program), works, 30)
    assert first.version == second.version != last.version
    assert isinstance(crash, CrashedRuntimeError)
    assert str(crash).endswith("SIGSEGV and no answer; it said: Node 0.")
    assert isinstance(refusal, RefusedModelError)
    assert str(refusal).endswith("does not run the model: Node 1; not this one")


def test_a_hanging_runtime_leaves_no_process(tmp_path):
    mark = tmp_path / "mark"
    flatbuffer, images = network()
    program = (
        "import subprocess\n"
        f"subprocess.Popen([sys.executable, '-c', 'import time, pathlib; time.sleep(4); "
        f"pathlib.Path({str(mark)!r}).touch()'])\n"
        "time.sleep(60)"
    )
    tflite_tools.compare_runtimes(
        flatbuffer, images, runtimes=[faulty("parent", program)], limit=1.5
    )
    time.sleep(4)
    assert not mark.exists()


def test_what_is_not_installed_is_said_with_the_command(monkeypatch, tmp_path):
    monkeypatch.setenv("QFA_TF_RUNTIMES", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    flatbuffer, images = network()
    report = tflite_tools.compare_runtimes(
        flatbuffer, images, runtimes=["arm64:xnnpack", "browser:wasm", "xnnpack"]
    )
    emulated, browser, host = report.results
    assert emulated.problem.endswith("Install it with: sh scripts/install_runtimes.sh arm64")
    assert browser.problem.endswith("Install it with: sh scripts/install_runtimes.sh browser")
    assert not emulated.is_installed
    assert host.problem == ""
    assert "not installed" in str(report)


def test_packed_weights_are_refused_by_micro_with_the_operator():
    flatbuffer, images = network(DataType.INT4)
    try:
        RUNTIMES["micro"].launch()
    except MissingRuntimeError as missing:
        pytest.skip(str(missing))
    with pytest.raises(RefusedModelError, match=r"FULLY_CONNECTED"):
        execute(RUNTIMES["micro"], flatbuffer, [images])


@pytest.mark.parametrize("operation", ["fully_connected float16", "float16 island"])
def test_weights_in_float16_are_compared(operation):
    """Widened weights are computed from constants alone, and are no tensors of the images."""
    builder = GraphBuilder(3, ties=True)
    content = emit(builder.finish(SINGLE_OPERATIONS[operation](builder)))
    report = tflite_tools.compare_runtimes(
        content, builder.inputs_for(2), runtimes=["xnnpack", "builtin"]
    )
    for result in report.results:
        assert (result.problem, result.integers_note) == ("", "")
        assert (result.integers.images, result.integers.mismatches) == (2, 0)


def test_unmodelled_files_are_compared_without_their_integers():
    """A file with an operator that has no arithmetic here still has answers and accuracy."""
    builder = GraphBuilder(1)
    x = builder.input((4, 4, 2), DataType.FLOAT32)
    content = emit(builder.finish(builder.operation(Logistic(), [x], dtype=DataType.FLOAT32)))
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content))
    (code,) = model.operatorCodes
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.COS
    writer = flatbuffers.Builder(1024)
    writer.Finish(model.Pack(writer), b"TFL3")
    content, images = bytes(writer.Output()), np.zeros((3, 4, 4, 2), np.float32)
    report = tflite_tools.compare_runtimes(content, images, runtimes=["xnnpack", "builtin"])
    for result in report.results:
        assert result.problem == ""
        assert result.integers is None
        assert "COS is not modelled" in result.integers_note
    for row in report.rows():
        assert row["integers that differ"] == "not compared"
        assert "COS is not modelled" in row["notes"]


def test_mistakes_are_told_before_anything_runs():
    flatbuffer, images = network()
    with pytest.raises(UnknownRuntimeError, match=r"one of xnnpack, .*Received: 'npu'"):
        tflite_tools.compare_runtimes(flatbuffer, images, runtimes="xnnpack,npu")
    with pytest.raises(ValueError, match=r"needs uint8 values of shape \('N', 6, 6, 3\)"):
        tflite_tools.compare_runtimes(flatbuffer, images.astype(np.float32))
    with pytest.raises(ValueError, match=r"one integer for each of the 4 images"):
        tflite_tools.compare_runtimes(flatbuffer, images, np.eye(4))
    with pytest.raises(tflite_tools.FlatbufferError):
        tflite_tools.compare_runtimes(b"not a model", images)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"images": None}, "Received: NoneType"),
        ({"images": {"picture": 0}}, r"by name: \['image'\]"),
        ({"labels": [99] * 4}, "from 0 to 4. Received: 99 to 99"),
        ({"integer_images": -1}, "integer_images must be a whole number of at least 0"),
        ({"limit": None}, "limit must be a number"),
    ],
)
def test_what_does_not_fit_is_a_sentence(changes, words):
    flatbuffer, images = network()
    with pytest.raises(InvalidInputError, match=words):
        tflite_tools.compare_runtimes(flatbuffer, **({"images": images} | changes))


def test_images_are_taken_by_name_and_as_lists():
    flatbuffer, images = network()
    for given in ({"image": images}, [images], (images,)):
        report = tflite_tools.compare_runtimes(flatbuffer, given, runtimes=["builtin"])
        assert report.results[0].integers.mismatches == 0


def test_labels_may_be_a_column():
    flatbuffer, images = network()
    reports = [
        tflite_tools.compare_runtimes(flatbuffer, images, labels, runtimes="xnnpack")
        for labels in (np.arange(4), np.arange(4)[:, None])
    ]
    assert reports[0].results[0].correct == reports[1].results[0].correct


def test_a_folder_without_an_answer_has_none(tmp_path):
    assert Folder(tmp_path).answer() is None


BROWSER = """#!{python}
import json, subprocess, sys, time, urllib.request
profile = next(a for a in sys.argv if a.startswith("--user-data-dir=")).partition("=")[2]
writer = '''
import pathlib, sys, time
end = time.monotonic() + 2
while time.monotonic() < end:
    path = pathlib.Path(sys.argv[1], "Default")
    path.mkdir(parents=True, exist_ok=True)
    (path / str(time.monotonic_ns())).write_bytes(b"")
'''
subprocess.Popen([sys.executable, "-c", writer, profile])
time.sleep(0.5)
output = {{"values": [0] * 5, "dtype": "float32", "shape": [1, 5]}}
answer = dict(outputs=[[output]], browser="a browser", is_fully_accelerated=True, seconds=[1.0])
urllib.request.urlopen(sys.argv[-1] + "answer", json.dumps(answer).encode())
time.sleep(60)
"""


def test_a_browser_that_still_writes_while_it_ends_gives_its_answer(tmp_path):
    """Processes of Chromium outlive its first one for a moment, and go on writing."""
    chromium = tmp_path / "chromium"
    chromium.write_text(BROWSER.format(python=sys.executable))
    chromium.chmod(0o755)
    package = tmp_path / "packages" / "core" / "package.json"
    package.parent.mkdir(parents=True)
    package.write_text('{"version": "1.0"}')
    packages = str(package.parents[1])
    runtime = Runtime(
        name="browser",
        title="a browser",
        launch=lambda: worker_launch("browser", "wasm", packages, str(chromium)),
    )
    flatbuffer, images = network()
    (outcome,) = execute_many(runtime, [(flatbuffer, [images[:1]])], 60)
    assert isinstance(outcome, Execution), outcome
    assert outcome.version == "@litertjs/core 1.0, a browser"
