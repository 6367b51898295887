"""What `export` prints about files and operators without exporting anything."""

import json
import os

from qfa_tf.runs.errors import RunError


def print_support() -> None:
    """Prints the support table: what is exported, what falls back, what is refused and why."""
    from tflite_tools.support.table import table_rows

    for row in table_rows():
        weights = "" if row["weights"] == "-" else f" x {row['weights']}"
        types = f"{row['activation']}{weights} -> {row['output']}"
        fate = "refused" if row["exported"] == "refused" else f"XNNPACK: {row['XNNPACK']}"
        print(f"{row['operator']:<18} {types:<26} {fate}")
        for note in filter(None, row["notes"].split("; ")):
            print(f"{'':<18}   {note}")


def print_inspection(path: str | os.PathLike) -> None:
    """Prints what is in a .tflite file, of any converter.

    Raises:
      FlatbufferError: The file is damaged, or no model.
      RunError: It cannot be read.
    """
    import tflite_tools

    try:
        found = tflite_tools.inspect(path)
    except OSError as error:
        raise RunError(f"Cannot read {path}: {error.strerror or error}.") from error
    print(found)
    if found.metadata is not None:
        print(json.dumps(found.metadata, indent=2))
