"""Writes the result of a quickstart into README.md and docs/results/quickstart.json.

    python scripts/record_quickstart.py workdir/digits

README.md gets the table of the newest exported model between its two quickstart comments.
"""

import datetime
import json
import os
import sys

from page_part import ROOT, PagePart

from qfa_tf.runs import Workdir
from qfa_tf.runs.exporting.records import model_path, read_records
from qfa_tf.runs.exporting.table import model_figures
from quantize_configs.files import write_text
from tflite_tools.benchmarking.measurement import host_processor

RESULT = ROOT / "docs" / "results" / "quickstart.json"
BENCHMARK = "host-1"


def main(path: str) -> None:
    """Records the newest model of a workdir."""
    workdir = Workdir(path)
    record = max(
        read_records(workdir), key=lambda record: model_path(workdir, record.name).stat().st_mtime
    )
    result = {
        "command": "sh scripts/quickstart.sh",
        "date": datetime.date.today().isoformat(),
        "cpu": host_processor(),
        "cores": os.cpu_count(),
        "versions": dict(record.versions),
        "figures": model_figures(record, BENCHMARK),
    }
    write_text(RESULT, json.dumps(result, indent=1) + "\n")
    rows = "\n".join(
        f"| {label} | {value.replace(chr(10), '; ')} |"
        for label, value in result["figures"].items()
    )
    measured = f"Measured {result['date']} on {result['cpu']}, {result['cores']} cores."
    part = PagePart("README.md", "quickstart")
    part.write(f"| | |\n|---|---|\n{rows}\n\n{measured}")
    print(f"{record.name} recorded in {RESULT} and {part.path}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(sys.argv[1])
