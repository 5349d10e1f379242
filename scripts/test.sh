#!/usr/bin/env bash
# Lint, types and the whole test suite, from a bare clone: scripts/test.sh [PYTEST OPTIONS]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh" dev
ruff check .
ruff format --check .
ty check
# A process for every core, up to eight; a file's tests stay together, since they share what they build.
exec python -m pytest --numprocesses auto --maxprocesses 8 --dist loadfile "$@"
