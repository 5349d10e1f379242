import itertools
import re
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from envs import TASKS
from envs.check import Finding, check_goal_env
from envs.compat import register_gymnasium_robotics
from envs.fetch import FetchVectorEnv

from . import broken_envs, broken_goals
from . import healthy_envs as healthy
from .conftest import MakeEnv

FAULTS: list[tuple[type[gym.Env], str, str]] = [
    (broken_envs.OnePairOnly, "reward-not-vectorised", "(61, 2) gave rewards of shape () instead"),
    (broken_envs.MixesPairs, "reward-not-vectorised", "which alone earns"),
    (broken_envs.AsksForTruth, "reward-not-vectorised", "raised ValueError"),
    (broken_envs.ReadsState, "reward-not-a-function", "after another episode had begun"),
    (broken_envs.ReadsOwnGoal, "reward-not-a-function", "after another episode had begun"),
    (broken_envs.Fickle, "reward-not-a-function", "compute_reward at step 1"),
    (broken_envs.Overwrites, "reward-not-a-function", "overwrote the desired goal ["),
    (broken_envs.NeedsInfo, "reward-not-a-function", "KeyError('effort')"),
    (broken_envs.HeedsInfo, "reward-not-a-function", "with an empty one"),
    (
        broken_envs.RewardDrawsChance,
        "reward-not-a-function",
        "turned out otherwise (observation differs",
    ),
    (broken_envs.LagsBehind, "reward-of-current-goal", "paid -1"),
    (broken_envs.ChargesEffort, "reward-differs-from-step", "step 1 of the episode seeded 0 paid"),
    (broken_goals.LeavesSpace, "outside-space", "achieved_goal[1] was 1.047 at step 2"),
    (broken_goals.ShowsNan, "outside-space", "observation[3] was nan"),
    (broken_goals.WrongShape, "outside-space", "desired_goal of shape (1, 2)"),
    (broken_goals.WrongType, "outside-space", "type float64 where its space says (2,) and int64"),
    (broken_envs.ForgetsSeed, "non-deterministic-seeding", "observation differs by up to"),
    (broken_envs.KeepsSpeed, "non-deterministic-seeding", "at step 0"),
    (broken_envs.EndsOnSuccess, "early-termination", "reached its goal and was terminated"),
    (broken_envs.EndsOnSuccessSilently, "early-termination", "reached its goal and was terminated"),
    (
        broken_envs.WouldEndOnSuccess,
        "early-termination",
        "compute_terminated(goal, goal, {}) is true",
    ),
    (
        broken_envs.FarFromSuccess,
        "early-termination",
        "when its goal was set to what step 6 achieves",
    ),
    (broken_envs.UnevenEnds, "variable-horizon", "was truncated after 5 steps"),
    (broken_envs.Endless, "variable-horizon", "after 2000 steps"),
    (broken_envs.Falls, "variable-horizon", "was terminated short of its goal"),
    (broken_envs.MovesGoal, "goal-changes-within-episode", "step 7 of the episode seeded 0"),
    (broken_goals.ShowsGoal, "goal-visible-in-observation", "observation[3] at step 1"),
    (broken_goals.ShowsNearness, "goal-visible-in-observation", "observation[3] at step 1"),
    (broken_goals.ShowsFirstGoal, "goal-visible-in-observation", "foretold 100.0% of the variance"),
    (broken_goals.AchievesByGoal, "goal-visible-in-observation", "achieved_goal[0] at step 1"),
    (broken_goals.DrawsGoal, "goal-drawn-in-pixels", "of 576 pixels changed"),
    (broken_goals.ShowsBox, "not-a-goal-env", "the observation space is Box(-5.0, 5.0, (4,)"),
    (broken_goals.LacksDesired, "not-a-goal-env", "needs all three of observation, achieved_goal"),
    (broken_goals.GoalsOfTwoShapes, "not-a-goal-env", "has shape (3,) and desired_goal (2,)"),
    (broken_goals.DiscreteGoals, "not-a-goal-env", "the space of desired_goal is Discrete(9)"),
    (broken_goals.LacksReward, "not-a-goal-env", "there is no compute_reward"),
    (broken_goals.FailsAtReset, "env-fails", "reset(seed=0) raised OSError (the robot is asleep)"),
    (broken_goals.FailsAtStep, "env-fails", "step 4 after reset(seed=0) raised RuntimeError,"),
    (broken_goals.FailsAtReward, "env-fails", "raised KeyError ('unknown goal')"),
    (broken_goals.FailsAtSecondSeed, "env-fails", "reset(seed=0) raised ValueError (seed used up)"),
    (broken_goals.StepsInFour, "env-fails", "not enough values to unpack (expected 5, got 4)"),
]
HEALTHY = [
    healthy.Healthy,
    healthy.FixedGoal,
    healthy.Narrow,
    healthy.Follower,
    healthy.SameArrays,
]


