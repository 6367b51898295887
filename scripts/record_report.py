"""Writes the picture of a search's report into docs/report.png, with a headless Chromium.

python scripts/record_report.py workdir/digits [--search=NAME]
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile

from qfa_tf.runs import Workdir
from qfa_tf.runs.searching.folder import find_search
from qfa_tf.runs.searching.reporting import refresh_page
from tflite_tools.runtimes.browser import find_chromium

PICTURE = pathlib.Path(__file__).parents[1] / "docs" / "report.png"
SIZE = "1100,1500"
SECONDS = 120


def main() -> None:
    """Writes it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workdir", help="of a finished search")
    parser.add_argument("--search", help="its name; the only or the newest one by default")
    args = parser.parse_args()
    chromium = find_chromium()
    if chromium is None:
        sys.exit("Chromium is not installed: apt-get install chromium")
    workdir = Workdir(args.workdir)
    folder = find_search(workdir, args.search)
    refresh_page(workdir, folder)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        subprocess.run(
            [
                *(chromium, "--headless=new", "--no-sandbox", "--disable-gpu"),
                *("--disable-dev-shm-usage", "--hide-scrollbars", f"--user-data-dir={profile}"),
                *(f"--window-size={SIZE}", f"--screenshot={PICTURE}"),
                folder.report.absolute().as_uri(),
            ],
            check=True,
            capture_output=True,
            timeout=SECONDS,
        )
    print(f"Wrote {PICTURE} of {folder.report}")


if __name__ == "__main__":
    main()
