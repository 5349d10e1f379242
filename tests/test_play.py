"""Watching policies: `play`, goals given by hand, and the policies that ship with the project."""

import re
from pathlib import Path

import numpy as np
import pytest

from envs.shipped import trained_policies
from her_robotics.building import read_task
from her_robotics.cli.policies import find_run
from her_robotics.errors import UserError
from her_robotics.saved_policy import load_policy
from her_robotics.types import GoalObs
from her_robotics.video import VideoError, Window, watch

from .conftest import MakeEnv
from .official import OFFICIAL_IDS
from .runs import command, debug_run, the_one_line

GOAL = (1.3, 0.8, 0.6)
SMALL = {"render_mode": "rgb_array", "width": 32, "height": 32, "max_episode_steps": 3}
SHIPPED = pytest.mark.parametrize("task", trained_policies())


def rest(obs: GoalObs) -> np.ndarray:
    return np.zeros((len(obs.observation), 4), np.float32)


@pytest.fixture(autouse=True)
def _no_display(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)


def test_without_a_display_play_says_so_and_how_every_episode_ended() -> None:
    outcome = command("play", debug_run().folder, "--episodes", "3", "--size", "32")
    assert outcome.code == 0, outcome.err
    first, *episodes = outcome.out.splitlines()
    assert "no display" in first
    assert "record" in first
    assert [line.split(":")[0] for line in episodes] == ["episode 1", "episode 2", "episode 3"]
    assert all("reached" in line or "missed" in line for line in episodes)


def test_a_window_needs_a_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    assert not Window.available()
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    assert Window.available()


def test_a_goal_given_by_hand_is_the_one_pursued(make_env: MakeEnv) -> None:
    env = make_env("fetch_reach", num_envs=2, **SMALL)
    asked: list[np.ndarray] = []

    def act(obs: GoalObs) -> np.ndarray:
        asked.append(obs.desired_goal)
        return rest(obs)

    seen = list(watch(env, read_task(env), act, [0, 1], "hand", np.array(GOAL)))
    assert len(seen) == 4
    for goals in asked:
        np.testing.assert_array_equal(goals, [GOAL, GOAL])
    achieved = env.reset(seed=[0, 1])[0]["achieved_goal"]
    expected = np.linalg.norm(achieved - GOAL, axis=1)
    np.testing.assert_allclose(seen[0].distance, expected)
    np.testing.assert_array_equal(seen[0].reached, expected < 0.05)


@pytest.mark.parametrize("goal", [(1.0,), (1.0, 2.0, 3.0, 4.0), (1.0, np.nan, 0.5)])
def test_what_is_no_goal_is_refused_with_what_one_is(
    make_env: MakeEnv, goal: tuple[float, ...]
) -> None:
    env = make_env("fetch_reach", num_envs=1, **SMALL)
    with pytest.raises(VideoError, match="3 finite numbers"):
        next(watch(env, read_task(env), rest, [0], "hand", np.array(goal)))


def test_a_goal_by_hand_reaches_the_film_and_a_wrong_one_is_told_in_a_line(tmp_path: Path) -> None:
    run, film = debug_run().folder, tmp_path / "film.mp4"
    size = ("--episodes", "1", "--size", "32", "--out", film)
    assert command("record", run, "--goal", *GOAL, *size).code == 0
    assert film.exists()
    for name in ("record", "play"):
        line = the_one_line(command(name, run, "--episodes", "1", "--goal", "1", "2"))
        assert "3 finite numbers" in line


def test_a_run_is_found_by_its_folder_before_a_shipped_policy_by_its_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_run("fetch_reach") == trained_policies()["fetch_reach"]
    Path("fetch_reach").mkdir()
    assert find_run("fetch_reach") == Path("fetch_reach")
    assert find_run("runs/none") == Path("runs/none")
    with pytest.raises(UserError, match=r"fetch_raech.*fetch_push, .*fetch_reach"):
        find_run("fetch_raech")


def test_a_film_of_a_shipped_policy_does_not_go_among_the_assets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = command("record", "fetch_reach", "--episodes", "1", "--size", "32")
    assert outcome.code == 0, outcome.err
    assert Path("fetch_reach.mp4").exists()


@SHIPPED
def test_shipped_policies_are_small_and_say_where_they_are_from(task: str) -> None:
    folder = trained_policies()[task]
    assert sum(file.stat().st_size for file in folder.iterdir()) < 3 * 2**20
    card = load_policy(folder).card
    bare = re.sub("_(image|pixels|pixels_only)$", "", task)
    assert card["env"]["task"] == bare
    assert (card["env"]["goal"] == "image") == (task != bare)
    seen = {"_pixels": "asymmetric", "_pixels_only": "image"}
    assert card["env"].get("observation", "state") == seen.get(task.removeprefix(bare), "state")
    assert card["test"]["episodes"] >= 100
    assert {"seed", "steps"} <= card["trained"].keys()
    assert {"torch", "mujoco"} <= card["provenance"]["versions"].keys()


@SHIPPED
def test_shipped_policies_succeed_here_and_in_the_official_env(task: str) -> None:
    count = 16 if "pixels" in task else 96  # to draw every step takes time
    # Only our own tasks draw goal images.
    for more in ((), ("--env", OFFICIAL_IDS[task])) if task in OFFICIAL_IDS else ((),):
        outcome = command("eval", task, "--episodes", count, *more)
        assert outcome.code == 0, outcome.err
        rate = float(outcome.out.split("success ")[1].split()[0])
        assert rate >= 0.84, outcome.out