@pytest.mark.parametrize("kind", HEALTHY)
def test_a_healthy_env_is_checked_whole_and_nothing_found(kind: type[gym.Env]) -> None:
    assert check_goal_env(kind()) == ([], [])


@pytest.mark.parametrize(("kind", "name", "seen"), FAULTS, ids=[f[0].__name__ for f in FAULTS])
def test_a_broken_env_gets_its_own_finding_alone(kind: type[gym.Env], name: str, seen: str) -> None:
    findings = check_goal_env(kind()).findings
    assert [finding.name for finding in findings] == [name]
    assert findings[0].pixels_only == (name == "goal-drawn-in-pixels")
    assert seen in findings[0].explanation
    assert_one_sentence(findings[0].explanation)


def assert_one_sentence(text: str) -> None:
    assert text.endswith(".")
    assert "\n" not in text
    assert not re.search(r"[.!?]\s+[A-Z]", text)


def test_an_env_with_two_faults_gets_both_findings() -> None:
    class Both(broken_goals.ShowsGoal, broken_envs.EndsOnSuccess):
        pass

    names = {finding.name for finding in check_goal_env(Both()).findings}
    assert names == {"goal-visible-in-observation", "early-termination"}


@pytest.mark.parametrize("thing", [None, 3, "FetchPush-v4", object(), gym.Env()])
def test_what_is_no_goal_env_is_told_so(thing: Any) -> None:
    report = check_goal_env(thing)
    assert [finding.name for finding in report.findings] == ["not-a-goal-env"]
    assert report.unchecked == ["Nothing else could be checked."]


ZEROS = dict.fromkeys(("observation", "achieved_goal", "desired_goal"), np.zeros(2))
NO_NUMBER = ZEROS["observation"] * np.nan


@pytest.mark.parametrize(
    "shown",
    [
        ZEROS,
        None,
        {},
        ZEROS | {"observation": [[1], [1, 2]]},
        ZEROS | {"desired_goal": "there"},
        ZEROS | {"desired_goal": NO_NUMBER},
        ZEROS | {"achieved_goal": NO_NUMBER + 1j},
    ],
)
def test_garbage_is_found_fault_with_and_never_raises(shown: Any) -> None:
    paid, infos = (0.0, None, "x", NO_NUMBER), ({}, None, {"is_success": None}, {"success": []})
    for values in itertools.product(paid, infos, (0.0, None, "x", NO_NUMBER, print)):
        findings = check_goal_env(broken_goals.Garbage(shown, *values), episodes=2).findings
        assert findings
        for finding in findings:
            assert_one_sentence(finding.explanation)


def test_what_cannot_be_checked_is_said_and_why() -> None:
    report = check_goal_env(healthy.HiddenGoal(), episodes=2)
    assert report.findings == []
    assert len(report.unchecked) == 3, report.unchecked
    for sentence in report.unchecked:
        assert_one_sentence(sentence)
    rewards, success, pictures = report.unchecked
    assert "in 2 random episodes" in rewards
    assert "no random episode reached its goal" in success
    assert "not made with render_mode='rgb_array'" in pictures


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (healthy.Grainy, "two pictures of the same moment differ"),
        (healthy.HiddenFixedGoal, "the goal was the same after all of 200 resets"),
    ],
)
def test_an_env_that_withstands_a_check_is_not_called_healthy_in_it(
    kind: type[gym.Env], reason: str
) -> None:
    report = check_goal_env(kind())
    assert report.findings == []
    assert any(reason in sentence for sentence in report.unchecked)


