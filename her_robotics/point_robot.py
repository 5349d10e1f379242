"""A point robot whose dynamics and reward are known and differentiable."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class PointRobot:
    """A unit mass on a plane, to be brought to a goal and held there; all methods are batched.

    A state is position and velocity, ``(..., 4)``; a goal is a position, ``(..., 2)``. The motors
    saturate smoothly, so any real action has a gradient.

    Attributes:
        horizon: steps in an episode, T.
        period: seconds in a step.
        force: the most that a motor gives, in newtons.
        drag: force per velocity, in newton seconds per metre.
        effort: what the square of a motor's saturation costs, against square metres of distance.
    """

    horizon: int = 20
    period: float = 0.2
    force: float = 2.0
    drag: float = 0.5
    effort: float = 0.01

    state_size = 4
    goal_size = 2
    action_size = 2

    def start(self, count: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Robots at rest, and goals, both anywhere in [-1, 1]²; ``(count, 4), (count, 2)``."""
        position, goal = 2.0 * torch.rand(2, count, 2, generator=generator) - 1.0
        return torch.cat([position, torch.zeros_like(position)], dim=-1), goal

    def step(self, state: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        """s' of s and a, ``(..., 4), (..., 2) -> (..., 4)``, by semi-implicit Euler."""
        position, velocity = state.split(2, dim=-1)
        acceleration = self.force * action.tanh() - self.drag * velocity
        velocity = velocity + self.period * acceleration
        return torch.cat([position + self.period * velocity, velocity], dim=-1)

    def reward(
        self, next_state: torch.Tensor, action: torch.Tensor, goal: torch.Tensor
    ) -> torch.Tensor:
        """Minus the squared distance from the goal, less the effort; ``(...)``."""
        effort = self.effort * action.tanh().square().sum(-1)
        return -self.distance(next_state, goal).square() - effort

    def distance(self, state: torch.Tensor, goal: torch.Tensor) -> torch.Tensor:
        """Metres between robot and goal, ``(...)``."""
        return (state[..., :2] - goal).norm(dim=-1)
