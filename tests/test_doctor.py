"""The doctor on this machine, and on this machine with one thing broken for real."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from her_robotics.building import read_task
from her_robotics.cli.making import env_maker
from her_robotics.health import machine, software
from her_robotics.health.training import filled
from her_robotics.shipped import load_task_config, shipped_tasks
from her_robotics.video import VideoError, read_video, write_video

from .runs import command, disk_full_after, the_one_line, tiny

CLONE = Path(__file__).parent.parent


def examined(
    *arguments: object,
    env: Mapping[str, str] | None = None,
    clone: Path = CLONE,
) -> tuple[int, dict[str, Any]]:
    """Exit code and findings of a doctor in a process of its own, which must not fail itself."""
    ours = {"OMP_NUM_THREADS": "1", "MUJOCO_GL": "egl", **(env or {})}
    path = os.pathsep.join([*filter(None, [ours.pop("PYTHONPATH", "")]), str(clone)])
    run = subprocess.run(
        [sys.executable, "-m", "her_robotics", "doctor", "--json", *map(str, arguments)],
        env={**os.environ, **ours, "PYTHONPATH": path},
        cwd=clone,
        capture_output=True,
        text=True,
    )
    assert "Traceback" not in run.stderr
    report = json.loads(run.stdout)
    assert report["passed"] == (run.returncode == 0)
    return run.returncode, report["checks"]


def is_a_command(mend: str) -> bool:
    """Whether a shell would know what to do: it is one line, with nothing to be filled in."""
    bare = re.sub(r"'[^']*'", "", mend)
    programs = re.findall(r"(?:^|&& |\| )(?:\w+=\S+ )?(\S+)", bare)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    known = all(each in ("export", "unset") or shutil.which(each, path=path) for each in programs)
    return known and not re.search(r"\n|[<>]|\b[A-Z]{3,}\b(?!=)", bare)


def told(name: str, code: int, checks: Mapping[str, Any]) -> str:
    """What a broken thing's check says and how it is to be mended, in one line each."""
    finding = checks[name]
    assert (code, finding["status"]) == (1, "fail")
    assert len(finding["says"].splitlines()) == 1
    assert is_a_command(finding["mend"])
    return f"{finding['says']} -> {finding['mend']}"


def fault(name: str, **how: Any) -> str:
    """The same, in a process of its own."""
    return told(name, *examined("--only", name, **how))


def fault_here(name: str, *arguments: object) -> str:
    """The same, in this process."""
    outcome = command("doctor", "--json", "--only", name, *arguments)
    assert not outcome.err
    return told(name, outcome.code, json.loads(outcome.out)["checks"])


def test_this_machine_is_fit_to_train_and_every_check_says_so(tmp_path: Path) -> None:
    code, checks = examined("--out", tmp_path / "runs", "--seconds", 0.1)
    assert code == 0, checks
    assert all(finding["status"] in ("pass", "note") for finding in checks.values())
    assert all(finding["says"] for finding in checks.values())
    for finding in checks.values():
        assert finding["status"] == "pass" or is_a_command(finding["mend"])
    tasks = {name: checks[name]["figures"] for name in shipped_tasks()}
    assert all(figures["env_steps_per_second"] > 20 for figures in tasks.values())
    assert tasks["fetch_reach"]["seconds"] < tasks["fetch_push"]["seconds"]
    assert not (tmp_path / "runs").exists(), "a check leaves nothing behind"


@pytest.mark.parametrize("backend", ["osmesa", "nonsense", "glfw"])
def test_a_backend_that_cannot_draw_is_to_be_unset(backend: str) -> None:
    bare = {"MUJOCO_GL": backend, "DISPLAY": "", "WAYLAND_DISPLAY": ""}
    said = fault("rendering", env=bare)
    assert backend in said
    assert said.endswith("unset MUJOCO_GL")


