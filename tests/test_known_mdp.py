"""A known MDP, and policy gradients through it."""

from collections.abc import Callable
from itertools import islice

import pytest
import torch
from torch import nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from her_robotics.known_mdp import (
    DeterministicPolicy,
    GaussianPolicy,
    Loss,
    draw,
    improve,
    pathwise_loss,
    reinforce_loss,
    rollout,
)
from her_robotics.point_robot import PointRobot

from .estimates import errors

ROBOT = PointRobot(horizon=5)
POLICIES = pytest.mark.parametrize("kind", [DeterministicPolicy, GaussianPolicy])
METHODS = pytest.mark.parametrize(
    ("kind", "loss"),
    [
        (DeterministicPolicy, pathwise_loss),
        (GaussianPolicy, pathwise_loss),
        (GaussianPolicy, reinforce_loss),
    ],
)
Problem = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def made(kind: Callable[..., nn.Module], hidden: tuple[int, ...] = (6,)) -> nn.Module:
    return kind(ROBOT.state_size, ROBOT.goal_size, ROBOT.action_size, hidden)


def problem(count: int, robot: PointRobot = ROBOT, seed: int = 0) -> Problem:
    """Starts, goals and noise."""
    return draw(robot, count, torch.Generator().manual_seed(seed))


def test_robots_start_at_rest_and_goals_are_anywhere_in_the_square() -> None:
    state, goal, _ = problem(4000)
    assert not state[:, 2:].any()
    for place in (state[:, :2], goal):
        assert place.abs().max() <= 1.0
        assert place.std(0) == pytest.approx([3**-0.5] * 2, rel=0.05)
    assert (state[:, :2] * goal).mean().abs() < 0.02, "independent of each other"


def test_a_robot_at_rest_stays_where_nothing_pushes_it() -> None:
    state, _, _ = problem(3)
    assert torch.equal(ROBOT.step(state, torch.zeros(3, 2)), state)


def test_under_full_force_a_robot_comes_to_the_speed_that_drag_allows() -> None:
    state = torch.zeros(1, 4)
    for _ in range(200):
        state = ROBOT.step(state, torch.tensor([[100.0, -100.0]]))
    speed = ROBOT.force / ROBOT.drag
    torch.testing.assert_close(state[0, 2:], torch.tensor([speed, -speed]))


def test_small_steps_follow_the_equation_of_motion() -> None:
    fine = PointRobot(horizon=2000, period=0.001)
    state = torch.zeros(1, 4, dtype=torch.float64)
    for _ in range(fine.horizon):
        state = fine.step(state, torch.full((1, 2), 0.5, dtype=torch.float64))
    push, drag, time = fine.force * torch.tensor(0.5).tanh().item(), fine.drag, 2.0
    decay = 1.0 - torch.exp(torch.tensor(-drag * time, dtype=torch.float64)).item()
    assert state[0, 2].item() == pytest.approx(push / drag * decay, rel=1e-3)
    travelled = push / drag * (time - decay / drag)
    assert state[0, 0].item() == pytest.approx(travelled, rel=2e-3)


def test_the_reward_is_greatest_on_the_goal_without_effort() -> None:
    state, goal, noise = problem(50)
    reward = ROBOT.reward(state, noise[0], goal)
    assert reward.shape == (50,)
    assert (reward < 0.0).all()
    there = torch.cat([goal, state[:, 2:]], dim=-1)
    assert (ROBOT.reward(there, torch.zeros(50, 2), goal) == 0.0).all()
    assert (ROBOT.reward(there, noise[0], goal) < 0.0).all()


@POLICIES
def test_trajectories_obey_the_dynamics_and_do_not_depend_on_each_other(
    kind: Callable[..., nn.Module],
) -> None:
    policy = made(kind)
    state, goal, noise = problem(4)
    seen = rollout(ROBOT, policy, state, goal, noise)
    assert (len(seen.state), len(seen.action), len(seen.reward)) == (6, 5, 5)
    for t in range(ROBOT.horizon):
        torch.testing.assert_close(seen.action[t], policy.act(seen.state[t], goal, noise[t]))
        torch.testing.assert_close(seen.state[t + 1], ROBOT.step(seen.state[t], seen.action[t]))
    alone = rollout(ROBOT, policy, state[2:3], goal[2:3], noise[:, 2:3])
    for whole, part in zip(seen, alone, strict=True):
        torch.testing.assert_close(whole[:, 2], part[:, 0])


