"""Stands in for LiteRT's `benchmark_model` and `run_model`: runs the model, prints what they would.

    stand_in_benchmark_model.py classic|litert|run_model FLAGS

The model really runs, in the LiteRT runtime of this computer; times and delegation are measured.
What is printed follows LiteRT tflite/tools/benchmark/benchmark_model.cc and
litert/tools/benchmark_litert_model.h. FAULT in the environment makes it fail: "killed",
"truncated", "hang", "executable", "flags"; WRONG changes one output.
"""

import os
import pathlib
import signal
import statistics
import sys
import time
from statistics import mean

COMMON = {
    *("num_runs", "min_secs", "max_secs", "run_delay", "num_threads", "warmup_runs"),
    *("warmup_min_secs", "verbose", "dry_run", "report_peak_memory_footprint"),
    *("memory_footprint_check_interval_ms", "graph", "signature_to_run_for"),
}
FLAGS = {
    "classic": {
        *("input_layer", "input_layer_shape", "input_layer_value_files", "output_filepath"),
        *("use_xnnpack", "use_gpu", "use_nnapi", "enable_op_profiling"),
        *("op_profiling_output_mode", "require_full_delegation"),
    },
    "litert": {
        *("use_cpu", "use_gpu", "use_npu", "dispatch_library_path", "use_profiler"),
        *("compiler_plugin_library_path", "require_full_delegation", "result_file_path"),
    },
    "run_model": {"accelerator", "input_dir", "dump_output_folder", "cpu_kernel_mode"},
}
KERNELS = {"--use_xnnpack=false": "builtin", "--cpu_kernel_mode=builtin": "builtin"}


def main(flavour, *arguments):
    if "--help" in arguments:
        print("usage: benchmark_model <flags>\nFlags:")
        for name in sorted(COMMON | FLAGS[flavour]):
            print(f"\t--{name}=value\tstring\toptional\t{name}")
        return 1
    flags = dict(argument[2:].split("=", 1) for argument in arguments)
    unknown = set(flags) - COMMON - FLAGS[flavour]
    if unknown or os.environ.get("FAULT") == "flags":
        print(f"ERROR: Unconsumed cmdline flags: {unknown}", file=sys.stderr)
        return 1
    fault = os.environ.get("FAULT")
    if fault == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if fault == "hang":
        time.sleep(60)
    if fault == "executable":
        print("benchmark_model: not executable: 64-bit ELF file", file=sys.stderr)
        return 126
    log = sys.stdout if flavour == "litert" else sys.stderr
    kernels = next((KERNELS[flag] for flag in arguments if flag in KERNELS), "xnnpack")
    if flavour == "run_model":
        return compare_v2(flags, kernels)
    model, seconds = load(flags["graph"], kernels, int(flags.get("num_threads", 1)))
    if "input_layer_value_files" in flags:
        names = [name.replace("::", ":") for name in flags["input_layer"].split(",")]
        for name, entry in zip(names, flags["input_layer_value_files"].split(","), strict=True):
            fill(model, name, entry.replace("::", "\0").split(":")[1])
    else:
        from tflite_tools.devices.inputs import fill_inputs

        fill_inputs(model)
    print("INFO: STARTING!", file=log)
    describe(model, flavour, log)
    print(f"INFO: Initialized session in {seconds * 1e3:.3f}ms.", file=log)
    warmup = measure(model, int(flags.get("warmup_runs", 1)), 0)
    if warmup:
        print(f"INFO: {count_line(warmup)}\n", file=log)
    if fault == "truncated":
        return 0
    times = measure(model, int(flags.get("num_runs", 50)), float(flags.get("min_secs", 1)))
    print(f"INFO: {count_line(times)}\n", file=log)
    (sum_up_classic if flavour == "classic" else sum_up_v2)(
        seconds, warmup or times[:1], times, log
    )
    if "true" in (flags.get("enable_op_profiling"), flags.get("use_profiler")):
        print(profile(flags["graph"]), file=log)
    if "output_filepath" in flags:
        outputs = [model.get_tensor(item["index"]) for item in model.get_output_details()]
        if os.environ.get("WRONG"):
            outputs[0].flat[0] += 1
        content = b"".join(output.tobytes() for output in outputs)
        pathlib.Path(flags["output_filepath"]).write_bytes(content)
    return 0


