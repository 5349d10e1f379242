#!/usr/bin/env bash
# Train a policy from a bare clone: scripts/train_fetch.sh [TASK] [OPTIONS]
# Everything behind the name is that of `her-robotics train`; the task defaults to fetch_reach.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh" "" # else it would take the task for the extra
exec her-robotics train "$@"
