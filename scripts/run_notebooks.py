"""Runs the notebooks of docs/notebooks again and stores what they print.

    pip install "qfa_tf[all,docs]"
    python scripts/run_notebooks.py [NAME ...]

Each runs in a folder of its own. With --check nothing is stored; a cell that raises ends with its
traceback and status 1 either way.
"""

import argparse
import pathlib
import re
import sys
import tempfile

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

FOLDER = pathlib.Path(__file__).parents[1] / "docs" / "notebooks"
SECONDS = 1800
LONGEST_OUTPUT = 4000
"""Characters that a cell prints; a notebook is read, not searched."""
_PROGRESS = re.compile(r"[\r\x08]*\s*\d+/\d+ \[[=>.]+\][^\n\r\x08]*\n?")


def executed(path: pathlib.Path) -> nbformat.NotebookNode:
    """The notebook with new outputs, without what differs from run to run."""
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook,
            timeout=SECONDS,
            kernel_name="python3",
            resources={"metadata": {"path": folder}},
        )
        client.execute()
    return cleaned(notebook)


def cleaned(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Without notes of native libraries, steps of progress bars, and what differs from run to run.

    Raises:
      ValueError: An output is too long to be read.
    """
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
        cell.metadata = {}
        if cell.cell_type != "code":
            continue
        texts = [one.text for one in cell.outputs if one.get("name") == "stdout"]
        text = _PROGRESS.sub("", "".join(texts)).strip("\n")
        if len(text) > LONGEST_OUTPUT:
            raise ValueError(f"Cell {number} prints {len(text)} characters.")
        kept = [one for one in cell.outputs if one.output_type != "stream"]
        printed = [nbformat.v4.new_output("stream", name="stdout", text=text + "\n")]
        cell.outputs = printed * bool(text) + kept
    notebook.metadata = {"kernelspec": notebook.metadata.get("kernelspec", {})}
    return notebook


def main() -> None:
    """Runs them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = sorted(path.stem for path in FOLDER.glob("*.ipynb"))
    parser.add_argument("names", nargs="*", help=f"of {', '.join(names)}; all by default")
    parser.add_argument("--check", action="store_true", help="store nothing")
    args = parser.parse_args()
    for name in args.names or names:
        path = FOLDER / f"{name}.ipynb"
        print(f"Running {path}", flush=True)
        try:
            notebook = executed(path)
        except CellExecutionError as error:
            sys.exit(f"{path}: {error}")
        if not args.check:
            nbformat.write(notebook, path)


if __name__ == "__main__":
    main()
