"""The built wheel works away from the clone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the wheel, and nothing else, is installed."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run([*pip, *build], check=True)
    (wheel,) = folder.glob("her_robotics-*.whl")
    site = folder / "site"
    subprocess.run([*pip, "install", "--no-deps", "--target", str(site), str(wheel)], check=True)
    return site


def run(installed: Path, where: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    return subprocess.run(
        [sys.executable, *arguments], cwd=where, env=environment, capture_output=True, text=True
    )


def test_wheel_is_what_is_imported(installed: Path, tmp_path: Path) -> None:
    code = "import her_robotics, envs; print(her_robotics.__file__); print(envs.__file__)"
    files = run(installed, tmp_path, "-c", code).stdout.split()
    assert len(files) == 2
    assert all(Path(file).is_relative_to(installed) for file in files)


def test_wheel_trains_fetch_reach_with_its_own_configs_and_assets(
    installed: Path, tmp_path: Path
) -> None:
    options = ["--train.steps", "400", "--eval.episodes", "10", "--wandb", "disabled"]
    done = run(
        installed, tmp_path, "-m", "her_robotics", "train", "fetch_reach", "--out", "run", *options
    )
    assert done.returncode == 0, done.stderr
    assert (
        json.loads((tmp_path / "run" / "policy.json").read_text())["env"]["task"] == "fetch_reach"
    )
    assert (tmp_path / "run" / "policy.mp4").stat().st_size > 1000


def test_wheel_holds_no_tests_or_benchmarks(installed: Path) -> None:
    tops = {path.name for path in installed.iterdir()}
    assert {"her_robotics", "envs"} <= tops
    assert not tops & {"tests", "benchmarks", "scripts", "configs", "assets"}
