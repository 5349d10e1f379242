"""Learnt dynamics: what they learn, and gradients through what really happened."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
import pytest
import torch
from torch.distributions import Independent, Normal
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from her_robotics.building import read_task
from her_robotics.cli.making import env_maker
from her_robotics.config import EnvConfig
from her_robotics.gradients import infer_noise, reparametrise
from her_robotics.known_mdp import GaussianPolicy, draw, pathwise_loss, rollout
from her_robotics.methods.method import Player, Problem
from her_robotics.methods.on_policy import DISCOUNT
from her_robotics.methods.svg_infinity import Student
from her_robotics.point_env import ROBOT
from her_robotics.types import EpisodeShape, RewardFunction
from her_robotics.world_model import Dynamics, KnownReward, Played, WorldModel, replayed

POINT = env_maker(EnvConfig(task="her_robotics.point_env:PointRobot-v0"))
SHAPE = EpisodeShape(horizon=ROBOT.horizon, observation=4, goal=2, action=2)


class Trial(NamedTuple):
    """A policy, and what is random in the trajectories that it is to be tried in."""

    policy: GaussianPolicy
    state: torch.Tensor
    goal: torch.Tensor
    noise: torch.Tensor
    surprise: torch.Tensor

    def gradient(self, loss: torch.Tensor) -> torch.Tensor:
        return parameters_to_vector(torch.autograd.grad(loss, list(self.policy.parameters())))


def trial(count: int = 5) -> Trial:
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    state, goal, noise = (each.double() for each in draw(ROBOT, count, generator))
    surprise = 0.1 * torch.randn(ROBOT.horizon, count, 4, generator=generator).double()
    return Trial(GaussianPolicy(4, 2, 2, (8,)).double(), state, goal, noise, surprise)


def known(state: torch.Tensor, action: torch.Tensor, deviation: float = 0.3) -> Independent:
    """The point robot's own dynamics, as a model that is not sure of them."""
    mean = ROBOT.step(state, action)
    return Independent(Normal(mean, torch.full_like(mean, deviation)), 1)


def through(given: Trial, dynamics: Dynamics, played: Played) -> torch.Tensor:
    def act(step: int, state: torch.Tensor) -> torch.Tensor:
        return given.policy.act(state[:, :4], given.goal, given.noise[step])

    return replayed(dynamics, act, played)


def loss_of(reached: torch.Tensor, goal: torch.Tensor) -> torch.Tensor:
    return -ROBOT.reward(reached, torch.zeros_like(reached[..., :2]), goal).sum(0).mean()


def untrained() -> WorldModel:
    torch.manual_seed(2)
    model = WorldModel(SHAPE, (16,)).double()
    states = torch.randn(3, 21, 6, dtype=torch.float64).cumsum(1) * 0.1
    model.fit_scales(states)
    return model


def test_with_the_true_dynamics_the_gradient_is_that_of_a_known_mdp() -> None:
    given = trial()
    with torch.no_grad():
        real = rollout(ROBOT, given.policy, given.state, given.goal, given.noise)
    reached = through(given, known, Played(real.state, real.action))
    expected = pathwise_loss(ROBOT, given.policy, given.state, given.goal, given.noise).mean()
    loss = loss_of(reached, given.goal)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(given.gradient(loss), given.gradient(expected))


def surprised(model: WorldModel, given: Trial) -> Played:
    """Trajectories of a model whose noise is ``given.surprise``, under the policy."""
    state = torch.cat([given.state, given.state[:, :2]], dim=-1)
    states, actions = [state], []
    extra = torch.cat([given.surprise, given.surprise[..., :2]], dim=-1)
    for noise, surprise in zip(given.noise, extra, strict=True):
        actions.append(given.policy.act(states[-1][:, :4], given.goal, noise))
        states.append(reparametrise(model(states[-1], actions[-1]), surprise))
    return Played(torch.stack(states), torch.stack(actions))


def test_the_gradient_is_that_of_finite_differences_of_the_models_own_trajectories() -> None:
    given, model = trial(), untrained()
    with torch.no_grad():
        played = surprised(model, given)
    gradient = given.gradient(loss_of(through(given, model, played), given.goal))
    parameters = list(given.policy.parameters())
    here = parameters_to_vector(parameters).detach()
    generator = torch.Generator().manual_seed(3)
    for _ in range(3):
        direction = torch.randn(len(here), generator=generator).double()
        with torch.no_grad():
            losses = []
            for sign in (1.0, -1.0):
                vector_to_parameters(here + sign * 1e-6 * direction, parameters)
                losses.append(loss_of(surprised(model, given).state[1:], given.goal))
            vector_to_parameters(here, parameters)
        slope = (losses[0] - losses[1]) / 2e-6
        torch.testing.assert_close(gradient @ direction, slope, rtol=1e-6, atol=1e-8)


