#!/usr/bin/env bash
# Lint, types and the whole test suite, from a bare clone: scripts/test.sh [PYTEST OPTIONS]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh" dev
ruff check .
ruff format --check .
ty check
exec python -m pytest "$@"
