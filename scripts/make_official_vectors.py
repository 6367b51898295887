"""Copies the quantizer vectors that the tests need out of the full file of recorded vectors.

    python scripts/make_official_vectors.py FULL.npz tests/data/official_quantizer_vectors.npz

The full file holds inputs, outputs and gradients recorded from the official BatchQuant release;
the quantizers (`bq/*`, `lsq/*`) are what the tests compare with.
"""

import sys

import numpy as np

PREFIXES = ("bq/", "lsq/")


def main(source: str, target: str) -> None:
    """Writes the entries of `source` whose names begin with one of `PREFIXES` to `target`."""
    with np.load(source) as vectors:
        wanted = {name: vectors[name] for name in vectors if name.startswith(PREFIXES)}
    if not wanted:
        raise SystemExit(f"{source} has no entries that begin with {PREFIXES}.")
    np.savez_compressed(target, **wanted)
    print(f"{len(wanted)} arrays written to {target}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    main(*sys.argv[1:])
