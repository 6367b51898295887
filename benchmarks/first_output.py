"""Seconds from the start of each program to the first line it prints, before TensorFlow is loaded.

    python benchmarks/first_output.py

Starts each program three times on the digits that come along, waits for its first line, ends it,
and puts the longest time into its row of benchmarks/results/first_output.csv, and the processor
time that it took, which hangs less on what else the machine does. The column `load` tells how many
processes it had to run meanwhile; with `chrt -r 5` before the command (as root) these wait.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import results_file

ROOT = pathlib.Path(__file__).parents[1]
PREPARED = "import_checkpoint --pretrained=digits --workdir=run"
"""What stands in the folder before."""
PROGRAMS = (
    "train --recipe=digits --workdir=new",
    "train --recipe=digits --workdir=new --native_kernels=on",
    "import_checkpoint --pretrained=digits --workdir=started",
    "search --workdir=run",
    "search --workdir=run --strategy=predictor",
    "export --workdir=run --architecture=subnet.json",
    "finetune --workdir=run --architecture=subnet.json",
    "evaluate --workdir=run --architecture=subnet.json",
    "benchmark --file=model.tflite",
    "benchmark --file=model.tflite --profile",
    "benchmark --file=model.tflite --compare=8",
    "benchmark --file=model.tflite --runtimes=litert",
    "benchmark --table=table.json --space=digits_tiny",
    "compress --model=model.keras --data=digits --budget=30kB --steps=100 --workdir=small",
)
_FILES = """
import pathlib
import tensorflow as tf
import tf_keras as keras
from qfa_tf import SearchSpace

layers = keras.layers
stack = [keras.Input((16, 16, 1)), layers.Conv2D(8, 3, activation="relu")]
model = keras.Sequential([*stack, layers.Flatten(), layers.Dense(10)])
model.save("model.keras")
flatbuffer = tf.lite.TFLiteConverter.from_keras_model(model).convert()
pathlib.Path("model.tflite").write_bytes(flatbuffer)
subnet = SearchSpace.from_preset("digits_tiny").smallest(bits=4)
pathlib.Path("subnet.json").write_text(subnet.to_json())
"""


def words_of(program: str) -> list[str]:
    """The command of a program of the checkout."""
    name, *flags = program.split()
    return [sys.executable, str(ROOT / "apps" / f"{name}.py"), *flags]


def first_line(program: str, folder: pathlib.Path) -> tuple[float, float, str]:
    """(seconds, processor seconds, the line)."""
    began = time.perf_counter()
    process = subprocess.Popen(
        words_of(program), cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    line = process.stdout.readline()
    seconds = time.perf_counter() - began
    process.kill()
    process.stdout.close()
    _, process.returncode, used = os.wait4(process.pid, 0)
    return seconds, used.ru_utime + used.ru_stime, line.strip()


def main() -> None:
    """Measures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        for words in ([sys.executable, "-c", _FILES], words_of(PREPARED)):
            subprocess.run(words, cwd=folder, check=True, capture_output=True)
        for program in PROGRAMS:
            found = [first_line(program, folder) for _ in range(args.times)]
            row = {
                "program": program,
                "seconds": round(max(seconds for seconds, _, _ in found), 2),
                "processor_seconds": round(max(used for _, used, _ in found), 2),
                "line": found[0][2],
                "load": round(os.getloadavg()[0], 1),
            }
            print(
                f"{row['seconds']:5.2f} s, processor {row['processor_seconds']:5.2f} s  {program}: "
                f"{row['line']}",
                flush=True,
            )
            results_file.replace("first_output", "program", row)


if __name__ == "__main__":
    main()
