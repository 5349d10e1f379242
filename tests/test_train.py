from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from her_robotics.building import build
from her_robotics.checkpoint import load_checkpoint, save_checkpoint
from her_robotics.cli.making import env_maker
from her_robotics.evaluate import evaluate
from her_robotics.learner import Learner
from her_robotics.rollout import NonFiniteError
from her_robotics.run_folder import METRICS
from her_robotics.shipped import load_task_config
from her_robotics.strict import merge
from her_robotics.tracking import JsonLines
from her_robotics.train import FINAL, Report, train
from her_robotics.types import Batch

from .helpers import GoalPoints, RewardedPoints
from .runs import FLIP, PUSH, REACH, after, exploding, reports_of, rows, same, start, tiny

OU = merge(REACH, {"exploration": {"noise": "ornstein_uhlenbeck"}})
NORMS = merge(REACH, {"agent": {"batch_norm": True, "num_critics": 2, "actor_every": 2}})


def trained(
    folder: Path, learner: Learner, stop: Callable[[], bool] = lambda: False, resumed: bool = False
) -> bytes:
    """Train with local metrics and return all that is in their file."""
    tracker = JsonLines(folder, learner.progress.tested_at if resumed else None)
    train(learner, lambda: None, lambda report: tracker.log(report.metrics, report.timings), stop)
    return (folder / METRICS).read_bytes()


def weights(learner: Learner) -> dict[str, Any]:
    return dict(learner.agent.policy.state_dict())


@pytest.mark.parametrize("base", [REACH, PUSH])
def test_the_same_seed_gives_the_same_metrics_to_the_byte(
    base: dict[str, Any], tmp_path: Path
) -> None:
    first, again = start(tiny(base)), start(tiny(base))
    metrics = trained(tmp_path, first)
    assert trained(tmp_path, again) == metrics
    assert same(weights(first), weights(again))
    assert [row["step"] for row in rows(tmp_path / METRICS)] == [200, 400, 600]


def test_a_guide_leads_and_learns_until_its_time_is_over() -> None:
    def learnt(**guide: Any) -> tuple[int, dict[str, Any]]:
        learner = start(tiny(PUSH, exploration={"guide": {"updates": 10_000, **guide}}))
        reports_of(learner)
        assert learner.guide is not None
        return learner.guide.agent.updates, weights(learner)

    (short, one), (whole, other) = learnt(until=200), learnt()
    assert (short, whole) == (100, 600)
    assert not same(one, other)
    assert same(learnt(until=10_000), (whole, other)), "after the end is never"


def test_another_seed_gives_other_metrics(tmp_path: Path) -> None:
    metrics = [trained(tmp_path, start(tiny(seed=seed))).splitlines() for seed in (0, 1)]
    assert all(left != right for left, right in zip(*metrics, strict=True))


@pytest.mark.parametrize("base", [REACH, OU, PUSH, NORMS, FLIP])
@pytest.mark.parametrize("cycles", [1, 3])
def test_a_run_that_was_stopped_and_resumed_equals_one_that_was_not(
    base: dict[str, Any], cycles: int, tmp_path: Path
) -> None:
    config, whole = tiny(base), start(tiny(base))
    expected = trained(tmp_path, whole)
    trained(tmp_path, half := start(config), after(cycles))
    assert half.progress.episodes == cycles * 2
    save_checkpoint(tmp_path, half.state_dict())
    resumed = start(config)
    resumed.load_state_dict(load_checkpoint(tmp_path))
    assert trained(tmp_path, resumed, resumed=True) == expected
    left, right = resumed.state_dict(), whole.state_dict()
    left["progress"]["seconds"] = right["progress"]["seconds"] = 0.0
    assert same(left, right)


def test_how_often_it_is_tested_does_not_change_what_is_learnt() -> None:
    often = {"every": 100, "episodes": 7, "num_envs": 2}
    left, right = start(tiny()), start(tiny(eval=often))
    assert len(reports_of(left)) == 3
    assert len(reports_of(right)) == 6
    assert same(weights(left), weights(right))


def test_how_many_tests_are_played_at_once_does_not_change_their_results() -> None:
    together, rounds = start(tiny()), start(tiny(eval={"num_envs": 2}))
    for left, right in zip(reports_of(together), reports_of(rounds), strict=True):
        assert left.metrics == pytest.approx(right.metrics, abs=1e-4)
    assert same(weights(together), weights(rounds))


def test_physics_threads_do_not_change_what_is_learnt() -> None:
    one, two = start(tiny(PUSH)), start(tiny(PUSH, env={"num_threads": 2}))
    assert [report.metrics for report in reports_of(one)] == [
        report.metrics for report in reports_of(two)
    ]
    assert same(weights(one), weights(two))


@settings(deadline=None, max_examples=5)
@given(
    rate=st.sampled_from([0.0, 0.013, 1 / 3, 0.1]),
    num_envs=st.integers(1, 3),
    steps=st.integers(1, 500),
)
def test_fractions_of_updates_add_up(rate: float, num_envs: int, steps: int) -> None:
    config = tiny(
        env={"num_envs": num_envs},
        train={"updates_per_step": rate, "steps": steps},
        eval={"every": 10**6, "episodes": 1},
    )
    learner = start(config)
    made: list[tuple[int, int]] = []
    train(
        learner,
        lambda: made.append((learner.progress.steps, learner.progress.updates)),
        lambda report: None,
        lambda: False,
    )
    cycle = 50 * num_envs
    assert [taken for taken, _ in made] == list(range(cycle, steps + cycle, cycle))
    assert all(updates == int(taken * rate) for taken, updates in made)
    assert learner.agent.updates == learner.progress.updates


