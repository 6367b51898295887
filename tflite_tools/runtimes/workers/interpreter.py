"""LiteRT's Interpreter: `... interpreter KERNEL_SET FOLDER...`."""

import importlib.metadata
import platform
import sys
import time

from tflite_tools.arithmetic.kernel_sets import KernelSet
from tflite_tools.flatbuffer.runtime import FlatbufferError, describe, load
from tflite_tools.runtimes.workers.folder import Folder


def main(kernel_set: str, *paths: str) -> None:
    """Runs the images of each folder one by one, on one thread."""
    for path in paths:
        run(kernel_set, Folder(path))


def run(kernel_set: str, folder: Folder) -> None:
    """Runs the images of a folder."""
    folder.begin()
    try:
        interpreter = load(folder.model(), KernelSet(kernel_set))
        interpreter.allocate_tensors()
    except (FlatbufferError, ValueError, RuntimeError) as error:
        folder.refuse(str(error))
        return
    given = [item["index"] for item in interpreter.get_input_details()]
    wanted = [item["index"] for item in interpreter.get_output_details()]
    outputs, seconds = [], []
    for arrays in folder.images():
        for index, array in zip(given, arrays, strict=True):
            interpreter.set_tensor(index, array)
        began = time.perf_counter()
        interpreter.invoke()
        seconds.append(time.perf_counter() - began)
        outputs.append([interpreter.get_tensor(index) for index in wanted])
    operators = [item for item in describe(interpreter)[0] if not item.reads_constants]
    folder.write_answer(
        outputs,
        runtime=f"ai-edge-litert {importlib.metadata.version('ai-edge-litert')}, "
        f"{platform.machine()}",
        operators=len(operators),
        left_out=[
            f"{item.name} -> {', '.join(item.outputs)}" for item in operators if not item.delegated
        ],
        seconds=seconds,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
