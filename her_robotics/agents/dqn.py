"""Deep Q-learning on universal value functions (Mnih et al. 2015), for discrete actions."""

import copy

import torch

from ..backprop import flatten
from ..config import AgentConfig
from ..networks import ChoiceCritic
from ..types import EpisodeShape
from .policy import Policy
from .q_learner import CPU, SPARSE, QLearner, read_count, restore


class ValuePolicy(Policy):
    """A policy that takes the action of the greatest value Q(s, · ‖ g).

    Args:
        shape: sizes of an episode, with the number of choices.
        config: the agent's configuration.

    Raises:
        ValueError: if actions are not discrete.
    """

    def __init__(self, shape: EpisodeShape, config: AgentConfig):
        if shape.choices is None:
            raise ValueError("there are no choices among continuous actions")
        super().__init__(shape, config)
        sizes = (self.state_goal_size, shape.choices, config.hidden)
        self.critic = ChoiceCritic(*sizes, config.critic_norm)

    def choose(self, state_goal: torch.Tensor) -> torch.Tensor:
        return self.critic(state_goal).argmax(dim=-1, keepdim=True).float()


class DQN(QLearner):
    """A critic of all choices, its target and its optimiser.

    Args:
        shape: sizes of an episode, with the number of choices.
        config: the agent's configuration.
        reward_range: least and greatest reward of a step, which bound the value of everything.
        device: where networks are and batches come from.

    Raises:
        ValueError: if actions are not discrete.
    """

    policy_type = ValuePolicy
    discrete = True
    unused = (
        *("actor_lr", "average", "action_l2", "actor_every", "actor_after"),
        *("num_critics", "batch_norm", "covariance", "policy_sigma", "goal_encoder"),
    )
    policy: ValuePolicy

    def __init__(
        self,
        shape: EpisodeShape,
        config: AgentConfig,
        reward_range: tuple[float, float] = SPARSE,
        device: torch.device = CPU,
    ):
        super().__init__(ValuePolicy(shape, config), config, reward_range, device=device)
        self.target_critic = copy.deepcopy(self.policy.critic).requires_grad_(False)
        critic, target_critic = flatten(self.policy.critic), flatten(self.target_critic)
        self.critic_optimizer = torch.optim.Adam([critic], config.critic_lr, fused=True)
        self._followers = [(target_critic, critic, config.tau)]

    def _target_value(self, state_goal: torch.Tensor) -> torch.Tensor:
        """max_a Q'(s, a ‖ g), or Q'(s, argmax_a Q(s, a ‖ g) ‖ g) for double Q-learning (van Hasselt et
        al. 2016, equation 4); ``(b,)``.
        """
        values = self._network(self.target_critic, state_goal).forward(state_goal)
        if not self.config.double_q:
            return values.max(dim=1).values
        critic = self._network(self.policy.critic, state_goal)
        best = critic.forward(state_goal).argmax(dim=1, keepdim=True)
        return values.gather(1, best).squeeze(1)

    def _learn(
        self, state_goal: torch.Tensor, action: torch.Tensor, target: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Descend the mean squared error of the values of ``action`` ``(b, 1)``."""
        critic, taken = self._network(self.policy.critic, state_goal), action.long()
        values = critic.forward(state_goal)
        chosen = values.gather(1, taken)
        error = chosen - target[:, None]
        gradient = torch.zeros_like(values).scatter_(1, taken, error * (2.0 / len(error)))
        critic.backward(gradient)
        self.critic_optimizer.step()
        return {
            "critic_loss": error.square().mean(),
            "q_mean": chosen.mean(),
            **self._target_metrics(target),
        }

    def state_dict(self) -> dict:
        """Everything that learning goes on from."""
        return {
            "policy": self.policy.state_dict(),
            "target_critic": self.target_critic.state_dict(),
            "critic_optimizer": self.critic_optimizer.state_dict(),
            "updates": self.updates,
        }

    def load_state_dict(self, state: dict) -> None:
        """Restore what ``state_dict`` gave."""
        self.policy.load_state_dict(state["policy"])
        self.target_critic.load_state_dict(state["target_critic"])
        restore(self.critic_optimizer, state["critic_optimizer"])
        self.updates = read_count(state["updates"])