def test_stopping_is_asked_after_every_cycle_and_obeyed() -> None:
    learner, cycles = start(tiny()), []
    train(learner, lambda: cycles.append(learner.progress.steps), lambda report: None, after(2))
    assert cycles == [100, 200]
    train(learner, lambda: cycles.append(0), lambda report: None, lambda: True)
    assert cycles == [100, 200]


def test_the_last_cycle_is_tested_though_it_is_not_due() -> None:
    learner = start(tiny(train={"steps": 250}, eval={"every": 200}))
    assert [report.metrics["step"] for report in reports_of(learner)] == [200, 300]


def test_the_best_policy_is_that_of_the_best_test_and_of_equals_the_latest() -> None:
    quick = {"agent": {"hidden": [64, 64], "tau": 0.05}, "eval": {"every": 100, "episodes": 20}}
    learner = start(tiny(train={"updates_per_step": 1.0}, **quick))
    tested: list[dict[str, Any]] = []
    results: list[float] = []

    def on_report(report: Report) -> None:
        results.append(report.metrics["test/success_rate"])
        tested.append({name: value.clone() for name, value in weights(learner).items()})

    train(learner, lambda: None, on_report, lambda: False)
    best = max(index for index, rate in enumerate(results) if rate == max(results))
    assert [same(learner.best_policy, each) for each in tested].index(True) == best
    assert learner.progress.best_step == 100 * (best + 1)
    assert learner.progress.best_success == max(results) > min(results)


def test_relabelled_rewards_are_those_of_the_goals_they_come_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shares = {}
    for strategy in ("none", "future"):
        learner = start(tiny(replay={"strategy": strategy}))
        batches = spy(learner, monkeypatch)
        reports_of(learner)
        assert len(batches) == learner.progress.updates == 120
        for batch in batches:
            expected = learner.task.reward(batch.achieved_goal[1].numpy(), batch.goal.numpy())
            np.testing.assert_array_equal(batch.reward.numpy(), expected)
        rewards = np.concatenate([batch.reward for batch in batches])
        assert set(np.unique(rewards)) <= {-1.0, 0.0}
        shares[strategy] = (rewards == 0.0).mean()
    assert shares["future"] > 0.1 > shares["none"]


def spy(learner: Learner, monkeypatch: pytest.MonkeyPatch) -> list[Batch]:
    """All batches that the agent of a learner comes to see."""
    batches: list[Batch] = []
    update = learner.agent.update

    def noting(batch: Batch) -> dict:
        batches.append(batch)
        return update(batch)

    monkeypatch.setattr(learner.agent, "update", noting)
    return batches


def test_an_action_that_is_not_finite_stops_training_by_env_and_step() -> None:
    learner = start(tiny())
    with torch.no_grad():
        next(learner.agent.policy.actor.parameters()).fill_(torch.nan)
    with pytest.raises(NonFiniteError, match=r"action .* env 0 at step 0$"):
        reports_of(learner)
    assert learner.progress.steps == 100, "the first cycle's actions are random"


@pytest.mark.parametrize("num_envs", [1, 2, 16])
def test_where_all_episodes_diverge_training_ends_within_a_few(num_envs: int) -> None:
    config = tiny(env={"num_envs": num_envs}, train={"steps": 10**6}, eval={"every": 10**6})
    every_step, all_of_them = set(range(1, 10**4)), tuple(range(num_envs))
    make_env = exploding(env_maker(config.env), every_step, num_envs, all_of_them)
    learner = build(config, make_env)
    with pytest.raises(NonFiniteError, match="most of the last 10"):
        reports_of(learner)
    progress = learner.progress
    assert progress.diverged == progress.episodes <= max(num_envs, 8)
    assert (len(learner.replay), progress.updates) == (0, 0)


def test_fetch_reach_is_learnt_within_a_thousand_steps() -> None:
    config = load_task_config("fetch_reach")
    assert config.train.steps <= 1000
    learner = start(config)
    reports_of(learner)
    learner.agent.policy.load_state_dict(learner.best_policy)
    result = evaluate(learner.test_env, learner.task, learner.agent.act, 100, 0, FINAL)
    assert result.episodes == 100
    assert result.success_rate >= 0.95
    learner.close()


@pytest.mark.parametrize("points", [GoalPoints, RewardedPoints], ids=["unbounded", "0 or 1"])
def test_a_task_of_ones_own_is_learnt_whatever_its_rewards(points: type[GoalPoints]) -> None:
    config = tiny(
        env={"num_envs": 4},
        agent={"hidden": [64, 64], "gamma": 0.9, "tau": 0.05, "action_l2": 0.1},
        train={"steps": 900, "batch_size": 128, "updates_per_step": 1.0},
        eval={"every": 900, "episodes": 50, "num_envs": 20},
    )
    (report,) = reports_of(build(config, points))
    assert report.evaluation.episodes == 50
    assert report.evaluation.success_rate >= 0.9
