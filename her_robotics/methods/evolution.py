"""What methods share that search the space of a policy's parameters, each candidate being tried out."""

import numpy as np
import torch
from torch.func import functional_call, vmap
from torch.nn.utils import parameters_to_vector

from ..known_mdp import DeterministicPolicy
from ..types import GoalObs
from .inputs import Inputs
from .method import Player, Problem, uniform


class Population:
    """Deterministic policies of one shape that play side by side, told apart by their parameters.

    Args:
        problem: what is to be learnt.
        player: plays it in ``candidates * episodes`` envs; it plays random episodes here already, by
            which inputs are standardised.
        candidates: policies tried out at once.
    """

    def __init__(self, problem: Problem, player: Player, candidates: int):
        shape = player.task.shape
        self._player, self.candidates = player, candidates
        with torch.random.fork_rng():
            torch.manual_seed(problem.seed)
            self._inputs = Inputs(shape, problem.relative_goal)
            policy = DeterministicPolicy(*self._inputs.sizes, shape.action, problem.hidden)
        self._network = policy.mean.requires_grad_(False)
        self.start = parameters_to_vector(self._network.parameters()).double().numpy()
        self._inputs.fit(player.play(uniform(player, np.random.default_rng(problem.seed))))

    def returns(self, parameters: np.ndarray) -> np.ndarray:
        """Mean return of each candidate, ``(candidates, p) -> (candidates,)``; all meet the same episodes."""
        policies = self._unpack(parameters)
        episodes = self._player.play(lambda obs: self._act(policies, obs), alike=self.candidates)
        return self._player.rewards(episodes).sum(1).reshape(-1, self.candidates).mean(0)

    def act(self, parameters: np.ndarray, obs: GoalObs) -> np.ndarray:
        """Actions of one policy, ``(p,)``, in n envs, ``(n, a)``."""
        return self._act(self._unpack(parameters[None]), obs)

    def _act(self, policies: dict[str, torch.Tensor], obs: GoalObs) -> np.ndarray:
        """Env i is played by policy i modulo their number."""
        seen = torch.cat(self._inputs(obs), dim=-1)
        count = len(next(iter(policies.values())))
        by_policy = seen.view(-1, count, seen.shape[-1]).transpose(
            0, 1
        )  # (policies, episodes, s + g)
        actions = vmap(lambda given, rows: functional_call(self._network, given, (rows,)))(
            policies, by_policy
        )
        return actions.transpose(0, 1).flatten(0, 1).numpy()

    def _unpack(self, parameters: np.ndarray) -> dict[str, torch.Tensor]:
        """Vectors ``(k, p)`` as the network's parameters, each ``(k, ...)``."""
        rows = torch.from_numpy(np.asarray(parameters, dtype=np.float32))
        named = dict(self._network.named_parameters())
        parts = rows.split([each.numel() for each in named.values()], dim=1)
        return {
            name: part.reshape(len(rows), *each.shape)
            for (name, each), part in zip(named.items(), parts, strict=True)
        }
