"""LiteRT for Microcontrollers on this computer: `... micro FOLDER...`."""

import importlib.metadata
import sys

import numpy as np

from tflite_tools.runtimes.workers.folder import Folder

_ARENA_BYTES = 1 << 28


def main(*paths: str) -> None:
    """Runs the images of each folder one by one, with the portable kernels."""
    for path in paths:
        run(Folder(path))


def run(folder: Folder) -> None:
    """Runs the images of a folder."""
    from tflite_micro import runtime

    folder.begin()
    try:
        interpreter = runtime.Interpreter.from_bytes(folder.model(), arena_size=_ARENA_BYTES)
    except (ValueError, RuntimeError) as error:
        folder.refuse(str(error))
        return
    outputs = []
    for arrays in folder.images():
        for number, array in enumerate(arrays):
            interpreter.set_input(array, number)
        interpreter.invoke()
        found: list[np.ndarray] = []
        while True:
            try:
                found.append(np.array(interpreter.get_output(len(found))))
            except (IndexError, ValueError, RuntimeError):
                break
        outputs.append(found)
    folder.write_answer(
        outputs, runtime=f"tflite-micro {importlib.metadata.version('tflite-micro')}"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
