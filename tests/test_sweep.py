"""Sweeps by real studies of real runs, killed and gone on with."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from her_robotics.cli import main
from her_robotics.errors import UserError
from her_robotics.sweeps.plan import Plan, read_plan
from her_robotics.sweeps.study import DONE, Study
from her_robotics.tracking import read_lines

FIXED: dict[str, Any] = {
    "env.bits": 4,
    "env.num_envs": 2,
    "agent.hidden": [8],
    "train.batch_size": 8,
    "train.steps": 32,
    "train.checkpoint_seconds": 0,
    "eval.every": 8,
    "eval.episodes": 2,
    "replay.capacity": 1000,
    "video.enabled": False,
    "wandb": "disabled",
}
"""A run of hundredths of a second, with a test and a checkpoint at each of its four cycles."""
UPDATES = {"name": "updates", "goal": "maximize"}
"""A figure that a setting decides alone."""


def write(path: Path, parameters: dict[str, Any], **others: Any) -> Path:
    """A sweep's file of tiny runs."""
    fixed = {name: {"value": value} for name, value in FIXED.items()}
    given = {
        "program": "her-robotics",
        "method": "grid",
        "metric": UPDATES,
        "parameters": {**fixed, **parameters},
        "command": ["${env}", "${program}", "train", "bit_flip", "${args}"],
        **others,
    }
    path.write_text(yaml.safe_dump(given, sort_keys=False))
    return path


@pytest.fixture
def results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    """Works at a sweep in tmp_path/out; what it prints."""

    def work(path: Path, *options: str, code: int = 0) -> dict[str, Any]:
        capsys.readouterr()
        out = ["--out", str(tmp_path / "out"), "--json"]
        assert main(["sweep", str(path), *out, *options]) == code
        return json.loads(capsys.readouterr().out)

    return work


def test_every_combination_is_tried_in_a_run_of_its_own_and_the_best_is_told(
    tmp_path: Path, results: Callable[..., dict[str, Any]]
) -> None:
    path = write(
        tmp_path / "grid.yaml",
        {"train.updates_per_step": {"values": [0.5, 1]}, "agent.hidden": {"values": [[8], [4, 4]]}},
    )
    found = results(path)
    assert [trial["state"] for trial in found["trials"]] == ["complete"] * 4
    tried = {
        (trial["settings"]["train.updates_per_step"], trial["settings"]["agent.hidden"])
        for trial in found["trials"]
    }
    assert tried == {(0.5, "[8]"), (1, "[8]"), (0.5, "[4, 4]"), (1, "[4, 4]")}
    assert (found["best"]["value"], found["best"]["settings"]["train.updates_per_step"]) == (32, 1)
    for trial in found["trials"]:
        run = Path(trial["run"])
        config = yaml.safe_load((run / "config.yaml").read_text())
        assert str(config["agent"]["hidden"]) == trial["settings"]["agent.hidden"]
        assert read_lines(run / "metrics.jsonl")[-1]["updates"] == trial["value"]
    assert results(path) == found, "finished, there is nothing left to do"


def test_a_trial_that_falls_behind_ends_early(
    tmp_path: Path, results: Callable[..., dict[str, Any]]
) -> None:
    rule = {"type": "hyperband", "min_iter": 2, "eta": 2}
    path = write(
        tmp_path / "grid.yaml",
        {"train.updates_per_step": {"values": [1, 0.5]}},
        early_terminate=rule,
    )
    first, second = results(path)["trials"]
    assert (first["state"], first["tests"], first["value"]) == ("complete", 4, 32)
    assert (second["state"], second["tests"], second["value"]) == ("pruned", 2, 8)
    assert len(read_lines(Path(second["run"]) / "metrics.jsonl")) == 2


def test_no_trial_is_begun_once_the_target_is_met(
    tmp_path: Path, results: Callable[..., dict[str, Any]]
) -> None:
    path = write(
        tmp_path / "grid.yaml",
        {"train.updates_per_step": {"values": [0.5, 1, 2]}},
        metric={**UPDATES, "target": 32},
    )
    assert len(results(path)["trials"]) == 2


def test_a_sweep_that_is_killed_goes_on_where_it_was(
    tmp_path: Path, results: Callable[..., dict[str, Any]]
) -> None:
    path = write(
        tmp_path / "random.yaml",
        {"agent.critic_lr": {"min": 0.001, "max": 0.002}, "train.steps": {"value": 400}},
        method="random",
        run_cap=3,
    )
    command = [sys.executable, "-m", "her_robotics", "sweep", str(path)]
    out = tmp_path / "out"
    worker = subprocess.Popen([*command, "--out", str(out)], stderr=subprocess.DEVNULL)
    second = out / "runs" / "0001"
    until(lambda: worker.poll() is not None or len(read_lines(second / "metrics.jsonl")) > 5)
    assert worker.poll() is None
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    before = {
        name: (out / "runs/0000" / name).read_bytes() for name in ("metrics.jsonl", "policy.json")
    }
    had = yaml.safe_load((second / "config.yaml").read_text())["agent"]["critic_lr"]
    found = results(path)
    assert [trial["state"] for trial in found["trials"]] == ["complete"] * 3
    assert [trial["tests"] for trial in found["trials"]] == [50] * 3
    for name, content in before.items():
        assert (out / "runs/0000" / name).read_bytes() == content, "what was done is not redone"
    assert found["trials"][1]["settings"]["agent.critic_lr"] == had
    assert "training from step" in (out / "runs/0001.log").read_text()
    assert [row["step"] for row in read_lines(second / "metrics.jsonl")] == list(range(8, 401, 8))


