"""The policy that is tested and kept: averaged weights of the one that explores."""

import numpy as np
import pytest
import torch

from her_robotics.evaluate import evaluate
from her_robotics.train import TEST

from .runs import reports_of, same, start, tiny
from .test_ddpg import batch, build, frozen, shown

EVERY_NORM = pytest.mark.parametrize("batch_norm", [False, True], ids=["plain", "batch norm"])


def test_without_averaging_it_is_the_policy_itself() -> None:
    agent = build()
    assert agent.averaged is agent.policy


@EVERY_NORM
def test_it_moves_by_its_share_of_the_way_at_every_update(batch_norm: bool) -> None:
    agent = build(average=0.1, batch_norm=batch_norm)
    for index in range(3):
        before = frozen(agent.averaged.actor)
        agent.update(batch(seed=index))
        for name, value in agent.policy.actor.state_dict().items():
            if value.is_floating_point():
                expected = 0.9 * before[name] + 0.1 * value
                torch.testing.assert_close(agent.averaged.actor.state_dict()[name], expected)


def test_all_but_the_actor_is_shared_with_the_policy() -> None:
    agent = build(average=0.01)
    assert agent.averaged.normalizer is agent.policy.normalizer
    assert agent.averaged.encoder is agent.policy.encoder
    assert agent.averaged.actor is not agent.policy.actor
    assert agent.averaged.state_dict().keys() == agent.policy.state_dict().keys()


def test_averaging_changes_nothing_of_learning() -> None:
    one, other = build(), build(average=0.01)
    other.load_state_dict({**one.state_dict()})
    for index in range(5):
        left, right = one.update(batch(seed=index)), other.update(batch(seed=index))
        assert all(torch.equal(value, right[name]) for name, value in left.items())
    np.testing.assert_array_equal(one.act(shown()), other.act(shown()))


def test_a_restored_agent_has_the_same_average() -> None:
    agent, restored = build(average=0.01), build(average=0.01)
    for index in range(5):
        agent.update(batch(seed=index))
    restored.load_state_dict(agent.state_dict())
    np.testing.assert_array_equal(restored.averaged.act(shown()), agent.averaged.act(shown()))
    assert np.abs(agent.averaged.act(shown()) - agent.act(shown())).max() > 0.0


def test_tests_and_the_kept_weights_are_of_the_average() -> None:
    learner = start(tiny(agent={"average": 0.02}))
    *_, last = reports_of(learner)
    agent, config = learner.agent, learner.config
    everything = (config.eval.episodes, config.seed, TEST)
    of_average = evaluate(learner.test_env, learner.task, agent.averaged.act, *everything)
    of_actor = evaluate(learner.test_env, learner.task, agent.act, *everything)
    assert of_average.final_distance == last.evaluation.final_distance != of_actor.final_distance
    assert learner.progress.best_step == learner.progress.steps
    assert same(learner.best_policy, dict(agent.averaged.state_dict()))
    learner.close()
