"""Writes the table of trained supernets into docs/pretrained.md, from their JSON files.

    python scripts/write_pretrained_table.py [--check]

With --check nothing is written; the status is 1 when the page is out of date.
"""

import json

from page_part import ROOT, PagePart, run


def table() -> str:
    """The table, as Markdown."""
    lines = [
        "| name | space | images | bytes | test accuracy (%), by bits: smallest | largest |",
        "|---|---|---|---|---|---|",
    ]
    notes = []
    for path in sorted((ROOT / "qfa_tf" / "pretrained").glob("*.json")):
        facts = json.loads(path.read_text(encoding="utf-8"))
        test = facts["accuracy"]["test"]
        columns = []
        for size in ("smallest", "largest"):
            found = {
                label.split(", ")[1].split()[0]: value
                for label, value in test.items()
                if label.startswith(f"{size}, ")
            }
            columns.append(", ".join(f"{bits}: {100 * v:.2f}" for bits, v in found.items()))
        images = facts["data"]["images"]
        lines.append(
            f"| `{facts['name']}` | {facts['space']['name']} | {images['train']:,} training, "
            f"{images['test']:,} test | {facts['weights']['bytes']:,} | {' | '.join(columns)} |"
        )
        notes.append(
            f"`{facts['name']}`: made {facts['made']}, weights under {facts['licence']}; images: "
            f"{facts['data']['licence']}."
        )
    return "\n".join([*lines, "", *notes])


if __name__ == "__main__":
    run(PagePart("docs/pretrained.md", "pretrained"), table(), __doc__)
