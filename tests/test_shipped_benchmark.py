"""The benchmark of the policies that ship: a real one, in both envs."""

import json
import os
import subprocess
import sys
from pathlib import Path

from .runs import command


def benchmark(*arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "benchmarks.shipped", *arguments]
    # As tests have: with more, the last digits of sums are others.
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(line, capture_output=True, text=True, check=False, env=one_thread)


def test_summary_holds_what_eval_says_of_both_envs(tmp_path: Path) -> None:
    out = tmp_path / "shipped.json"
    test = ("--episodes", "6", "--seed", "3")

    done = benchmark("--tasks", "fetch_reach", *test, "--out", str(out))

    assert done.returncode == 0, done.stderr
    summary = json.loads(out.read_text())
    said = [
        json.loads(command("eval", "fetch_reach", *test, "--json", *env).out)
        for env in ((), ("--env", "FetchReach-v4"))
    ]
    assert summary["results"]["policies"] == {"fetch_reach": said}
    assert [result["task"] for result in said] == ["fetch_reach", "FetchReach-v4"]
    assert summary["provenance"]["command"] == (
        "python -m benchmarks.shipped --tasks fetch_reach --episodes 6 --seed 3"
    )
    row = out.with_suffix(".md").read_text().splitlines()[-1]
    assert row == done.stdout.splitlines()[-1]
    assert row.startswith(f"| fetch_reach | {said[0]['success_rate']:.3f} [")


def test_a_task_without_a_policy_is_refused_before_anything_is_tested(tmp_path: Path) -> None:
    out = tmp_path / "shipped.json"

    done = benchmark("--tasks", "fetch_fly", "--out", str(out))

    assert done.returncode == 2
    assert "unknown task 'fetch_fly': choose among fetch_reach, fetch_push" in done.stderr
    assert not out.exists()
