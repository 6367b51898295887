#!/bin/sh
# The whole gate: lint, format, tests. Arguments go to pytest, for example: -m slow
set -eu
cd "$(dirname "$0")/.."
. scripts/environment.sh
environment test
ruff check .
ruff format --check .
exec python -m pytest -n 2 --dist loadgroup -q "$@"
