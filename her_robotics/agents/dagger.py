"""Dataset aggregation (Ross et al. 2011): a student learns a teacher's actions where its own lead."""

from typing import ClassVar, TypeVar

import numpy as np
import torch

from ..backprop import Network, flatten, network
from ..config import AgentConfig
from ..types import Batch, Episodes, EpisodeShape, GoalObs
from .ddpg import ActorPolicy, averaged
from .policy import Policy
from .q_learner import CPU, SPARSE, read_count, restore

Shown = TypeVar("Shown", np.ndarray, torch.Tensor)


class DAgger:
    """Distils a trained policy into one that sees something else, such as images.

    The teacher plays the first episodes, the student all others, and everything that was ever played is
    learnt from: of each batch the teacher says what it would do, and the student descends the squared
    difference (Ross et al. 2011, algorithm 3.1 with β_i = [i = 1]). Labels are computed when a batch is
    drawn and never stored, so hindsight goals have them too.

    The teacher sees the simulator's state and goals. The student sees what there is for actors
    (``EpisodeShape``). Rewards are not looked at.

    Args:
        shape: widths of observation, goal and action.
        config: the agent's configuration.
        reward_range: not looked at either.
        device: where networks are and batches come from.
        teacher: acts on ``shape.state`` of observations and ``shape.judged`` of goals.
    """

    policy_type: ClassVar[type[Policy]] = ActorPolicy
    discrete: ClassVar[bool] = False
    unused: ClassVar[tuple[str, ...]] = (
        *("gamma", "critic_lr", "tau", "action_l2", "clip_target", "lookahead", "td_lambda"),
        *("covariance", "policy_sigma", "num_critics", "critic_norm", "batch_norm"),
        *("actor_every", "actor_after", "double_q", "goal_encoder"),
    )

    def __init__(
        self,
        shape: EpisodeShape,
        config: AgentConfig,
        reward_range: tuple[float, float] = SPARSE,
        device: torch.device = CPU,
        *,
        teacher: Policy,
    ):
        self.config, self.teacher, self.device = config, teacher.to(device), device
        self.policy = ActorPolicy(shape, config).to(device)
        self._state, self._goal = shape.state, shape.judged
        actor = flatten(self.policy.actor)
        self.actor_optimizer = torch.optim.Adam([actor], config.actor_lr, fused=True)
        self.averaged, self._followers = averaged(self.policy, actor, config.average)
        self.updates = 0
        self._networks: dict[int, Network] = {}

    def act(self, obs: GoalObs) -> np.ndarray:
        """The student's actions, ``(n, a)``, or the teacher's before the student has learnt anything."""
        if self.updates:
            return self.policy.act(obs)
        return self.teacher.act(GoalObs(*self._for_teacher(*obs)))

    def observe(self, episodes: Episodes) -> None:
        """Take new episodes into the moments of observations and goals."""
        shown = episodes.observation, episodes.desired_goal
        self.policy.observe(*(torch.as_tensor(each, device=self.device) for each in shown))

    @torch.no_grad()
    def start_from(self, weights: dict[str, torch.Tensor]) -> None:
        """Begin with a trained student's weights.

        Raises:
            RuntimeError: if they are of another policy.
        """
        self.policy.load_state_dict(weights)
        for follower, followed, _ in self._followers:
            follower.copy_(followed)

    @torch.no_grad()
    def update(self, batch: Batch) -> dict[str, torch.Tensor]:
        """One step towards the teacher's actions; returns diagnostics as 0-d tensors."""
        shown = batch.observation[0], batch.achieved_goal[0], batch.goal
        wanted = self.teacher.choose(self.teacher.encode(*self._for_teacher(*shown)))
        if len(wanted) not in self._networks:
            self._networks[len(wanted)] = network(self.policy.actor, len(wanted))
        actor = self._networks[len(wanted)]
        actions = actor.forward(self.policy.encode(*shown))
        error = actions - wanted
        saturated = (actions.abs() > 0.99).float().mean()
        actor.backward(error * (2.0 / error.numel()))
        self.actor_optimizer.step()
        for follower, followed, share in self._followers:
            follower.lerp_(followed, share)
        self.updates += 1
        return {"imitation_loss": error.square().mean(), "action_saturation": saturated}

    def state_dict(self) -> dict:
        """Everything that learning goes on from, the teacher included."""
        return {
            "policy": self.policy.state_dict(),
            "averaged_actor": self.averaged.actor.state_dict(),
            "actor_optimizer": self.actor_optimizer.state_dict(),
            "teacher": self.teacher.state_dict(),
            "updates": self.updates,
        }

    def load_state_dict(self, state: dict) -> None:
        """Restore what ``state_dict`` gave.

        Raises:
            Exception: of many kinds, if it was given by another agent.
        """
        self.policy.load_state_dict(state["policy"])
        self.averaged.actor.load_state_dict(state["averaged_actor"])
        self.teacher.load_state_dict(state["teacher"])
        restore(self.actor_optimizer, state["actor_optimizer"])
        self.updates = read_count(state["updates"])

    def _for_teacher(self, observation: Shown, achieved: Shown, goal: Shown) -> tuple[Shown, ...]:
        """Of what is shown, the simulator's state and goals."""
        return (
            observation[..., self._state],
            achieved[..., self._goal],
            goal[..., self._goal],
        )
