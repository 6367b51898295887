"""Copies what the tests need out of the full file of vectors recorded from the official release.

    python scripts/make_official_vectors.py FULL.npz tests/data

writes `official_quantizer_vectors.npz` (inputs, outputs and gradients of single quantizers: `bq/*`,
`lsq/*`) and `official_network_vectors.npz` (a narrow network with random weights, `state/*`, and
what it computes, `net/*`).
"""

import pathlib
import sys

import numpy as np

PARTS = {"quantizer": ("bq/", "lsq/"), "network": ("state/", "net/")}


def main(source: str, folder: str) -> None:
    """Writes the entries of `source` that each file of `PARTS` wants."""
    for part, prefixes in PARTS.items():
        with np.load(source) as vectors:
            wanted = {name: vectors[name] for name in vectors if name.startswith(prefixes)}
        if not wanted:
            raise SystemExit(f"{source} has no entries that begin with {prefixes}.")
        target = pathlib.Path(folder, f"official_{part}_vectors.npz")
        np.savez_compressed(target, **wanted)
        print(f"{len(wanted)} arrays written to {target}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    main(*sys.argv[1:])
