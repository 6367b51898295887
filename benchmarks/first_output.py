"""Seconds from the start of each program to the first line it prints, before TensorFlow is loaded.

    python benchmarks/first_output.py

Starts each program three times on the digits that come along, waits for its first line, ends it,
and puts the longest time into its row of benchmarks/results/first_output.csv. The column `load`
tells how many processes the machine had to run meanwhile.
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
PREPARED = (
    "import_checkpoint --pretrained=digits --workdir=run",
    "search --workdir=run --population=4 --generations=1 --nosensitivity --workers=0",
    "export --workdir=run",
)
"""What stands in the folder before."""
PROGRAMS = (
    "train --recipe=digits --workdir=new",
    "train --recipe=digits --workdir=new --native_kernels=on",
    "import_checkpoint --pretrained=digits --workdir=started",
    "search --workdir=run --name=another",
    "export --workdir=run --name=another",
    "finetune --workdir=run",
    "evaluate --workdir=run",
    "benchmark --workdir=run --again",
    "benchmark --workdir=run --profile",
    "benchmark --workdir=run --compare=8",
    "benchmark --workdir=run --runtimes=litert",
    "benchmark --table=table.json --space=digits_tiny",
    "compress --model=model.keras --data=digits --budget=30kB --steps=100 --workdir=small",
)
_MODEL = """
import tf_keras as keras

layers = keras.layers
stack = [keras.Input((16, 16, 1)), layers.Conv2D(8, 3, activation="relu")]
keras.Sequential([*stack, layers.Flatten(), layers.Dense(10)]).save("model.keras")
"""


def words_of(program: str) -> list[str]:
    """The command of a program of the checkout."""
    name, *flags = program.split()
    return [sys.executable, str(ROOT / "apps" / f"{name}.py"), *flags]


def first_line(program: str, folder: pathlib.Path) -> tuple[float, str]:
    """(seconds, the line)."""
    began = time.perf_counter()
    process = subprocess.Popen(
        words_of(program), cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        line = process.stdout.readline()
        return time.perf_counter() - began, line.strip()
    finally:
        process.kill()
        process.communicate()


def main() -> None:
    """Measures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        for words in [[sys.executable, "-c", _MODEL], *map(words_of, PREPARED)]:
            subprocess.run(words, cwd=folder, check=True, capture_output=True)
        for program in PROGRAMS:
            found = [first_line(program, folder) for _ in range(args.times)]
            row = {
                "program": program,
                "seconds": round(max(seconds for seconds, _ in found), 2),
                "line": found[0][1],
                "load": round(os.getloadavg()[0], 1),
            }
            print(f"{row['seconds']:5.2f} s  {program}: {row['line']}", flush=True)
            results_file.replace("first_output", "program", row)


if __name__ == "__main__":
    main()
