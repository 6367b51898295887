"""Builds the reference of all public names as HTML: signatures, shapes, errors.

    pip install "qfa_tf[all,docs]"
    python scripts/api_reference.py [--output build/reference]

Public is what `__all__` of qfa_tf, quantize_configs, tflite_tools and the parts of qfa_tf named in
MODULES lists; pdoc takes the rest from signatures and docstrings.
"""

import argparse
import importlib
import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pdoc
import pdoc.doc
import pdoc.render

ROOT = pathlib.Path(__file__).parents[1]
MODULES = (
    "qfa_tf",
    "qfa_tf.cost",
    "qfa_tf.data",
    "qfa_tf.interop",
    "qfa_tf.latency",
    "qfa_tf.network",
    "qfa_tf.runs",
    "qfa_tf.search",
    "qfa_tf.space",
    "qfa_tf.training",
    "quantize_configs",
    "tflite_tools",
)


def public_module(name: str) -> pdoc.doc.Module:
    """A module with its public names, which are loaded lazily, and nothing below it.

    Raises:
      AttributeError: A name of `__all__` is not there.
    """
    module = importlib.import_module(name)
    for public in module.__all__:
        vars(module)[public] = getattr(module, public)  # pdoc looks into the dictionary
    found = pdoc.doc.Module(module)
    found.__dict__["submodules"] = []  # listed in MODULES, where they are public
    return found


def build(output: pathlib.Path) -> dict[str, str]:
    """Writes a page for each module, and an index; returns the pages by their names."""
    pdoc.render.configure(docformat="google", footer_text="qfa_tf", search=False, show_source=False)
    modules = {name: public_module(name) for name in MODULES}
    pages = {
        f"{name.replace('.', '/')}.html": pdoc.render.html_module(module, modules)
        for name, module in modules.items()
    }
    pages["index.html"] = pdoc.render.html_index(modules)
    for name, text in pages.items():
        path = output / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return pages


def main() -> None:
    """Builds it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "build" / "reference")
    output = parser.parse_args().output
    pages = build(output)
    size = sum(len(text) for text in pages.values())
    print(f"Wrote {len(pages)} pages, {size:,} characters: {output / 'index.html'}")


if __name__ == "__main__":
    main()
