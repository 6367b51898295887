"""Reading the output of both benchmark_model programs, on logs as they are printed."""

import pytest

from tflite_tools.devices.benchmark_output import flags_of, parse, variant_of
from tflite_tools.devices.errors import DeviceOutputError

CLASSIC_HELP = (
    "usage: benchmark_model <flags>\n\t--num_runs=50\tint32\n\t--graph=\n\t--use_xnnpack=\n"
)
V2_HELP = (
    "usage: benchmark_model\n\t--graph=\n\t--use_cpu=true\n\t--gpu-precision=auto\n\t--use_npu="
)
OLD_CLASSIC = """
INFO: STARTING!
INFO: Min num runs: [50]
INFO: Graph: [mobilenet.tflite]
INFO: Created TensorFlow Lite XNNPACK delegate for CPU.
INFO: Explicitly applied XNNPACK delegate, and the model graph will be partially executed by the \
delegate w/ 3 delegate kernels.
INFO: The input model file size (MB): 67.3128
INFO: Initialized session in 592.232ms.
INFO: Running benchmark for at least 1 iterations and at least 0.5 seconds but terminate if \
exceeding 150 seconds.
INFO: count=1 curr=633430

INFO: count=50 first=605745 curr=618849 min=568228 max=722188 avg=602943 std=27690

INFO: Inference timings in us: Init: 592232, First inference: 633430, Warmup (avg): 633430, \
Inference (avg): 602943
INFO: Memory footprint delta from the start of the tool (MB): init=133.086 overall=149.531
INFO: Overall peak memory footprint (MB) via periodic monitoring: 93.2383
"""
NEW_CLASSIC = """
INFO: Initialized session in 3.337ms.
INFO: count=9 first=81913 curr=55502 min=55502 max=81913 avg=58984.7 std=8115 p5=55502 \
median=56200 p95=81913
INFO: count=1061 first=56576 curr=56299 min=54669 max=60236 avg=1.0562658e+05 std=982 p5=55000 \
median=56100 p95=58000
INFO: Inference timings in us: Init: 3337, First inference: 81913, Warmup (avg): 58984.7, \
Inference (avg): 56265.8
INFO: Explicitly applied GPU delegate, and the model graph will be completely executed by the \
delegate.
"""
V2 = """
VERBOSE: [litert.cc:1] Replacing 55 out of 58 node(s) with delegate (TfLiteXNNPackDelegate) node, \
yielding 2 partitions for the whole graph.
INFO: [benchmark_litert_model.h:89]
========== BENCHMARK RESULTS ==========
INFO: [benchmark_litert_model.h:90] Model initialization: 12.34 ms
INFO: [benchmark_litert_model.h:91] Warmup (first):       3.21 ms
INFO: [benchmark_litert_model.h:92] Warmup (avg):         2.50 ms (4 runs)
INFO: [benchmark_litert_model.h:93] Inference (avg):      1.98 ms (55 runs)
INFO: [benchmark_litert_model.h:94] Inference (min):      1.90 ms
INFO: [benchmark_litert_model.h:95] Inference (max):      2.90 ms
INFO: [benchmark_litert_model.h:96] Inference (std):      0.12
INFO: [benchmark_litert_model.h:97] Peak memory:          34.50 MB
"""


def test_the_flavours_are_told_apart():
    assert variant_of(CLASSIC_HELP) == "classic"
    assert variant_of(V2_HELP) == "litert"
    assert "gpu-precision" in flags_of(V2_HELP)
    with pytest.raises(DeviceOutputError, match="does not look like one"):
        variant_of("usage: ls --all")


def test_older_classic_build():
    found = parse(OLD_CLASSIC, 60)
    assert (found.count, found.mean_ms, found.min_ms) == (50, 602.943, 568.228)
    assert found.std_ms == 27.690
    assert found.median_ms is found.p5_ms is found.p95_ms is None
    assert (found.init_ms, found.first_ms) == (592.232, 633.430)
    assert found.peak_memory_mb == 93.2383
    assert (found.partitions, found.delegated_operators) == (3, None)
    assert found.log == OLD_CLASSIC


def test_newer_classic_build():
    found = parse(NEW_CLASSIC, 58)
    assert (found.p5_ms, found.median_ms, found.p95_ms) == (55.0, 56.1, 58.0)
    assert found.mean_ms == pytest.approx(105.62658)
    assert (found.partitions, found.delegated_operators) == (1, 58)
    assert found.peak_memory_mb is None


def test_v2_without_the_lines_of_the_base():
    found = parse(V2, 58)
    assert (found.count, found.mean_ms, found.min_ms) == (55, 1.98, 1.9)
    assert (found.init_ms, found.first_ms, found.std_ms) == (12.34, 3.21, 0.12)
    assert found.median_ms is None
    assert (found.partitions, found.delegated_operators) == (2, 55)
    assert found.peak_memory_mb == 34.5


def test_v2_with_the_lines_of_the_base():
    lines = "count=4 first=3210 curr=2000 min=2000 max=3210 avg=2500 std=9 p5=1 median=2 p95=3\n"
    lines += "count=55 curr=1980(all same) p5=1980 median=1980 "
    found = parse(f"{lines}p95=1980\n{V2}", 58)
    assert (found.count, found.median_ms, found.mean_ms, found.std_ms) == (55, 1.98, 1.98, 0)
    assert found.first_ms == 3.21


def test_an_unused_delegate():
    log = NEW_CLASSIC.replace(
        "Explicitly applied GPU delegate, and", "Though GPU delegate is explicitly applied,"
    ).replace("completely", "not be")
    assert parse(log, 58).partitions == 0


@pytest.mark.parametrize("log", [OLD_CLASSIC, NEW_CLASSIC, V2])
def test_cut_logs_are_refused_or_complete(log):
    """At whatever byte a log is cut, the result is that of the whole log or an error."""
    whole = parse(log, 58)
    found = [_parsed(log[:length]) for length in range(0, len(log), 7)]
    complete = [item for item in found if item is not None]
    assert len(complete) < len(found) - 20
    for item in complete:
        assert item.count == whole.count
        assert item.mean_ms == pytest.approx(whole.mean_ms)


def _parsed(log):
    """None for an incomplete one."""
    try:
        return parse(log, 58)
    except DeviceOutputError:
        return None


def test_nothing_at_all():
    with pytest.raises(DeviceOutputError, match="it printed nothing"):
        parse("", 1)
