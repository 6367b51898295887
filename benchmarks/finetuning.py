"""What fine-tuning the chosen subnet of a workdir brings, into benchmarks/results/finetuning.csv.

    python benchmarks/finetuning.py --workdir workdir/digits

It is `apps/finetune.py` with its defaults, and a row of its figures.
"""

import argparse

import results_file

from qfa_tf.runs import Workdir, finetune
from qfa_tf.search.intervals import mcnemar


def main() -> None:
    """Fine-tunes, and appends the row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", required=True, help="of a finished search")
    parser.add_argument("--search", help="its name; the only or the newest one by default")
    parser.add_argument("--epochs", type=int, default=4)
    args = parser.parse_args()
    found = finetune(Workdir(args.workdir), search=args.search, epochs=args.epochs)
    before, after = found.unseen
    row = {
        "space": found.workdir.config().space,
        "epochs": args.epochs,
        "search_validation_images": found.before.images,
        "search_validation_before": round(found.before.accuracy, 4),
        "search_validation_after": round(found.after.accuracy, 4),
        "test_images": before.images,
        "test_before": round(before.accuracy, 4),
        "test_after": round(after.accuracy, 4),
        "test_p": round(mcnemar(before.answers, after.answers), 4),
    }
    print(row)
    results_file.append("finetuning", row)


if __name__ == "__main__":
    main()
