"""What the README promises of a user's own env."""

import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

README = Path(__file__).resolve().parent.parent / "README.md"
MODULE = re.compile(
    r"^    import gymnasium as gym\n    import numpy as np\n.*?^    gym\.register\(.*?$",
    re.M | re.S,
)
COMMANDS = re.compile(r"^    her-robotics ((?:check|train --env) .*my_envs:Puck-v0.*)$", re.M)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder with the tutorial's module in it."""
    module = MODULE.search(README.read_text(encoding="utf-8"))
    assert module is not None
    source = textwrap.dedent(module[0])
    assert len(source.splitlines()) < 60, "the tutorial is to stay short"
    (tmp_path / "my_envs.py").write_text(source, encoding="utf-8")
    return tmp_path


def test_the_tutorials_env_is_fit_and_learns_to_reach_every_goal(here: Path) -> None:
    check, train = COMMANDS.findall(README.read_text(encoding="utf-8"))
    for given in (check, f"{train} --out run"):
        # -P leaves the working directory out of the path, as it is for the installed command.
        command = [sys.executable, "-P", "-m", "her_robotics", *given.split()]
        env = {**os.environ, "PYTHONPATH": str(README.parent)}
        done = subprocess.run(
            command, cwd=here, env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    card = json.loads((here / "run" / "policy.json").read_text(encoding="utf-8"))
    assert card["test"]["episodes"] == 100
    assert card["test"]["success_rate"] >= 0.9
    assert (here / "run" / "policy.mp4").stat().st_size > 1000
