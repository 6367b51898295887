"""Mutated files and genomes, and what the library makes of them; used by reliability.py."""

import collections
import json
import pathlib
import subprocess
import sys

import numpy as np
from byte_mutations import mutated

import tflite_tools
from qfa_tf.space import Architecture, SearchSpace
from quantize_configs import BitPolicy, calibrate, prepare_for_deployment, quantize
from quantize_configs.errors import QFAError
from quantize_configs.keras_backend import keras
from tflite_tools.flatbuffer import runtime
from tflite_tools.flatbuffer.graph_reader import read_graph
from tflite_tools.flatbuffer.metadata import with_metadata

SECONDS = 600


def small_flatbuffer() -> tuple[bytes, np.ndarray]:
    """A file with packed weights, a depthwise layer and a sum, and images for it."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    images = keras.Input((8, 8, 3))
    x = layers.Conv2D(8, 3, padding="same", activation="relu", name="conv")(images)
    y = layers.DepthwiseConv2D(3, padding="same", activation="relu", name="depthwise")(x)
    y = layers.Conv2D(8, 1, name="pointwise")(y)
    x = layers.GlobalAveragePooling2D()(layers.Add()([x, y]))
    model = quantize(
        keras.Model(images, layers.Dense(4, name="classes")(x)),
        BitPolicy((8, 8), {"pointwise": (4, 4)}),
    )
    pixels = np.random.default_rng(0).uniform(0, 1, (16, 8, 8, 3)).astype(np.float32)
    calibrate(model, [pixels])
    prepare_for_deployment(model)
    return tflite_tools.convert(model), pixels


def judge_flatbuffer(
    content: bytes, images: np.ndarray, batch: list[bytes], folder: pathlib.Path
) -> collections.Counter[str]:
    """What becomes of mutated files, each in turn in a process that LiteRT may end.

    Read by `inspect` and as an integer graph, run by LiteRT. "sentence": refused by a QFAError, or
    LiteRT ended the process that ran it, and `inspect`, which asks another process, says so;
    "equal": it computes what the original computes; "recognised": it computes something else, and
    `verify` would see that it is another file; "accepted": it would not; "traceback": another
    error; "crash": `inspect` ended or said nothing.
    """
    files = []
    for number, data in enumerate(batch):
        path = folder / f"{number}.tflite"
        path.write_bytes(data)
        files.append(str(path))
    original = folder / "original.tflite"
    original.write_bytes(content)
    np.save(folder / "images.npy", images)
    counts: collections.Counter[str] = collections.Counter()
    waiting = files
    while waiting:
        done = subprocess.run(
            [sys.executable, __file__, str(original), str(folder / "images.npy"), *waiting],
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        answers = [line.split("\t") for line in done.stdout.splitlines() if "\t" in line]
        read = [verdict for path, verdict in answers if path in waiting]
        counts.update(verdict for verdict in read if verdict != "begins")
        begun = [path for path, verdict in answers if verdict == "begins"]
        if done.returncode == 0:
            break
        counts[_of_crash(begun[-1])] += 1
        waiting = waiting[waiting.index(begun[-1]) + 1 :]
    return counts


def _of_crash(path: str) -> str:
    """LiteRT ended the process; `inspect`, which asks it in another process, must say so."""
    code = "import sys, tflite_tools; print(tflite_tools.inspect(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, timeout=SECONDS
    )
    told = "LiteRT cannot run it" in done.stdout or "FlatbufferError" in done.stderr
    return "sentence" if told else "crash"


def judge_here(original: str, images: str, paths: list[str]) -> None:
    """Judges files in this process, a line before and after each."""
    content, pixels = pathlib.Path(original).read_bytes(), np.load(images)
    plain = with_metadata(content, {})
    wanted = list(runtime.run(content, [pixels]).outputs.values())
    for path in paths:
        print(f"{path}\tbegins", flush=True)
        data = pathlib.Path(path).read_bytes()
        try:
            tflite_tools.inspect(data, delegation=False)
            read_graph(data).validate()
            found = list(runtime.run(data, [pixels]).outputs.values())
            same = len(found) == len(wanted) and all(
                np.array_equal(one, other) for one, other in zip(found, wanted, strict=True)
            )
            known = with_metadata(data, {}) != plain  # what `verify` compares
            verdict = "equal" if same else "recognised" if known else "accepted"
        except QFAError:
            verdict = "sentence"
        except Exception as error:
            print(f"{path}: {type(error).__name__}: {error}", file=sys.stderr)
            verdict = "traceback"
        print(f"{path}\t{verdict}", flush=True)


def judge_genomes(space: SearchSpace, count: int, seed: int) -> collections.Counter[str]:
    """What becomes of mutated genomes, and of mutated JSON of architectures (half of them each).

    "member": it was a genome or text of the space, canonical after all; "sentence": refused;
    "accepted": it was taken and is none of the space.
    """
    rng = np.random.default_rng(seed)
    counts: collections.Counter[str] = collections.Counter()
    for number in range(count):
        try:
            if number % 2:
                genome = _mutated_genome(space, rng)
                architecture = space.decode(genome)
                again = space.encode(architecture)
                right = np.array_equal(again, space.canonicalize(genome[None])[0])
            else:
                architecture = Architecture.from_json(_mutated_text(space, rng))
                again = space.encode(architecture)
                right = space.decode(again) == architecture
            counts["member" if right else "accepted"] += 1
        except QFAError:
            counts["sentence"] += 1
        except Exception as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            counts["traceback"] += 1
    return counts


def _mutated_genome(space: SearchSpace, rng: np.random.Generator) -> np.ndarray:
    genome = space.encode(space.sample(rng)).astype(np.int64)
    kind = rng.integers(4)
    places = rng.integers(len(genome), size=rng.integers(1, 4))
    if kind == 0:
        genome[places] = rng.integers(-3, 12, len(places))
    elif kind == 1:
        genome[places] = rng.integers(-(2**31), 2**31 - 1, len(places))
    elif kind == 2:
        genome = np.roll(genome, int(rng.integers(1, 5)))
    else:
        genome = genome[: rng.integers(len(genome))]
    return genome.astype(np.int32)


def _mutated_text(space: SearchSpace, rng: np.random.Generator) -> str:
    text = space.sample(rng).to_json()
    kind = rng.integers(3)
    if kind == 0:
        return mutated(text.encode(), rng).decode("utf-8", "replace")
    content = json.loads(text)
    key = str(rng.choice(sorted(content)))
    if kind == 1:
        del content[key]
    else:
        values = [None, -1, "x", [], {}, 1e9, True, [[2, 2]] * 3]
        content[key] = values[rng.integers(len(values))]
    return json.dumps(content)


if __name__ == "__main__":
    judge_here(sys.argv[1], sys.argv[2], sys.argv[3:])
