"""`torchrun` itself: two agents of it, a rank that dies, the restart of all from their checkpoints."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.rank_processes import as_ranks, free_port
from her_robotics.checkpoint import PREVIOUS
from her_robotics.run_folder import METRICS
from her_robotics.saved_policy import WEIGHTS

from . import rank_work
from .mortal_env import FATAL
from .runs import command, rows, the_one_line

ROOT = Path(__file__).parent.parent
SMALL = (
    *("--env", "tests.mortal_env:Mortal-v0", "--env.num-envs", "2", "--agent.hidden", "16"),
    *("--train.steps", "288", "--train.batch-size", "16", "--train.updates-per-step", "0.1"),
    *("--train.checkpoint-seconds", "0", "--eval.every", "96", "--eval.episodes", "4"),
    *("--exploration.random-episodes", "4", "--replay.capacity", "1000"),
    *("--wandb", "disabled", "--video.enabled", "false"),
)


BITS = (
    *("bit_flip", "--env.bits", "4", "--env.num-envs", "2", "--agent.hidden", "8"),
    *("--train.steps", "160", "--train.batch-size", "8", "--eval.every", "80"),
    *("--eval.episodes", "4", "--replay.capacity", "1000"),
    *("--wandb", "disabled", "--video.enabled", "false"),
)


LEFT = """
import os, pathlib, sys
from her_robotics.cli import main

code = main(sys.argv[1:])
names = [path.read_text().strip() for path in pathlib.Path("/proc/self/task").glob("*/comm")]
left = [name for name in names if "gloo" in name or "tcpstore" in name]
os.write(1, f"left of rank {os.environ['RANK']}: {left}\\n".encode())
sys.exit(code)
"""
"""A rank that tells which threads of its group outlive its training: they may abort a process that ends."""


def deadly(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """A run of two ranks, the second of which is killed once it has its second checkpoint."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", *options]
    train = ["--nproc-per-node", "2", "-m", "her_robotics", "train", "--out", str(folder), *SMALL]
    fatal = {FATAL: str(folder / "rank-1-of-2" / PREVIOUS)}
    whole = [*torchrun, *train]
    return subprocess.run(
        whole, cwd=ROOT, env={**os.environ, **fatal}, capture_output=True, text=True
    )


def test_a_rank_that_dies_ends_the_job_in_seconds_and_both_it_and_how_to_go_on_are_told(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "run"
    ended = deadly(folder)
    killed = (folder / "rank-1-of-2" / PREVIOUS).stat().st_mtime
    assert time.time() - killed < 30, "of a busy machine; alone it takes two"
    assert ended.returncode == 1
    (line,) = [each for each in ended.stderr.splitlines() if each.startswith("her-robotics: error")]
    assert line.startswith("her-robotics: error: rank 0 ends at ")
    assert line.endswith(f"torchrun --nproc-per-node 2 -m her_robotics train --resume {folder}")
    assert "rank      : 1 (local_rank: 1)\n  exitcode  : -9" in ended.stderr
    assert not (folder / WEIGHTS).exists()


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The project, with a .venv in which everything that is here is installed, and nothing more can be."""
    folder, here = tmp_path / "clone", Path(sys.executable).parent
    (folder / ".venv" / "bin").mkdir(parents=True)
    for name in ("scripts", "her_robotics", "envs", "configs", "assets"):
        (folder / name).symlink_to(ROOT / name)
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    python = folder / ".venv" / "bin" / "python"
    python.write_text("#!/bin/sh\necho nothing is to be installed >&2\nexit 1\n")
    python.chmod(0o755)
    (folder / ".venv" / "bin" / "activate").write_text(f'PATH="{here}:$PATH"\n')
    stamp = "cat pyproject.toml constraints.txt | cksum > .venv/installed-base"
    subprocess.run(["bash", "-c", stamp], cwd=folder, check=True)
    return folder


def test_two_agents_on_loopback_train_what_two_ranks_of_one_do(tmp_path: Path, clone: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    assert [each.given for each in as_ranks(2, rank_work.begun, [*BITS], one)] == [0, 0]
    ended = subprocess.run(
        ["scripts/two_hosts.sh", *BITS, "--out", two],
        cwd=clone,
        env={**os.environ, "PORT": str(free_port()), "HER_SKIP_SYSTEM_CHECK": "1"},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    assert [row["step"] for row in rows(two / METRICS)] == [80, 160]
    for name in (METRICS, WEIGHTS):
        assert (two / name).read_bytes() == (one / name).read_bytes(), name


def test_torchrun_restarts_all_ranks_from_their_checkpoints_when_one_dies(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    ended = deadly(folder, "--max-restarts", "1")
    assert ended.returncode == 0, ended.stderr
    assert "failed (exitcode: -9)" in ended.stderr
    assert "training from step 96 to 288 steps" in ended.stdout
    assert [row["step"] for row in rows(folder / METRICS)] == [96, 192, 288]
    assert (folder / WEIGHTS).exists()


def test_no_thread_of_the_group_is_left_when_a_rank_ends(tmp_path: Path) -> None:
    script = tmp_path / "threads.py"
    script.write_text(LEFT)
    torchrun = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
    ]
    ended = subprocess.run(
        [*torchrun, script, "train", *BITS, "--out", tmp_path / "run"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    told = [line for line in ended.stdout.splitlines() if line.startswith("left of")]
    assert sorted(told) == ["left of rank 0: []", "left of rank 1: []"]


def test_restarts_need_a_folder_to_look_into(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_MAX_RESTARTS", "3")
    assert "--max-restarts needs --out" in the_one_line(command("train", "debug"))
