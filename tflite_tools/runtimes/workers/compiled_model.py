"""LiteRT's CompiledModel on its GPU accelerator: `... compiled_model FOLDER...`."""

import importlib.metadata
import sys
import time

import numpy as np

from tflite_tools.flatbuffer.runtime import load
from tflite_tools.runtimes.workers.folder import Folder


def main(*paths: str) -> None:
    """Runs the images of each folder one by one."""
    for path in paths:
        run(Folder(path))


def run(folder: Folder) -> None:
    """Runs the images of a folder."""
    from ai_edge_litert.compiled_model import CompiledModel
    from ai_edge_litert.hardware_accelerator import HardwareAccelerator

    folder.begin()
    content = folder.model()
    details = load(content).get_output_details()
    try:
        # The GPU alone is refused where an operator is not for it; the CPU takes those.
        model = CompiledModel.from_buffer(
            content, HardwareAccelerator.GPU | HardwareAccelerator.CPU
        )
        given, wanted = model.create_input_buffers(0), model.create_output_buffers(0)
    except (ValueError, RuntimeError) as error:
        folder.refuse(str(error))
        return
    outputs, seconds = [], []
    for arrays in folder.images():
        for buffer, array in zip(given, arrays, strict=True):
            buffer.write(np.ascontiguousarray(array))
        began = time.perf_counter()
        model.run_by_index(0, given, wanted)
        found = [
            buffer.read(int(np.prod(item["shape"])), np.dtype(item["dtype"]).type)
            for buffer, item in zip(wanted, details, strict=True)
        ]
        seconds.append(time.perf_counter() - began)
        outputs.append(
            [
                np.array(values).reshape(item["shape"])
                for values, item in zip(found, details, strict=True)
            ]
        )
    folder.write_answer(
        outputs,
        runtime=f"ai-edge-litert {importlib.metadata.version('ai-edge-litert')}",
        is_fully_accelerated=model.is_fully_accelerated(),
        seconds=seconds,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