def test_inferred_noise_makes_what_happened_come_true() -> None:
    given, model = trial(), untrained()
    states, actions = torch.randn(2, 7, 6, dtype=torch.float64), torch.randn(7, 2).double()
    gaussian = model(states[0], actions)
    again = reparametrise(gaussian, infer_noise(gaussian, states[1]))
    torch.testing.assert_close(again, states[1], rtol=0, atol=1e-12)
    played = Played(torch.randn(21, 5, 6).double(), torch.randn(20, 5, 2).double())
    reached = through(given, model, played)
    assert torch.equal(reached, played.state[1:]), "values are real, whatever the model says"
    assert given.gradient(reached.sum()).any()


def test_a_model_learns_dynamics_their_slopes_and_how_sure_to_be() -> None:
    torch.manual_seed(0)
    model, noise = WorldModel(SHAPE, (32,)), 0.05

    def transitions(count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        state, action = torch.randn(count, 4), 2.0 * torch.rand(count, 2) - 1.0
        joined = [
            torch.cat([each, each[:, :2]], dim=-1) for each in (state, ROBOT.step(state, action))
        ]
        return joined[0], action, joined[1] + noise * torch.randn(count, 6)

    states, actions, following = transitions(4000)
    model.fit_scales(torch.stack([states, following], dim=1))
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(400):
        rows = torch.randint(len(states), (256,))
        loss = -model(states[rows], actions[rows]).log_prob(following[rows]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    tested, acted, _ = transitions(200)
    gaussian = model(tested, acted)
    error = (gaussian.mean[:, :4] - ROBOT.step(tested[:, :4], acted)).square().mean().sqrt()
    assert error < 0.02
    assert gaussian.stddev[0].detach().numpy() == pytest.approx(np.full(6, noise), rel=0.15)
    ours = slopes(lambda action: model(tested, action).mean[:, :4], acted)
    theirs = slopes(lambda action: ROBOT.step(tested[:, :4], action), acted)
    assert (ours - theirs).square().mean().sqrt() < 0.3 * theirs.square().mean().sqrt()


def slopes(function: Callable[[torch.Tensor], torch.Tensor], action: torch.Tensor) -> torch.Tensor:
    """d x'_k / d a of every row, ``(4, n, a)``."""
    given = action.clone().requires_grad_()
    outputs = function(given)
    columns = [
        torch.autograd.grad(outputs[:, k].sum(), given, retain_graph=True)[0] for k in range(4)
    ]
    return torch.stack(columns)


def goals(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    achieved, desired = torch.randn(2, 3, count, 3, generator=generator, dtype=torch.float64)
    return achieved.requires_grad_(), desired


def fetch_reward(kind: Literal["dense", "sparse"]) -> RewardFunction:
    env = env_maker(EnvConfig(task="fetch_reach", reward=kind))(1)
    task = read_task(env)
    env.close()
    return task.reward


def test_the_dense_rewards_slope_is_a_step_towards_the_goal() -> None:
    achieved, desired = goals(8)
    width = torch.full((3,), 1e-4, dtype=torch.float64)
    judged = KnownReward.apply(fetch_reward("dense"), width, achieved, desired)
    weights = torch.arange(24.0, dtype=torch.float64).view(3, 8)
    (slope,) = torch.autograd.grad((weights * judged).sum(), achieved)
    offset = (desired - achieved).detach()
    distance = offset.norm(dim=-1)
    torch.testing.assert_close(judged, -distance)
    expected = weights[..., None] * offset / distance[..., None]
    torch.testing.assert_close(slope, expected, rtol=1e-6, atol=1e-6)


def test_a_sparse_reward_slopes_only_at_its_edge() -> None:
    desired = torch.zeros(3, 3, dtype=torch.float64)
    achieved = torch.tensor(
        [[0.3, 0.0, 0.0], [0.0505, 0.0, 0.0], [0.01, 0.0, 0.0]], dtype=torch.float64
    ).requires_grad_()
    width = torch.full((3,), 1e-3, dtype=torch.float64)
    judged = KnownReward.apply(fetch_reward("sparse"), width, achieved, desired)
    (slope,) = torch.autograd.grad(judged.sum(), achieved)
    assert judged.tolist() == [-1.0, -1.0, 0.0]
    assert slope.tolist() == [[0.0] * 3, [pytest.approx(-500.0), 0.0, 0.0], [0.0] * 3]


def test_what_is_differentiated_is_the_return_that_was_got() -> None:
    problem = Problem(POINT, 400, hidden=(8,))
    with Player(problem, 3) as player:
        student = Student(problem, player, 0.01, 0.5)
        noise = torch.randn(20, 3, 2)
        steps = iter(noise)
        episodes = player.play(lambda obs: student._act(obs, next(steps)))
        rewards = player.rewards(episodes)
        value = student.value(episodes, noise)
    expected = rewards @ DISCOUNT ** np.arange(20)
    assert value.detach().numpy() == pytest.approx(expected, rel=1e-5)
    assert (
        parameters_to_vector(torch.autograd.grad(value.sum(), list(student.policy.parameters())))
        .isfinite()
        .all()
    )