def test_noise_moves_a_gaussian_policy_as_its_distribution_says_and_no_deterministic_one() -> None:
    state, goal, noise = problem(9)
    deterministic, gaussian = made(DeterministicPolicy), made(GaussianPolicy)
    silence = torch.zeros_like(noise[0])
    calm = deterministic.act(state, goal, silence)
    assert torch.equal(deterministic.act(state, goal, noise[0]), calm)
    distribution = gaussian.distribution(state, goal)
    torch.testing.assert_close(gaussian.act(state, goal, silence), distribution.mean)
    deviation = gaussian.act(state, goal, noise[0]) - distribution.mean
    torch.testing.assert_close(deviation, distribution.stddev * noise[0])
    assert distribution.stddev.std(0).min() > 0.0, "σ depends on the state"


@POLICIES
def test_the_gradient_through_a_trajectory_is_that_of_finite_differences(
    kind: Callable[..., nn.Module],
) -> None:
    policy = made(kind).double()
    # One ReLU that changes sides within the difference would be an error of its own.
    (layers,) = policy.children()
    layers[1] = nn.Tanh()
    given = [each.double() for each in problem(3)]
    centre = parameters_to_vector(policy.parameters()).detach()

    def loss(vector: torch.Tensor) -> float:
        vector_to_parameters(vector, policy.parameters())
        with torch.no_grad():
            return pathwise_loss(ROBOT, policy, *given).sum().item()

    pathwise_loss(ROBOT, policy, *given).sum().backward()
    gradient = torch.cat([each.grad.reshape(-1) for each in policy.parameters()])
    assert (gradient != 0.0).all()
    width = 1e-5
    steps = width * torch.eye(len(centre), dtype=torch.float64)
    differences = [(loss(centre + step) - loss(centre - step)) / (2 * width) for step in steps]
    expected = torch.tensor(differences, dtype=torch.float64)
    torch.testing.assert_close(gradient, expected, rtol=1e-6, atol=1e-7)


def gradients(policy: nn.Module, loss: Loss, given: Problem, batches: int) -> torch.Tensor:
    """One gradient from each of as many parts of the trajectories, ``(batches, p)``."""
    parameters = list(policy.parameters())
    parts = zip(*(each.chunk(batches, dim=-2) for each in given), strict=True)
    found = [torch.autograd.grad(loss(ROBOT, policy, *part).mean(), parameters) for part in parts]
    return torch.stack([torch.cat([each.reshape(-1) for each in one]) for one in found])


def test_reinforce_and_the_path_agree_in_expectation_and_the_path_is_less_noisy() -> None:
    policy, batches, size = made(GaussianPolicy, (4,)), 400, 1024
    state, goal, noise = problem(batches * size)
    # Fixed starts and goals, so that only the policy's own noise is left.
    state, goal = (each[:size].repeat(batches, 1) for each in (state, goal))
    score, path = (
        gradients(policy, loss, (state, goal, noise), batches)
        for loss in (reinforce_loss, pathwise_loss)
    )
    truth = path.mean(0)
    # Common noise: the difference of the two is itself an estimate of zero.
    apart, _ = errors(score - path, torch.zeros_like(truth))
    assert apart.max() < 4.5
    along = (score @ truth) / truth.square().sum()
    standard = along.std().item() / batches**0.5
    assert standard < 0.02, "enough batches to tell"
    assert along.mean().item() == pytest.approx(1.0, abs=4.5 * standard)
    assert path.var(0).sum() < 0.5 * score.var(0).sum()


@METHODS
def test_a_short_training_brings_the_robot_nearer(
    kind: Callable[..., nn.Module], loss: Loss
) -> None:
    robot = PointRobot()
    policy = made(kind, (32,))
    state, goal, noise = problem(200, robot, seed=1)

    def test() -> tuple[float, float]:
        with torch.no_grad():
            seen = rollout(robot, policy, state, goal, torch.zeros_like(noise))
        distance = robot.distance(seen.state[-1], goal).mean().item()
        return seen.reward.sum(0).mean().item(), distance

    before = test()
    learning = improve(robot, policy, loss, 32, 0.01, torch.Generator().manual_seed(2))
    used = list(islice(learning, 60))
    assert used == list(range(32, 61 * 32, 32))
    after = test()
    assert after[0] > before[0] / 4
    assert after[1] < min(0.4, before[1] / 3)


@METHODS
def test_the_seed_decides_what_is_learnt(kind: Callable[..., nn.Module], loss: Loss) -> None:
    found = []
    for seed in (0, 0, 1):
        torch.manual_seed(0)
        policy = made(kind)
        learning = improve(ROBOT, policy, loss, 4, 0.01, torch.Generator().manual_seed(seed))
        list(islice(learning, 3))
        found.append(parameters_to_vector(policy.parameters()))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