def test_checks_that_a_reward_without_one_value_would_mislead_are_left_out() -> None:
    unchecked = check_goal_env(broken_envs.Fickle()).unchecked
    assert len(unchecked) == 2
    assert all("because of reward-not-a-function" in sentence for sentence in unchecked)


def test_wrappers_are_checked_with_the_env() -> None:
    mended = gym.wrappers.TimeLimit(broken_envs.Endless(), 20)
    assert check_goal_env(mended) == ([], [])
    skewed = gym.wrappers.TransformReward(healthy.Healthy(), lambda reward: 2.0 * reward)
    assert [f.name for f in check_goal_env(skewed).findings] == ["reward-differs-from-step"]


def test_the_same_seed_gives_the_same_report_and_leaves_the_env_as_it_was() -> None:
    env, fresh = healthy.FixedGoal(), healthy.FixedGoal()
    env.action_space.seed(0)
    fresh.action_space.seed(0)
    assert check_goal_env(env, seed=5) == check_goal_env(env, seed=5)
    np.testing.assert_array_equal(env.goal, [0.5, 0.5])
    np.testing.assert_array_equal(env.action_space.sample(), fresh.action_space.sample())


@pytest.mark.parametrize("arguments", [{"episodes": 1}, {"seed": -1}])
def test_arguments_that_make_no_check_are_refused(arguments: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="2 or more episodes and a seed of 0 or more"):
        check_goal_env(healthy.Healthy(), **arguments)


def check_task(env_id: str, **options: Any) -> list[Finding]:
    env = gym.make(env_id, render_mode="rgb_array", width=64, height=64, **options)
    findings, unchecked = check_goal_env(env, episodes=3)
    env.close()
    assert unchecked == []
    return findings


@pytest.mark.parametrize("task", TASKS)
def test_our_tasks_are_sound_and_their_pictures_too_without_the_marker(task: str) -> None:
    assert check_task(TASKS[task].id, show_goal=False) == []


@pytest.mark.parametrize("options", [{}, {"reward_type": "dense", "goal": "gripper"}])
def test_with_the_marker_our_tasks_harm_pictures_alone(options: dict[str, str]) -> None:
    (finding,) = check_task(TASKS["fetch_push"].id, **options)
    assert finding.name == "goal-drawn-in-pixels"
    assert finding.pixels_only


@pytest.mark.filterwarnings("ignore:gymnasium-robotics is patched")
@pytest.mark.parametrize("env_id", ["FetchPush-v4", "HandReach-v3", "PointMaze_UMaze-v3"])
def test_official_envs_harm_pictures_alone(env_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "egl")
    register_gymnasium_robotics()
    env = gym.make(env_id, render_mode="rgb_array")
    findings, unchecked = check_goal_env(env, episodes=3)
    env.close()
    assert [(f.name, f.pixels_only) for f in findings] == [("goal-drawn-in-pixels", True)]
    assert unchecked == []


@pytest.mark.parametrize("task", TASKS)
def test_the_same_seed_gives_the_same_episodes_after_others_too(
    task: str, make_env: MakeEnv
) -> None:
    env = make_env(task, num_envs=2)
    first, _, again = (record(env, seed) for seed in (7, 8, 7))
    np.testing.assert_array_equal(first, again)


def record(env: FetchVectorEnv, seed: int) -> np.ndarray:
    """All that two envs show and pay over 10 steps of random action."""
    generator = np.random.default_rng(seed)
    shown, _ = env.reset(seed=seed)
    rows = [np.concatenate([*shown.values()], axis=1).ravel()]
    for _ in range(10):
        shown, reward, *_ = env.step(generator.uniform(-1.0, 1.0, (2, 4)))
        rows.append(np.concatenate([*shown.values()], axis=1).ravel())
        rows[-1] = np.append(rows[-1], reward)
    return np.concatenate(rows)
