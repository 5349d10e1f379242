import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from envs.camera import RenderingError
from her_robotics import episode_files
from her_robotics.checkpoint import (
    CHECKPOINT,
    EPISODES,
    PREVIOUS,
    Checkpoints,
    load_checkpoint,
    save_checkpoint,
)
from her_robotics.cli import training
from her_robotics.cli.making import env_maker
from her_robotics.config import Config
from her_robotics.evaluate import evaluate
from her_robotics.rollout import NonFiniteError
from her_robotics.run_folder import CONFIG, CURVE, DIVERGED, METRICS, TIMINGS, read_config
from her_robotics.saved_policy import CARD, WEIGHTS, load_policy
from her_robotics.session import Session
from her_robotics.strict import merge, read_yaml
from her_robotics.train import FINAL

from .runs import (
    EXPLOSIVE,
    PUSH,
    REACH,
    command,
    debug_run,
    disk_full_after,
    exploding,
    names_in,
    rows,
    same,
    signal_at,
    start,
    the_one_line,
    tiny,
    watched,
)

OFTEN = {"train": {"checkpoint_seconds": 0.0, "steps": 600}}
"""A checkpoint after every cycle."""
CASES = {"reach": merge(REACH, OFTEN), "push": merge(PUSH, OFTEN)}
PLAIN = ("--video.enabled", "false", "--wandb", "disabled")
Look = Callable[[int, dict[str, np.ndarray]], None]
TRAINING, TESTING = 2, 3
"""Envs of the training and of the test env, by which they are told apart."""


