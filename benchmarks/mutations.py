"""Mutated files and genomes, and what the library makes of them; used by reliability.py."""

import collections
import json
import os
import pathlib
import sys

import numpy as np
from byte_mutations import mutated
from forked import Forked

import tflite_tools
from qfa_tf.space import Architecture, SearchSpace
from quantize_configs.errors import QFAError
from tflite_tools.flatbuffer import runtime
from tflite_tools.flatbuffer.graph_reader import read_graph
from tflite_tools.flatbuffer.metadata import with_metadata

SECONDS = 600


def write_small_flatbuffer(folder: pathlib.Path) -> None:
    """`original.tflite`, with packed weights, a depthwise layer and a sum, and images for it."""
    from quantize_configs import BitPolicy, calibrate, prepare_for_deployment, quantize
    from quantize_configs.keras_backend import keras

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
    (folder / "original.tflite").write_bytes(tflite_tools.convert(model))
    np.save(folder / "images.npy", pixels)


def judge_flatbuffers(batch: list[bytes], folder: pathlib.Path) -> collections.Counter[str]:
    """What becomes of mutated files, each in turn in a process that LiteRT may end.

    Read by `inspect` and as an integer graph, run by LiteRT. "sentence": refused by a QFAError, or
    LiteRT ended the process that ran it, and `inspect`, which asks another process, says so;
    "equal": it computes what the original computes; "recognised": it computes something else, and
    `verify` would see that it is another file; "accepted": it would not; "traceback": another
    error; "crash": `inspect` ended or said nothing.

    Args:
      batch: The files.
      folder: Where `write_small_flatbuffer` has written.
    """
    counts: collections.Counter[str] = collections.Counter()
    first = 0
    while first < len(batch):
        answers = folder / "answers.txt"
        process = Forked(_judge_here, folder, batch[first:], answers)
        status = process.wait(SECONDS)
        if status is None:
            process.kill()
        elif status > 0:
            raise SystemExit(process.errors)
        verdicts = answers.read_text().split()
        counts.update(verdicts)
        first += len(verdicts)
        if status != 0 and first < len(batch):
            counts[_of_crash(batch[first], folder)] += 1
            first += 1
    return counts


def _of_crash(content: bytes, folder: pathlib.Path) -> str:
    """LiteRT ended the process; `inspect`, which asks it in another process, must say so."""
    told = folder / "told.txt"
    told.unlink(missing_ok=True)
    Forked(_inspect, content, told).wait(SECONDS)
    return "sentence" if told.is_file() and "LiteRT cannot" in told.read_text() else "crash"


def _inspect(content: bytes, told: pathlib.Path) -> None:
    try:
        text = str(tflite_tools.inspect(content))
    except QFAError as error:
        text = f"LiteRT cannot read it: {error}"
    told.write_text(text)


def _judge_here(folder: pathlib.Path, batch: list[bytes], answers: pathlib.Path) -> None:
    """Judges files in this process, and writes each verdict at once."""
    _silence_libraries()
    original, pixels = (folder / "original.tflite").read_bytes(), np.load(folder / "images.npy")
    plain = with_metadata(original, {})
    wanted = list(runtime.run(original, [pixels]).outputs.values())
    with open(answers, "w") as file:
        for data in batch:
            print(_verdict(data, pixels, wanted, plain), file=file, flush=True)


def _silence_libraries() -> None:
    """LiteRT tells standard output and error what it thinks of each file; Python's errors pass."""
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
    null = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        os.dup2(null, descriptor)


def _verdict(data: bytes, pixels: np.ndarray, wanted: list[np.ndarray], plain: bytes) -> str:
    try:
        tflite_tools.inspect(data, delegation=False)
        read_graph(data).validate()
        found = list(runtime.run(data, [pixels]).outputs.values())
    except QFAError:
        return "sentence"
    except Exception as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return "traceback"
    if len(found) == len(wanted) and all(map(np.array_equal, found, wanted)):
        return "equal"
    return "recognised" if with_metadata(data, {}) != plain else "accepted"  # what `verify` sees


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
