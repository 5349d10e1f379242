#!/usr/bin/env bash
# Two agents of torchrun that meet on loopback as two hosts would: scripts/two_hosts.sh TASK --out DIR [OPTIONS]
# RANKS is how many ranks each has (1), PORT where they meet (29400). Either may be stopped by Ctrl-C or SIGTERM.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh" "" # else it would take the task for the extra
agent() {
    exec torchrun --nnodes 2 --nproc-per-node "${RANKS:-1}" --max-restarts 3 --rdzv-id two_hosts \
        --rdzv-backend c10d --rdzv-endpoint "127.0.0.1:${PORT:-29400}" -m her_robotics train "$@"
}
agent "$@" &
first=$!
trap 'kill -TERM "$first" "$second" 2>/dev/null' INT TERM
agent "$@" &
second=$!
wait "$first"
wait "$second"
