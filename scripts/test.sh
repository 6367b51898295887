#!/bin/sh
# The whole gate: lint, format, rules of imports, types, tests but the slow ones. Arguments go to
# pytest: -m slow, for example. docs/development.md says what each part checks.
set -eu
cd "$(dirname "$0")/.."
. scripts/environment.sh
environment test
ruff check .
ruff format --check .
lint-imports --no-logo
mypy
exec python -m pytest -n 2 --dist loadgroup -q "$@"
