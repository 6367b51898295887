"""Seconds of the scan of an image folder, the first time and when nothing changed since.

    python benchmarks/scan.py

Writes 10,000 JPEG files of several sizes into a temporary folder, one of 1,000 of them damaged,
scans them twice and appends both times to benchmarks/results/scan.csv. The column `load` tells how
many processes the machine had to run meanwhile; with `chrt -r 5` before the command (as root) these
wait.
"""

import argparse
import os
import pathlib
import tempfile
import time

import numpy as np
import results_file
import tensorflow as tf

from qfa_tf.data.scanning import scan

CLASSES = 10
DISTINCT = 200
"""Images that are drawn; the others differ from them by a comment that is appended."""


def main() -> None:
    """Measures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--side", type=int, default=320, help="pixels of the longer side")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = f"{folder}/cache"
        root = pathlib.Path(folder) / "images"
        names = write_images(root, args.files, args.side)
        size = sum((root / name).stat().st_size for name in names)
        scan(root, names[:16])  # TensorFlow's first call
        time.sleep(2.5)  # younger files are not taken from the cache
        seconds = []
        for _ in range(2):
            began = time.perf_counter()
            found = scan(root, names)
            seconds.append(time.perf_counter() - began)
    row = {
        "files": args.files,
        "megabytes": round(size / 1e6, 1),
        "damaged": len(found.damaged),
        "first_seconds": round(seconds[0], 2),
        "unchanged_seconds": round(seconds[1], 2),
        "load": round(os.getloadavg()[0], 1),
    }
    print(
        f"{args.files:,} files of {row['megabytes']} MB, {row['damaged']} damaged: "
        f"{seconds[0]:.2f} s, unchanged {seconds[1]:.2f} s (load {row['load']})"
    )
    results_file.append("scan", row)


def write_images(root: pathlib.Path, count: int, side: int) -> list[str]:
    """JPEG files in class folders; their names."""
    rng = np.random.default_rng(0)
    images = []
    for number in range(min(DISTINCT, count)):
        shape = (side, side - 8 * (number % 10), 3)
        coarse = rng.uniform(0, 255, (1, 12, 12, 3))
        noise = rng.normal(0, 8, shape)
        pixels = np.clip(tf.image.resize(coarse, shape[:2])[0] + noise, 0, 255)
        images.append(tf.io.encode_jpeg(pixels.astype(np.uint8), quality=90).numpy())
    names = []
    for number in range(count):
        name = f"class_{number % CLASSES}/{number:06}.jpg"
        content = images[number % len(images)] + number.to_bytes(8, "little")
        if number % 1000 == 999:
            content = content[: len(content) // 2]
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        names.append(name)
    return names


if __name__ == "__main__":
    main()