def compare_v2(flags, kernels):
    model, _ = load(flags["graph"], kernels, 1)
    folder = pathlib.Path(flags["input_dir"])
    for name in model.get_signature_list()["serving_default"]["inputs"]:
        fill(model, name, folder / f"{name}.raw")
    model.invoke()
    for number, item in enumerate(model.get_output_details()):
        path = pathlib.Path(flags["dump_output_folder"]) / f"output_{number}.raw"
        path.write_bytes(model.get_tensor(item["index"]).tobytes())
    return 0


def load(path, kernels, threads):
    from tflite_tools.flatbuffer import runtime

    start = time.perf_counter()
    content = pathlib.Path(path).read_bytes()
    model = runtime.load(content, runtime.KernelSet(kernels), threads)
    model.allocate_tensors()
    return model, time.perf_counter() - start


def fill(model, name, path):
    import numpy as np

    item = next(item for item in model.get_input_details() if item["name"] == name)
    values = np.fromfile(path, item["dtype"]).reshape(item["shape"])
    model.set_tensor(item["index"], values)


def describe(model, flavour, log):
    from tflite_tools.flatbuffer import runtime

    operators, partitions = runtime.describe(model)
    taken = sum(operator.delegated for operator in operators)
    if flavour == "litert":
        print(
            f"VERBOSE: Replacing {taken} out of {len(operators)} node(s) with delegate "
            f"(TfLiteXNNPackDelegate) node, yielding {partitions} partitions for the whole graph.",
            file=log,
        )
    elif partitions == 1 and taken == len(operators):
        print(
            "INFO: Explicitly applied XNNPACK delegate, and the model graph will be completely "
            "executed by the delegate.",
            file=log,
        )
    elif partitions:
        print(
            "INFO: Explicitly applied XNNPACK delegate, and the model graph will be partially "
            f"executed by the delegate w/ {partitions} delegate kernels.",
            file=log,
        )


def measure(model, runs, seconds):
    times, start = [], time.perf_counter()
    while len(times) < runs or time.perf_counter() - start < seconds:
        before = time.perf_counter()
        model.invoke()
        times.append(int((time.perf_counter() - before) * 1e6))
    return times


def count_line(times):
    """As tsl/util/stats_calculator.h writes them; without percentiles when OLD is set."""
    if len(set(times)) == 1:
        text = f"count={len(times)} curr={times[0]}" + ("(all same)" if len(times) > 1 else "")
    else:
        text = (
            f"count={len(times)} first={times[0]} curr={times[-1]} min={min(times)} "
            f"max={max(times)} avg={mean(times):g} std={int(statistics.pstdev(times))}"
        )
    if os.environ.get("OLD"):
        return text
    p5, median, p95 = (sorted(times)[len(times) * p // 100] for p in (5, 50, 95))
    return f"{text} p5={p5} median={median} p95={p95}"


def sum_up_classic(seconds, warmup, times, log):
    print(
        f"INFO: Inference timings in us: Init: {int(seconds * 1e6)}, First inference: {warmup[0]}, "
        f"Warmup (avg): {mean(warmup):g}, Inference (avg): {mean(times):g}\n"
        "INFO: Memory footprint delta from the start of the tool (MB): init=5.2 overall=6.1\n"
        "INFO: Overall peak memory footprint (MB) via periodic monitoring: 7.25",
        file=log,
    )


def sum_up_v2(seconds, warmup, times, log):
    prefix = "INFO: [benchmark_litert_model.h:89]"
    for line in (
        "========== BENCHMARK RESULTS ==========",
        f"Model initialization: {seconds * 1e3:.2f} ms",
        f"Warmup (first):       {warmup[0] / 1e3:.2f} ms",
        f"Warmup (avg):         {mean(warmup) / 1e3:.2f} ms ({len(warmup)} runs)",
        f"Inference (avg):      {mean(times) / 1e3:.2f} ms ({len(times)} runs)",
        f"Inference (min):      {min(times) / 1e3:.2f} ms",
        f"Inference (max):      {max(times) / 1e3:.2f} ms",
        f"Inference (std):      {statistics.pstdev(times) / 1e3:.2f}",
        "Peak memory:          7.25 MB",
    ):
        print(f"{prefix} {line}", file=log)


def profile(graph):
    """The table that the runtime itself prints."""
    from tflite_tools.benchmarking.litert_profiler import profile_events

    return profile_events(pathlib.Path(graph).read_bytes(), runs=3).summary


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