def test_a_backend_that_does_not_exist_is_told_by_every_command_in_one_line() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "her_robotics", "eval", "fetch_reach"],
        env={**os.environ, "MUJOCO_GL": "nonsense", "PYTHONPATH": str(CLONE)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 2
    (line,) = run.stderr.splitlines()
    assert "MUJOCO_GL" in line
    assert "her-robotics doctor" in line


@pytest.mark.parametrize("value", ["64000", "none", "0"])
def test_threads_that_are_too_many_or_no_number_are_told(value: str) -> None:
    said = fault("threads", env={"OMP_NUM_THREADS": value})
    assert f"OMP_NUM_THREADS={value}" in said
    assert said.endswith(f"export OMP_NUM_THREADS={machine.cores()}")


def test_a_folder_for_runs_that_cannot_be_written_is_told_with_one_that_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "cannot be written" in fault_here("disk", "--out", "/proc/self/runs")
    monkeypatch.chdir("/proc/self")
    monkeypatch.setenv("HOME", str(tmp_path / "a home"))
    said = fault_here("disk")
    assert said.endswith(f"-> her-robotics doctor --out '{tmp_path}/a home/runs'")


def test_a_python_that_is_too_old_is_told_with_what_makes_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(software, "LEAST_PYTHON", (9, 99))
    assert "older than 9.99 -> rm -rf .venv && PYTHON=python9.99 " in fault_here("python")


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (ModuleNotFoundError("no yaml", name="yaml.nodes"), "PyYAML"),
        (ValueError("anything"), "--constraint constraints.txt --editable ."),
    ],
)
def test_a_check_that_fails_itself_names_what_to_install_again(
    error: Exception, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(machine, "scratch", fail)
    said = fault_here("scratch")
    assert f"could not be checked: {type(error).__name__}" in said
    assert said.endswith(f"-m pip install --force-reinstall {what}")


def test_a_disk_that_takes_no_more_is_told(tmp_path: Path) -> None:
    with disk_full_after(1000):
        said = fault_here("disk", "--out", tmp_path)
    assert f"{tmp_path} cannot be written" in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("where", ["missing", "file"])
def test_a_folder_for_temporary_files_that_is_none_is_told(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TMPDIR", str(tmp_path / where))
    assert f"TMPDIR={tmp_path / where}" in fault_here("scratch")


@pytest.mark.parametrize(
    ("package", "version", "reason"),
    [("mujoco", "4.0.0", "sparse Cholesky"), ("torch", "2.5.1", ">=2.6"), ("numpy", "1.26", ">=2")],
)
def test_a_version_out_of_range_is_told_with_what_installs_a_better_one(
    package: str, version: str, reason: str, tmp_path: Path
) -> None:
    meta = tmp_path / f"{package}-{version}.dist-info"
    meta.mkdir()
    text = f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n"
    (meta / "METADATA").write_text(text)
    said = fault("packages", env={"PYTHONPATH": str(tmp_path)})
    assert f"{package} is {version}" in said
    assert reason in said
    assert f"pip install '{package}" in said


def test_a_package_that_does_not_import_costs_its_own_lines_only(tmp_path: Path) -> None:
    (tmp_path / "cv2.py").write_text("raise ImportError('libGL.so.1: no such file')\n")
    code, checks = examined("--only", "film", "scratch", env={"PYTHONPATH": str(tmp_path)})
    assert code == 1
    assert "libGL.so.1" in checks["film"]["says"]
    assert checks["scratch"]["status"] == "pass"


def test_a_wandb_that_does_not_import_is_noted_since_training_does_without(tmp_path: Path) -> None:
    (tmp_path / "wandb.py").write_text("raise ImportError('half there')\n")
    code, checks = examined("--only", "wandb", env={"PYTHONPATH": str(tmp_path)})
    assert (code, checks["wandb"]["status"]) == (0, "note")
    assert "half there" in checks["wandb"]["says"]


def test_whether_runs_are_tracked_online_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    outcome = command("doctor", "--only", "wandb")
    assert outcome.code == 0
    assert "offline" in outcome.out
    assert "wandb login" in outcome.out
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    assert "online" in command("doctor", "--only", "wandb").out


def test_settings_that_are_broken_are_told_by_file(tmp_path: Path) -> None:
    for name in ("her_robotics", "envs", "configs"):
        shutil.copytree(CLONE / name, tmp_path / name)
    (tmp_path / "configs" / "fetch_push.yaml").write_text("env: {task: fetch_push, num_envs: 0}")
    assert "env.num_envs = 0" in fault("configs", clone=tmp_path)
    (tmp_path / "configs" / "fetch_push.yaml").write_text("env: {task")
    assert "fetch_push.yaml" in fault("configs", clone=tmp_path)
    (tmp_path / "configs" / "base.yaml").unlink()
    assert "base.yaml" in fault("configs", clone=tmp_path)


def test_too_little_memory_or_disk_is_told_with_what_would_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = machine.free_memory()
    assert free is not None
    assert 2**20 < free < 2**50
    largest = 2 * free
    finding = machine.memory({"fetch_reach": 1, "fetch_push": largest})
    assert finding.status == "fail"
    capacity = int(finding.mend.split()[-1])
    share = capacity / load_task_config("fetch_push").train.steps
    assert share * largest + machine.PROGRAM <= 1.1 * free
    room = shutil.disk_usage(tmp_path).free
    finding = machine.disk(tmp_path, {"fetch_push": room})
    assert finding.status == "fail"
    assert is_a_command(finding.mend)
    assert is_a_command(machine.memory({"fetch_push": 10**15}).mend)
    assert machine.disk(tmp_path, {"fetch_push": 1}).status == "pass"


def test_memory_is_told_from_what_a_replay_really_holds() -> None:
    config = tiny()
    env = env_maker(config.env)(1)
    shape = read_task(env).shape
    env.close()
    per_episode = 4 * shape.floats
    assert filled(config, shape) == 600 / shape.horizon * per_episode
    assert filled(tiny(train={"steps": 10**9}), shape) == 10_000 / 50 * per_episode


def test_an_unknown_check_is_refused_with_those_there_are() -> None:
    message = the_one_line(command("doctor", "--only", "luck"))
    assert "'luck'" in message
    assert "rendering" in message
    assert "fetch_push" in message


def test_for_a_person_every_line_starts_with_its_verdict_and_faults_with_how_to_mend_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "missing"))
    outcome = command("doctor", "--only", "python", "scratch")
    assert outcome.code == 1
    lines = outcome.out.splitlines()
    assert [line.split()[0] for line in lines] == ["pass", "fail", "mend:", "to"]
    assert lines[-1] == "to mend before training: scratch"


def test_a_film_is_read_back_frame_by_frame(tmp_path: Path) -> None:
    frames = np.repeat(np.linspace(30, 220, 5).astype(np.uint8), 32 * 48 * 3).reshape(5, 32, 48, 3)
    write_video(tmp_path / "film.mp4", frames)
    seen = read_video(tmp_path / "film.mp4")
    assert seen.shape == frames.shape
    assert np.abs(seen.astype(float) - frames).mean() < 5
    (tmp_path / "film.mp4").write_bytes(b"not a film")
    with pytest.raises(VideoError):
        read_video(tmp_path / "film.mp4")
