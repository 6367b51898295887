"""Reads a .tflite file from standard input and prints, as JSON, what XNNPACK takes of it.

`tflite_tools.inspect` runs this in a process of its own.
"""

import json
import os
import sys

from tflite_tools.flatbuffer.runtime import FlatbufferError, describe, load


def main() -> None:
    """Prints {"partitions": n, "delegated": [bool per operator]} or {"problem": sentence}."""
    content = sys.stdin.buffer.read()
    answer = os.dup(1)
    os.dup2(2, 1)  # LiteRT writes messages to standard output
    try:
        interpreter = load(content)
        interpreter.allocate_tensors()
        operators, partitions = describe(interpreter)
        result = {
            "partitions": partitions,
            "delegated": [operator.delegated for operator in operators],
        }
    except (FlatbufferError, ValueError, RuntimeError) as error:
        result = {"problem": str(error)}
    os.write(answer, json.dumps(result).encode())


if __name__ == "__main__":
    main()