def run(
    config: Config, folder: Path, look: Look | None = None, resume: bool = False, among: int = 2
) -> int:
    make_env = env_maker(config.env)
    if look:
        make_env = watched(make_env, look, among)
    return Session(config, folder, make_env, resume).run()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs that nothing disturbed."""
    folders = {name: tmp_path_factory.mktemp("whole") / name for name in CASES}
    for name, base in CASES.items():
        assert run(tiny(base), folders[name]) == 0
    return folders


def assert_equal(left: Path, right: Path) -> None:
    """Whether two runs were tested alike and left the same policy, to the last bit."""
    assert (left / METRICS).read_bytes() == (right / METRICS).read_bytes()
    assert (left / WEIGHTS).read_bytes() == (right / WEIGHTS).read_bytes()
    states = [load_checkpoint(folder) for folder in (left, right)]
    for state in states:
        state["progress"]["seconds"] = 0.0
    assert same(*states)


@pytest.mark.parametrize("name", CASES)
def test_ctrl_c_ends_the_cycle_and_a_resumed_run_equals_one_that_went_through(
    name: str, tmp_path: Path, whole: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    config, folder = tiny(CASES[name]), tmp_path / "run"
    assert run(config, folder, signal_at(160)) == 130
    assert capsys.readouterr().out.splitlines()[-1].endswith(f"--resume {folder}")
    assert load_checkpoint(folder)["progress"]["steps"] == 400
    assert not (folder / WEIGHTS).exists()
    assert run(config, folder, resume=True) == 0
    assert_equal(folder, whole[name])


@pytest.mark.parametrize("name", CASES)
def test_after_a_power_cut_the_run_goes_on_from_its_checkpoint_as_if_nothing_had_been(
    name: str, tmp_path: Path, whole: dict[str, Path]
) -> None:
    def cut(taken: int, shown: dict[str, np.ndarray]) -> None:
        if taken == 230:
            shutil.copytree(tmp_path / "run", tmp_path / "cut")

    run(tiny(CASES[name]), tmp_path / "run", cut)
    with (tmp_path / "cut" / METRICS).open("a") as file:
        file.write('{"step": 600, "episodes": 1')
    assert len(rows(tmp_path / "cut" / TIMINGS)) == 2
    assert run(tiny(CASES[name]), tmp_path / "cut", resume=True) == 0
    assert_equal(tmp_path / "cut", whole[name])


def test_a_second_ctrl_c_loses_the_cycle_and_nothing_else(
    tmp_path: Path, whole: dict[str, Path]
) -> None:
    config, folder = tiny(CASES["reach"]), tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        run(config, folder, signal_at(160, 170))
    assert run(config, folder, resume=True) == 0
    assert_equal(folder, whole["reach"])


@pytest.mark.parametrize("test", [1, 3])
def test_a_test_that_is_interrupted_is_made_up_for(
    test: int, tmp_path: Path, whole: dict[str, Path]
) -> None:
    config, folder = tiny(CASES["reach"]), tmp_path / "run"
    step = 50 * test - 20
    with pytest.raises(KeyboardInterrupt):
        run(config, folder, signal_at(step, step + 1), among=TESTING)
    assert run(config, folder, resume=True) == 0
    assert_equal(folder, whole["reach"])


def test_an_episode_that_diverges_is_dropped_counted_and_kept_and_training_goes_on(
    tmp_path: Path, whole: dict[str, Path]
) -> None:
    config, folder = tiny(CASES["push"]), tmp_path / "run"
    make_env = exploding(env_maker(config.env), {157}, among=TRAINING)
    assert Session(config, folder, make_env).run() == 0
    state, after_it = load_checkpoint(folder), rows(folder / METRICS)[1:]
    assert state["replay"]["added"] == 12 - 1
    assert state["progress"]["episodes"] == 12
    assert [row["diverged"] for row in after_it] == [1, 1]
    assert rows(folder / METRICS)[0] == rows(whole["push"] / METRICS)[0]
    assert all(value.isfinite().all() for value in state["agent"]["policy"].values())
    with np.load(folder / DIVERGED / "0001.npz") as kept:
        assert (kept["env"], kept["step"]) == (1, 7)
        assert len(kept["action"]) == 7 == len(kept["observation"]) - 1
        assert np.abs(kept["physics"]).max() == EXPLOSIVE
        assert np.isnan(kept["observation"][-1]).any()
        assert np.isfinite(kept["observation"][:-1]).all()


def test_a_test_episode_that_diverges_counts_as_missed(tmp_path: Path) -> None:
    config, folder = tiny(CASES["reach"]), tmp_path / "run"
    make_env = exploding(env_maker(config.env), {57}, among=TESTING)
    assert Session(config, folder, make_env).run() == 0
    assert [row["test/episodes"] for row in rows(folder / METRICS)] == [3, 3, 3]
    assert [row.get("test/diverged") for row in rows(folder / METRICS)] == [None, 1, None]
    assert [row.get("diverged") for row in rows(folder / METRICS)] == [None, 1, 1]


def test_what_was_learnt_before_most_episodes_diverge_is_saved(tmp_path: Path) -> None:
    config = tiny(CASES["reach"], train={"steps": 800})
    folder = tmp_path / "run"
    make_env = exploding(env_maker(config.env), set(range(157, 1000)), TRAINING, envs=(0, 1))
    with pytest.raises(NonFiniteError, match="most of the last 10 training episodes diverged"):
        Session(config, folder, make_env).run()
    state = load_checkpoint(folder)
    assert state["progress"]["steps"] > 300
    assert state["replay"]["added"] == 6
    # As if the fault had been mended: what diverged of late no longer counts.
    state["progress"]["diverging"] = 0.0
    save_checkpoint(folder, state)
    assert run(config, folder, resume=True) == 0
    assert rows(folder / METRICS)[-1]["step"] == 800
    assert load_policy(folder).card["trained"]["steps"] == 800


def test_the_command_tells_in_one_line_that_most_tests_diverge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, folder = env_maker, tmp_path / "run"

    def make(env: Any) -> Any:
        return exploding(real(env), set(range(1, 1000)), 4, envs=(0, 1, 2))

    monkeypatch.setattr(training, "env_maker", make)
    outcome = command("train", "debug", "--out", folder, *PLAIN)
    assert outcome.code == 1
    warning, error = outcome.err.splitlines()
    assert warning.startswith("warning: the simulation of env 0 diverged at step 1")
    assert error.startswith("her-robotics: error: 3 of 4 test episodes diverged")
    assert load_checkpoint(folder)["progress"]["steps"] == 100


def test_resuming_a_finished_run_leaves_the_same_policy(
    tmp_path: Path, whole: dict[str, Path]
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(whole["reach"], folder)
    (folder / WEIGHTS).unlink()
    assert run(tiny(CASES["reach"]), folder, resume=True) == 0
    assert_equal(folder, whole["reach"])


def test_the_policy_left_behind_is_the_best_and_its_card_says_how_good(
    whole: dict[str, Path],
) -> None:
    learner = start(tiny(CASES["reach"]))
    learner.load_state_dict(load_checkpoint(whole["reach"]))
    policy, shape, env, card = load_policy(whole["reach"])
    assert same(dict(policy.state_dict()), dict(learner.best_policy))
    assert shape == learner.task.shape
    result = evaluate(learner.test_env, learner.task, policy.act, 3, 0, FINAL)
    assert card["test"] == result.metrics("")
    assert card["trained"]["chosen_at_step"] == learner.progress.best_step
    assert env == tiny(CASES["reach"]).env


def test_a_run_needs_no_film_and_leaves_no_other_files(whole: dict[str, Path]) -> None:
    files = {"config.yaml", METRICS, TIMINGS, WEIGHTS, CARD, CHECKPOINT, CURVE, PREVIOUS, EPISODES}
    assert names_in(whole["reach"]) == files


def test_where_nothing_can_be_drawn_the_run_fails_before_it_starts(tmp_path: Path) -> None:
    config = tiny(video={"enabled": True})
    real = env_maker(config.env)

    def make_env(num_envs: int, **options: Any) -> Any:
        env = real(num_envs, **options)
        if options.get("render_mode"):
            env.render = refuse
        return env

    def refuse() -> None:
        raise RenderingError("no screen")

    with pytest.raises(RenderingError):
        Session(config, tmp_path / "run", make_env)
    assert names_in(tmp_path) == set()


def test_a_wandb_that_fails_costs_a_warning_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CACHE", "DATA", "CONFIG"):
        monkeypatch.setenv(f"WANDB_{name}_DIR", str(tmp_path / "wandb"))
    project = ("--wandb", "offline", "--wandb-project", "not/a:project?")
    outcome = command("train", "debug", "--out", tmp_path / "run", *project)
    assert outcome.code == 0
    assert outcome.err.count("warning: wandb failed") == 1
    assert (tmp_path / "run" / METRICS).read_bytes() == (debug_run().folder / METRICS).read_bytes()


LOSING_WANDB = """
import os, signal, subprocess, sys
from her_robotics.cli import main, training
from tests.runs import watched

