"""Deep Q-learning: its targets and updates by hand, and what it makes of hindsight."""

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from her_robotics.agents import DQN
from her_robotics.config import AgentConfig
from her_robotics.errors import UserError
from her_robotics.evaluate import judge
from her_robotics.relabel import STRATEGIES
from her_robotics.replay import Replay
from her_robotics.rollout import play
from her_robotics.shipped import load_task_config
from her_robotics.strict import from_mapping, merge, to_mapping
from her_robotics.types import Batch, EpisodeShape, GoalObs

from .runs import FLIP, Config, reports_of, start, tiny

SHAPE = EpisodeShape(horizon=6, observation=5, goal=3, action=1, choices=4)
CONFIG = AgentConfig(name="dqn", hidden=(32,), gamma=0.9, tau=0.05, clip_target=False)


def build(**changes: object) -> DQN:
    torch.manual_seed(0)
    agent = DQN(SHAPE, replace(CONFIG, **changes))
    for parameter in agent.target_critic.parameters():  # so that the two can be told apart
        parameter.data += 0.1 * torch.randn_like(parameter)
    return agent


def batch(size: int = 64, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    return Batch(
        observation=draw(2, size, SHAPE.observation),
        achieved_goal=draw(2, size, SHAPE.goal),
        goal=draw(size, SHAPE.goal),
        action=torch.randint(4, (size, 1), generator=generator).float(),
        reward=-(torch.rand(size, generator=generator) < 0.7).float(),
    )


def following(agent: DQN, given: Batch) -> torch.Tensor:
    return agent.policy.encode(given.observation[1], given.achieved_goal[1], given.goal)


def test_a_target_is_the_reward_and_the_discounted_greatest_next_value() -> None:
    agent, given = build(), batch()
    state_goal = following(agent, given)
    values = agent.target_critic(state_goal)
    assert len(values.argmax(dim=1).unique()) > 1
    expected = [float(r + 0.9 * max(row)) for r, row in zip(given.reward, values, strict=True)]
    torch.testing.assert_close(agent.targets(state_goal, given.reward), torch.tensor(expected))


def test_double_q_lets_the_critic_choose_and_the_target_judge() -> None:
    agent, given = build(double_q=True), batch()
    state_goal = following(agent, given)
    best = agent.policy.critic(state_goal).argmax(dim=1)
    values = agent.target_critic(state_goal)
    assert (best != values.argmax(dim=1)).any()
    expected = given.reward + 0.9 * values[torch.arange(64), best]
    torch.testing.assert_close(agent.targets(state_goal, given.reward), expected)


def test_targets_are_clipped_to_what_a_return_can_be() -> None:
    agent = build(clip_target=True)
    state_goal = torch.randn(8, agent.policy.state_goal_size)
    for bias, value in ((1e3, 0.0), (-1e3, -10.0)):
        agent.target_critic.layers[-1].bias.data.fill_(bias)
        torch.testing.assert_close(agent.targets(state_goal, -torch.ones(8)).unique().item(), value)


@pytest.mark.parametrize("norm", ["none", "layer"])
def test_an_update_is_a_step_of_adam_on_the_taken_actions_squared_errors(norm: str) -> None:
    agent, given = build(critic_norm=norm), batch()
    twin = build(critic_norm=norm)
    optimizer = torch.optim.Adam(twin.policy.critic.parameters(), CONFIG.critic_lr)
    followed = agent.target_critic.layers[0].weight.clone()
    metrics = agent.update(given)
    target = twin.targets(following(twin, given), given.reward)
    now = twin.policy.encode(given.observation[0], given.achieved_goal[0], given.goal)
    taken = twin.policy.critic(now)[torch.arange(64), given.action[:, 0].long()]
    loss = (taken - target).square().mean()
    loss.backward()
    optimizer.step()
    assert float(metrics["critic_loss"]) == pytest.approx(loss.item(), rel=1e-5)
    for ours, theirs in zip(
        agent.policy.critic.parameters(), twin.policy.critic.parameters(), strict=True
    ):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
    moved = 0.05 * agent.policy.critic.layers[0].weight + 0.95 * followed
    torch.testing.assert_close(agent.target_critic.layers[0].weight, moved)


def test_the_greedy_action_is_the_index_of_the_greatest_value() -> None:
    agent, generator = build(), np.random.default_rng(0)
    obs = GoalObs(*(generator.normal(size=(50, size)) for size in (5, 3, 3)))
    actions = agent.act(obs)
    arrays = [torch.as_tensor(array, dtype=torch.float32) for array in obs]
    values = agent.policy.critic(agent.policy.encode(*arrays))
    assert actions.shape == (50, 1)
    assert actions.dtype == np.float32
    assert actions[:, 0].tolist() == values.argmax(dim=1).tolist()
    assert len(np.unique(actions)) > 1


def test_a_restored_agent_goes_on_bit_for_bit() -> None:
    original, restored = build(), build(hidden=(32,), critic_lr=1e-3)
    for index in range(5):
        original.update(batch(seed=index))
    file = io.BytesIO()
    torch.save(original.state_dict(), file)
    file.seek(0)
    restored.load_state_dict(torch.load(file))
    for index in range(5, 10):
        one, other = original.update(batch(seed=index)), restored.update(batch(seed=index))
        assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_there_are_no_choices_among_continuous_actions() -> None:
    with pytest.raises(ValueError, match="continuous"):
        DQN(EpisodeShape(6, 5, 3, 2), CONFIG)
    with pytest.raises(ValueError, match="4 choices has width 1, not 2"):
        EpisodeShape(6, 5, 3, 2, choices=4)


def test_choices_are_stored_as_made_and_relabelled_with_the_bits_that_they_flipped() -> None:
    learner = start(tiny(FLIP))
    generator, task, made = np.random.default_rng(0), learner.task, []

    def act(obs: GoalObs) -> np.ndarray:
        made.append(generator.integers(task.shape.choices, size=(2, 1)).astype(np.float32))
        return made[-1]

    episodes = play(learner.env, task.shape.horizon, [1, 2], act)
    np.testing.assert_array_equal(episodes.action, np.stack(made, axis=1))
    replay = Replay(task.shape, 100, STRATEGIES["future"], 1e9, task.reward, seed=0)
    replay.add(episodes)
    drawn = replay.sample(400)
    flipped = (drawn.achieved_goal[0] != drawn.achieved_goal[1]).float()
    none = (drawn.action[:, 0] == 5).float()
    assert 0 < none.sum() < 400
    torch.testing.assert_close(flipped.sum(dim=1), 1.0 - none)
    assert torch.equal(flipped.argmax(dim=1)[none == 0].float(), drawn.action[none == 0, 0])
    reached = (drawn.goal == drawn.achieved_goal[1]).all(dim=1)
    assert torch.equal(drawn.reward, reached.float() - 1.0)
    assert 0 < reached.sum() < 400


def flipping(bits: int, steps: int, **changes: Any) -> Config:
    """The shipped settings, for fewer bits."""
    few = {"env": {"bits": bits}, "train": {"steps": steps}, "eval": {"every": steps}}
    shipped = to_mapping(load_task_config("bit_flip"))
    return from_mapping(Config, merge(merge(shipped, few), changes))


def test_five_bits_are_learnt_within_seconds() -> None:
    learner = start(flipping(5, 4000))
    (report,) = reports_of(learner)
    assert report.evaluation.success_rate == 1.0
    assert report.evaluation.success_any == 1.0
    played = play(learner.test_env, 5, list(range(100)), learner.agent.act)
    needed = (played.achieved_goal[:, 0] != played.desired_goal).sum(axis=1)
    taken = judge(played, learner.task).mean_return
    assert taken == pytest.approx(-np.maximum(needed - 1, 0).mean()), "no step is wasted"


@pytest.mark.parametrize(
    ("base", "changes", "said"),
    [
        (
            {},
            {"agent": {"name": "dqn"}},
            "dqn does not fit fetch_reach, .* continuous .* ddpg or svg or dagger$",
        ),
        (FLIP, {"agent": {"name": "ddpg"}}, "ddpg does not fit bit_flip, .* 6 discrete .* dqn$"),
        (FLIP, {"agent": {"action_l2": 0.5}}, r"agent\.action_l2 = 0\.5 .* dqn: leave it at 0\.1"),
        (FLIP, {"agent": {"actor_lr": 0.5}}, r"agent\.actor_lr = 0\.5 "),
        (FLIP, {"agent": {"batch_norm": True}}, r"agent\.batch_norm = True "),
        ({}, {"agent": {"double_q": True}}, r"agent\.double_q = True .* ddpg: leave it at False"),
        (FLIP, {"exploration": {"sigma": 0.3}}, r"sigma = 0\.3 .* discrete .* leave it at 0\.2"),
        (FLIP, {"exploration": {"guide": {"name": "mover"}}}, r"guide\.name = mover .* at none"),
        ({}, {"env": {"bits": 5}}, r"env\.bits .* bit_flip; fetch_reach has none"),
        (FLIP, {"env": {"goal": "joints"}}, r"env\.goal .* Fetch tasks; bit_flip has none"),
        (FLIP, {"env": {"distance_threshold": 0.1}}, r"env\.distance_threshold .* bit_flip"),
    ],
)
def test_settings_that_mean_nothing_are_refused(
    base: dict[str, Any], changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError, match=said) as error:
        start(tiny(base, **changes) if base else tiny(**changes))
    assert len(str(error.value).splitlines()) == 1
