#!/bin/sh
# From nothing to a verified .tflite: installs into .venv, then trains, searches, exports and
# benchmarks on scikit-learn's digits. Stopped at any point, it continues when called again.
#
#   sh scripts/quickstart.sh [WORKDIR]        default: workdir/digits
set -eu
cd "$(dirname "$0")/.."
. scripts/environment.sh
environment all
workdir=${1:-workdir/digits}
began=$(date +%s)

step() {
    echo
    echo "== $*"
    started=$(date +%s)
    python "$@"
    echo "   $(($(date +%s) - started)) s"
}

step apps/train.py --config=configs/digits.py --workdir="$workdir"
step apps/search.py --workdir="$workdir"
step apps/export.py --workdir="$workdir"
step apps/benchmark.py --workdir="$workdir"
echo
echo "Finished in $(($(date +%s) - began)) s. Look at $workdir/searches/default/report.html."
