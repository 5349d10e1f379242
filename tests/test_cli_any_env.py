"""The command line with envs that are not ours."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from envs.check import check_goal_env
from envs.making import make_by_id
from her_robotics.cli.making import env_maker
from her_robotics.run_folder import METRICS, default_folder, read_config
from her_robotics.saved_policy import WEIGHTS, load_policy
from her_robotics.session import Session

from .broken_envs import OnePairOnly
from .healthy_envs import HORIZON, Healthy, HiddenGoal
from .runs import DEBUG_FILES, command, debug_run, names_in, signal_at, the_one_line, watched

pytestmark = pytest.mark.filterwarnings("ignore:gymnasium-robotics is patched")
OPTIONS = (
    "--wandb disabled --video.enabled false --replay.capacity 5000 --env.num_envs 2 "
    "--agent.hidden 8 8 --exploration.random_episodes 2 --train.batch_size 8 "
    "--train.updates_per_step 0.1 --eval.episodes 3 --eval.num_envs 3"
)
TINY = OPTIONS.split()
SHORT = (*TINY, "--train.steps", "1", "--eval.episodes", "1")
"""A single cycle."""


class Blank(Healthy):
    """Healthy, but asked for a picture it has none."""

    def render(self) -> Any:
        return None


class Sightless(Blank):
    """Of which its metadata say so too."""

    metadata = {"render_modes": []}  # noqa: RUF012


class Stepwise(Healthy):
    """Healthy, with a choice among four directions in place of a continuous action."""

    def __init__(self) -> None:
        super().__init__()
        self.action_space = gym.spaces.Discrete(4)

    def step(self, action: Any) -> Any:
        return super().step(np.array([[1, 0], [-1, 0], [0, 1], [0, -1]])[action])


class EndsSoon(Healthy):
    def step(self, action: np.ndarray) -> Any:
        shown, reward, _, truncated, info = super().step(action)
        return shown, reward, self.steps >= 3, truncated, info


@pytest.fixture(autouse=True, scope="module")
def _registered() -> Iterator[None]:
    """``Cli/<class>-v0``."""
    kinds = (Healthy, HiddenGoal, Blank, Sightless, Stepwise, EndsSoon, OnePairOnly)
    names = [f"Cli/{kind.__name__}-v0" for kind in kinds]
    for name, kind in zip(names, kinds, strict=True):
        gym.register(name, entry_point=kind, max_episode_steps=HORIZON)
    yield
    for name in names:
        del gym.registry[name]


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def trained(folder: Path, env: str, *options: str) -> None:
    """Train as asked, to the end."""
    outcome = command("train", "--env", env, "--out", folder, *options)
    assert outcome.code == 0, outcome.err


def test_an_own_env_in_the_working_folder_trains(tmp_path: Path) -> None:
    text = "import os, gymnasium\nprint('process', os.getpid())\ngymnasium.register('MyEnv-v0', "
    text += f"'{Healthy.__module__}:Healthy', max_episode_steps={HORIZON})\n"
    (tmp_path / "my_module.py").write_text(text)
    code = "import sys; from her_robotics.cli import main; sys.exit(main(sys.argv[1:]))"
    given = ["train", "--env", "my_module:MyEnv-v0", *SHORT, "--env.workers", "1"]
    ended = subprocess.run(
        [sys.executable, "-P", "-c", code, *given],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert len(ended.stderr.splitlines()) == 1, "a line for the one test"
    assert len(set(re.findall(r"process \d+", ended.stdout))) == 3, "a worker to train and to test"
    (run,) = (tmp_path / "runs").iterdir()
    assert re.fullmatch(r"my_module-MyEnv-v0-\d{8}-\d{6}-s0", run.name)
    assert names_in(run) == DEBUG_FILES - {"policy.mp4"}


@pytest.mark.parametrize("env", ["FetchPush-v4", "HandReach-v3", "PointMaze_UMaze-v3"])
def test_official_envs_train(env: str, tmp_path: Path) -> None:
    trained(tmp_path / "run", env, *SHORT)
    assert names_in(tmp_path / "run") == DEBUG_FILES - {"policy.mp4"}
    assert load_policy(tmp_path / "run").env.task == env
    assert "over 1 episodes" in command("eval", tmp_path / "run", "--episodes", 1).out


def test_an_env_of_discrete_actions_trains_by_naming_an_algorithm_for_them(tmp_path: Path) -> None:
    trained(tmp_path / "run", "Cli/Stepwise-v0", *SHORT, "--agent.name", "dqn")
    assert load_policy(tmp_path / "run").shape.choices == 4


def test_a_run_stopped_and_resumed_equals_one_that_was_not(tmp_path: Path) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    trained(whole, "Cli/Healthy-v0", *TINY, "--train.steps", "144", "--eval.every", "48")
    config = read_config(whole)
    make = watched(env_maker(config.env), signal_at(2 * HORIZON + 5), among=2)
    assert Session(config, stopped, make).run() == 130
    assert command("train", "--resume", stopped).code == 0
    for name in (METRICS, WEIGHTS):
        assert (stopped / name).read_bytes() == (whole / name).read_bytes(), name


def test_workers_do_not_change_what_is_learnt(tmp_path: Path) -> None:
    runs = tmp_path / "alone", tmp_path / "shared"
    for workers, run in enumerate(runs):
        options = ("--env.workers", str(workers), "--env.max_episode_steps", "20")
        trained(run, "PointMaze_UMaze-v3", *SHORT, *options)
    alone, shared = ((run / METRICS).read_bytes() for run in runs)
    assert shared == alone


def test_a_policy_is_as_good_in_the_official_env_as_in_ours() -> None:
    ours, official = (
        json.loads(command("eval", debug_run().folder, "--json", "--episodes", "20", *env).out)
        for env in ((), ("--env", "FetchReach-v4"))
    )
    assert (ours.pop("task"), official.pop("task")) == ("fetch_reach", "FetchReach-v4")
    for name in ("final_distance", "mean_return"):  # which float32 and float64 sum up
        assert official.pop(name) == pytest.approx(ours.pop(name), rel=1e-6)
    assert official == ours
    assert ours["success_any"] > 0.0


def test_eval_and_record_play_as_many_episodes_as_they_are_asked_for(tmp_path: Path) -> None:
    trained(tmp_path / "run", "Cli/Healthy-v0", *SHORT)
    assert "over 5 episodes" in command("eval", tmp_path / "run", "--episodes", 5).out
    outcome = command("record", tmp_path / "run", "--episodes", 3, "--size", 64)
    assert outcome.code == 0, outcome.err
    assert "of 3 episodes" in outcome.out


@pytest.mark.parametrize("name", ["HerRobotics/FetchPush-v1", "fetch_push"])
def test_our_own_tasks_may_be_given_by_id(name: str, tmp_path: Path) -> None:
    trained(tmp_path / "run", name, *SHORT, "--env.goal", "joints", "--env.num_threads", "1")
    config = read_config(tmp_path / "run")
    assert (config.env.task, config.env.goal) == ("fetch_push", "joints")


@pytest.mark.parametrize("kind", [Blank, Sightless, HiddenGoal])
def test_an_env_without_pictures_trains_without_a_film(kind: type[gym.Env], tmp_path: Path) -> None:
    trained(tmp_path / "run", f"Cli/{kind.__name__}-v0", *SHORT)


def test_an_early_end_is_told_and_can_be_ignored(tmp_path: Path) -> None:
    given = ("Cli/EndsSoon-v0", *SHORT)
    message = the_one_line(command("train", "--out", tmp_path / "ends", "--env", *given))
    assert "Cli/EndsSoon-v0: an episode terminated at step 3 of 12" in message
    trained(tmp_path / "run", *given, "--env.ignore_termination", "true")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ("FetchPush-v4 --env.goal object", "env.goal our own tasks FetchPush-v4"),
        ("FetchPush-v4 --env.reward dense", "env.reward our own tasks FetchPush-v4"),
        ("FetchPush-v4 --env.num_threads 2", "env.num_threads our own tasks FetchPush-v4"),
        ("FetchPush-v4 --env.randomize.mass 0.1", "env.randomize our own tasks FetchPush-v4"),
        ("FetchPush-v4 --env.task HandReach-v3", "by --env"),
        ("FetchPush-v4 --resume nothing", "--resume"),
        ("Nothing-v0", "cannot make Nothing-v0"),
        (
            "Cli/Healthy-v0 --exploration.guide.name relay",
            "exploration.guide.name = relay Cli/Healthy choose mover or none",
        ),
        ("no_module:MyEnv-v0", "cannot make no_module:MyEnv-v0 'no_module'"),
        (":MyEnv-v0", "cannot make :MyEnv-v0"),
        ("a:b:MyEnv-v0", "cannot make a:b:MyEnv-v0"),
        ("CartPole-v1 --video.enabled false", "CartPole-v1 not a goal env achieved_goal"),
        ("Cli/OnePairOnly-v0", "Cli/OnePairOnly-v0 compute_reward (n, g)"),
        ("Cli/Healthy-v0 --env.max_episode_steps 13", "Cli/Healthy-v0 12 steps 13"),
        ("Cli/Blank-v0", "--video.enabled false"),
        ("Cli/Sightless-v0", "--video.enabled false"),
        ("Cli/HiddenGoal-v0", "--video.enabled false"),
    ],
)
def test_a_mistake_is_told_in_one_line(arguments: str, named: str, nowhere: Path) -> None:
    message = the_one_line(command("train", "--wandb", "disabled", "--env", *arguments.split()))
    for part in named.split(" "):
        assert part in message
    assert names_in(nowhere) == set()


def test_a_policy_for_other_sizes_than_the_env_has_is_refused() -> None:
    message = the_one_line(command("eval", debug_run().folder, "--env", "Cli/Healthy-v0"))
    assert "Cli/Healthy-v0" in message


@pytest.mark.parametrize(
    "env", ["fetch_push", "HerRobotics/FetchPush-v1", "Cli/Healthy-v0", "Cli/HiddenGoal-v0"]
)
def test_check_passes_what_is_fit(env: str) -> None:
    outcome = command("check", env, "--episodes", "2")
    assert outcome.code == 0, outcome.out
    assert outcome.out.splitlines()[-1] == f"{env}: nothing found that breaks hindsight"


@pytest.mark.parametrize("env", ["Cli/OnePairOnly-v0", "Cli/EndsSoon-v0", "CartPole-v1"])
def test_check_tells_what_is_not_in_a_line_a_finding(env: str) -> None:
    outcome = command("check", env)
    assert outcome.code == 1
    report = check_goal_env(make_by_id(env, render_mode="rgb_array"))
    *lines, verdict = outcome.out.splitlines()
    assert len(lines) == len(report.findings) + len(report.unchecked) > 0
    for line, finding in zip(lines, report.findings, strict=False):
        assert line == f"{finding.name}: {finding.explanation}"
    assert verdict.endswith("hindsight")


@pytest.mark.parametrize("env", ["Nothing-v0", "no_module:E-v0", ":E-v0", "a:b:E-v0", "fetch_fly"])
def test_check_of_what_is_not_there_is_refused_in_one_line(env: str) -> None:
    assert f"cannot make {env}" in the_one_line(command("check", env))


def test_the_help_tells_of_any_env_and_of_check() -> None:
    for arguments, words in (
        ("--help", ("train --env ID", "check ENV")),
        ("train --help", ("--env ID", "my_module:MyEnv-v0")),
        ("eval --help", ("--env",)),
        ("check --help", ("ENV", "--episodes", "--seed")),
    ):
        shown = command(*arguments.split()).out
        assert [word for word in words if word not in shown] == []


@pytest.mark.parametrize("env", ["my_module:MyEnv-v0", "Cli/Healthy-v0", "a b:C\\D-v0"])
def test_a_run_folder_is_named_by_what_any_disk_takes(env: str) -> None:
    folder = str(default_folder(env, 3))
    assert re.fullmatch(r"runs/[\w.-]+-v0-\d{8}-\d{6}-s3", folder, re.ASCII)
