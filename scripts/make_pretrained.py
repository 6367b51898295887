"""Makes the small files of a supernet that comes along, from the workdir of its training.

    python scripts/make_pretrained.py workdir/digits digits \\
        --data_licence="UCI, Optical Recognition of Handwritten Digits, by scikit-learn; CC-BY-4.0"

writes NAME.npz and NAME.json into qfa_tf/pretrained (or --folder), where
`QFASupernet.from_pretrained(NAME)` finds them: weights, space, recipe, data, accuracies, licences.
"""

import argparse
import pathlib

from qfa_tf.runs import Workdir, package_workdir

FOLDER = pathlib.Path(__file__).parents[1] / "qfa_tf" / "pretrained"


def main() -> None:
    """Makes them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workdir", help="of a finished training")
    parser.add_argument("name", help="of the files")
    parser.add_argument("--data_licence", required=True, help="source of the images, and licence")
    parser.add_argument("--licence", default="Apache-2.0", help="of the weights")
    parser.add_argument("--folder", default=FOLDER)
    args = parser.parse_args()
    package_workdir(
        Workdir(args.workdir),
        args.name,
        args.folder,
        licence=args.licence,
        data_licence=args.data_licence,
    )


if __name__ == "__main__":
    main()