def kill(taken, shown):
    if taken == 70:
        listed = ["ps", "-o", "pid=,args=", "--ppid", str(os.getpid())]
        listed = subprocess.run(listed, capture_output=True, text=True, check=True).stdout
        (service,) = [line.split()[0] for line in listed.splitlines() if "wandb-core" in line]
        os.kill(int(service), signal.SIGKILL)

real = training.env_maker
training.env_maker = lambda env: watched(real(env), kill, 2)
sys.exit(main(["train", "debug", "--wandb", "offline", "--video.enabled", "false", *sys.argv[1:]]))
"""


def test_a_wandb_whose_service_dies_is_told_once_and_the_run_goes_on(tmp_path: Path) -> None:
    folders = {f"WANDB_{name}_DIR": str(tmp_path) for name in ("CACHE", "DATA", "CONFIG")}
    # A service that this process has started is named in its environment.
    bare = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    run = subprocess.run(
        [sys.executable, "-c", LOSING_WANDB, "--out", str(tmp_path / "run")],
        env={**bare, **folders, "PYTHONPATH": str(Path(__file__).parent.parent)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert run.stderr.count("warning: wandb failed") == 1
    assert "Traceback" not in run.stderr
    assert (tmp_path / "run" / METRICS).read_bytes() == (debug_run().folder / METRICS).read_bytes()


def test_a_disk_that_refuses_checkpoints_costs_the_checkpoint_and_not_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    # With these layers a checkpoint is larger than all that is left behind.
    with disk_full_after(60_000):
        assert run(tiny(agent={"hidden": [64, 64]}), folder) == 0
    assert "no checkpoint was written" in capsys.readouterr().err
    assert not (folder / CHECKPOINT).exists()
    assert [row["step"] for row in rows(folder / METRICS)] == [200, 400, 600]


@pytest.mark.parametrize("limit", [500, 1500, 3000])
def test_a_full_disk_is_told_in_one_line(limit: int, tmp_path: Path) -> None:
    with disk_full_after(limit):
        outcome = command("train", "debug", "--out", tmp_path / "run", *PLAIN)
    assert outcome.code in (1, 2)
    assert outcome.err.splitlines()[-1].startswith("her-robotics: error: ")
    assert not list(tmp_path.rglob("*partial*"))


def test_episodes_are_written_as_they_come_also_where_checkpoints_are_seldom(
    tmp_path: Path, whole: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    config, folder = tiny(REACH, train={"checkpoint_seconds": 1e6}), tmp_path / "run"
    saved: list[int] = []

    def save(checkpoints: Checkpoints, state: Any, agree: Any) -> int:
        saved.append(real(checkpoints, state, agree))
        return saved[-1]

    real = Checkpoints.save
    monkeypatch.setattr(Checkpoints, "save", save)
    shape = start(config).task.shape
    monkeypatch.setattr(episode_files, "LARGEST", 3 * 4 * shape.floats)
    assert run(config, folder) == 0
    assert len(saved) == 1
    assert saved[0] <= (folder / CHECKPOINT).stat().st_size + episode_files.LARGEST
    assert load_checkpoint(folder)["replay"]["added"] == 12
    assert (folder / METRICS).read_bytes() == (whole["reach"] / METRICS).read_bytes()


def spoil_config(folder: Path) -> None:
    text = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(text.replace("capacity: 10000", "capacity: 200"))


def spoil_sizes(folder: Path) -> None:
    text = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(text.replace("task: fetch_reach", "task: fetch_push"))


def spoil_checkpoint(folder: Path) -> None:
    save_checkpoint(folder, {"progress": load_checkpoint(folder)["progress"]})


@pytest.mark.parametrize("spoil", [spoil_config, spoil_sizes, spoil_checkpoint])
def test_a_checkpoint_that_does_not_fit_is_refused_in_one_line(
    spoil: Callable[[Path], None], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(debug_run().folder, folder)
    spoil(folder)
    metrics = (folder / METRICS).read_bytes()
    message = the_one_line(command("train", "--resume", folder))
    assert CHECKPOINT in message
    assert (folder / METRICS).read_bytes() == metrics


LONGER = ("--train.steps", 600)


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs that have come to their end at half of the steps of ``whole``, or at a third of them."""
    folders = {name: tmp_path_factory.mktemp("short") / name for name in CASES}
    for (name, base), steps in zip(CASES.items(), (300, 200), strict=True):
        assert run(tiny(base, train={"steps": steps}), folders[name]) == 0
    return folders


