"""`torchrun` itself: a rank that dies, and the restart of all from their checkpoints."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from her_robotics.checkpoint import PREVIOUS, WEIGHTS
from her_robotics.run_folder import METRICS

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


def test_torchrun_restarts_all_ranks_from_their_checkpoints_when_one_dies(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    torchrun = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--max-restarts",
        "1",
    ]
    train = ["--nproc-per-node", "2", "-m", "her_robotics", "train", "--out", str(folder), *SMALL]
    ended = subprocess.run(
        [*torchrun, *train],
        cwd=ROOT,
        env={**os.environ, FATAL: str(folder / "rank-1-of-2" / PREVIOUS)},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    assert "failed (exitcode: -9)" in ended.stderr
    assert "training from step 96 to 288 steps" in ended.stdout
    assert [row["step"] for row in rows(folder / METRICS)] == [96, 192, 288]
    assert (folder / WEIGHTS).exists()


def test_restarts_need_a_folder_to_look_into(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_MAX_RESTARTS", "3")
    assert "--max-restarts needs --out" in the_one_line(command("train", "debug"))