def test_ctrl_c_saves_the_trial_and_the_next_call_goes_on_with_it(
    tmp_path: Path, results: Callable[..., dict[str, Any]]
) -> None:
    path = write(tmp_path / "grid.yaml", {"train.steps": {"values": [800]}})
    metrics = tmp_path / "out/runs/0000/metrics.jsonl"

    def interrupt() -> None:
        until(lambda: len(read_lines(metrics)) > 2)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    stopped = results(path, code=130)
    thread.join()
    (trial,) = stopped["trials"]
    assert trial["state"] == "running"
    (trial,) = results(path)["trials"]
    assert (trial["state"], trial["tests"], trial["value"]) == ("complete", 100, 160)


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 300
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_workers_share_trials_and_take_up_what_one_of_them_leaves(tmp_path: Path) -> None:
    plan = random_plan(tmp_path)
    ours, theirs = (Study(tmp_path / "out", plan, cap=3, seed=5) for _ in range(2))
    first, second = ours.next(), theirs.next()
    assert first
    assert second
    assert (first.number, second.number) == (0, 1)
    assert first.values["agent.gamma"] != second.values["agent.gamma"]
    assert not first.fell_behind(0.5, 1)
    first.lock.release()  # as the system does for a process that has died
    again = theirs.next()
    assert again
    assert (again.number, again.values) == (0, first.values)
    theirs.finish(again, 0.7)
    again.lock.release()
    third = ours.next()
    assert third
    assert third.number == 2
    assert ours.next() is None, "all three are done or in somebody's hands"
    assert [row["state"] for row in theirs.rows] == [DONE.name.lower(), "running", "running"]
    assert theirs.rows[0]["tests"] == 1


def test_what_is_drawn_is_a_function_of_the_seed(tmp_path: Path) -> None:
    plan = random_plan(tmp_path)
    drawn = []
    for seed in (3, 3, 4):
        folder = tmp_path / f"{len(drawn)}"
        (folder / "runs").mkdir(parents=True)
        trial = Study(folder, plan, cap=1, seed=seed).next()
        assert trial
        drawn.append(trial.values)
    assert drawn[0] == drawn[1] != drawn[2]
    assert 0.9 <= drawn[0]["agent.gamma"] <= 0.99


def random_plan(tmp_path: Path) -> Plan:
    (tmp_path / "out" / "runs").mkdir(parents=True)
    values = {"agent.gamma": {"min": 0.9, "max": 0.99}}
    return read_plan(write(tmp_path / "random.yaml", values, method="random"))


def test_a_trial_that_cannot_be_trained_fails_and_the_others_go_on(
    tmp_path: Path, results: Callable[..., dict[str, Any]]
) -> None:
    path = write(tmp_path / "grid.yaml", {"replay.capacity": {"values": [3, 1000]}})
    bad, good = results(path)["trials"]
    assert bad["state"] == "fail"
    assert "replay.capacity = 3 holds 0 episodes" in bad["error"]
    assert good["state"] == "complete"


def test_failures_one_after_another_end_the_sweep(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "grid.yaml", {"replay.capacity": {"values": [1, 2, 3, 1000]}})
    assert main(["sweep", str(path), "--out", str(tmp_path / "out")]) == 2
    (line,) = [row for row in capsys.readouterr().err.splitlines() if "error" in row]
    assert "3 trials failed one after another, the last: failed: replay.capacity = 3" in line


def test_a_figure_that_no_test_has_is_answered_with_those_that_one_has(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "grid.yaml", {}, metric={"name": "succes"})
    assert main(["sweep", str(path), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert "metric.name = succes must be one of " in said
    assert "test/success_rate" in said


def test_a_folder_of_another_sweep_and_a_search_without_end_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan, out = write(tmp_path / "a.yaml", {}), ["--out", str(tmp_path / "out")]
    assert main(["sweep", str(plan), *out]) == 0
    other = write(tmp_path / "b.yaml", {"seed": {"value": 1}})
    assert main(["sweep", str(other), *out]) == 2
    assert "holds a sweep of another file" in capsys.readouterr().err
    endless = write(tmp_path / "c.yaml", {"seed": {"min": 0, "max": 9}}, method="random")
    assert main(["sweep", str(endless), "--out", str(tmp_path / "new")]) == 2
    assert "method random has no end: give --trials" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_an_unknown_name_is_answered_with_those_that_ship() -> None:
    from her_robotics.sweeps.plan import find_plan

    with pytest.raises(
        UserError, match="unknown sweep 'fetch_fly': choose one of bit_flip, fetch_p"
    ):
        find_plan("fetch_fly")