@pytest.mark.parametrize("name", CASES)
def test_a_run_that_goes_on_to_more_steps_equals_one_that_was_to_make_them(
    name: str, tmp_path: Path, whole: dict[str, Path], short: dict[str, Path]
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(short[name], folder)
    tested = [row["step"] for row in rows(folder / METRICS)]
    assert tested == {"reach": [200, 300], "push": [200]}[name], "one at its end, due or not"
    outcome = command("train", "--resume", folder, *LONGER)
    assert outcome.code == 0, outcome.err
    assert_equal(folder, whole[name])
    assert load_policy(folder).card["trained"]["steps"] == 600
    assert read_config(folder) == tiny(CASES[name])
    origin = read_yaml(folder / CONFIG)["provenance"]
    assert origin["before"] == read_yaml(short[name] / CONFIG)["provenance"]
    # The same once more is a run at its end, which it was told nothing new of.
    assert command("train", "--resume", folder, *LONGER).code == 0
    assert_equal(folder, whole[name])
    assert read_yaml(folder / CONFIG)["provenance"] == origin


def test_a_run_that_is_stopped_on_its_way_to_more_steps_still_knows_of_them(
    tmp_path: Path, whole: dict[str, Path], short: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, real = tmp_path / "run", env_maker
    shutil.copytree(short["reach"], folder)
    with monkeypatch.context() as patch:
        patch.setattr(
            training, "env_maker", lambda *given: watched(real(*given), signal_at(60), TRAINING)
        )
        assert command("train", "--resume", folder, *LONGER).code == 130
    assert load_checkpoint(folder)["progress"]["steps"] == 500
    assert command("train", "--resume", folder).code == 0
    assert_equal(folder, whole["reach"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--train.steps", 200), "train.steps = 200 is less than the 300"),
        (("--agent.gamma", 0.9, *LONGER), "agent.gamma = 0.9 is 0.98 in "),
        (("--seed", 1), "train.steps and train.device alone can be changed"),
        (("--train.stops", 600), "--train.stops"),
        (("--train.steps", "many"), "'many'"),
    ],
)
def test_of_a_run_that_is_gone_on_with_nothing_else_can_be_changed(
    options: tuple[object, ...], said: str, short: dict[str, Path]
) -> None:
    folder = short["reach"]
    before = (folder / CONFIG).read_bytes()
    assert said in the_one_line(command("train", "--resume", folder, *options))
    assert (folder / CONFIG).read_bytes() == before
