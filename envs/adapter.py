"""Any Gymnasium goal env behind the interface of our vector env, in this process or in others."""

from collections.abc import Callable
from pickle import PicklingError
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from .fleet import Fleet, LocalFleet, Step
from .goal_reward import GoalReward, read_goal_reward
from .making import GoalEnvError, env_name, find_horizon, make_reference, maker
from .vector import (
    PARTS,
    ObsDict,
    Seeds,
    check_actions,
    check_choices,
    check_least,
    first_line,
    read_reset_mask,
    spread_seeds,
)
from .workers import WorkerFleet


class GoalVectorEnv(VectorEnv[ObsDict, np.ndarray, np.ndarray]):
    """``num_envs`` copies of a goal env that learn and reset like ``FetchVectorEnv``.

    Observations come as float64, actions go from [-1, 1] to the env's own bounds, or are the choices that
    it has. Nothing resets by itself, and an env that ends an episode before its horizon is refused at
    that step.

    Args:
        env: a Gymnasium id (``"module:Id-v0"`` imports the module first), an ``EnvSpec``, a function
            or class that makes one, or an env made by ``gym.make``, which is made again as often as
            needed (without a spec it can only be used once, in this process).
        num_envs: how many copies.
        workers: processes that step them; 0 steps them in this one, one after another.
        max_episode_steps: horizon; None takes the env's own limit.
        distance_threshold: what counts as reached where the reward cannot tell (a dense reward); None
            takes the env's attribute of that name.
        ignore_termination: whether to step on where the env says ``terminated`` (panda-gym's do at
            success); else that is an error.
        render_mode: handed to the env.
        kwargs: handed to ``gym.make`` or to the function.

    Raises:
        GoalEnvError: if it is no goal env, has no horizon, or its reward is of no use to hindsight.
    """

    metadata = {"autoreset_mode": AutoresetMode.DISABLED}

    def __init__(
        self,
        env: str | EnvSpec | gym.Env | Callable[..., gym.Env],
        num_envs: int = 1,
        workers: int = 0,
        max_episode_steps: int | None = None,
        distance_threshold: float | None = None,
        ignore_termination: bool = False,
        render_mode: str | None = None,
        **kwargs: Any,
    ):
        check_least(
            num_envs=(num_envs, 1),
            workers=(workers, 0),
            max_episode_steps=(1 if max_episode_steps is None else max_episode_steps, 1),
            distance_threshold=(0.0 if distance_threshold is None else distance_threshold, 0),
        )
        make = maker(env, {"render_mode": render_mode, **kwargs}, num_envs, workers)
        self._reference = make_reference(make)
        self.num_envs, self.render_mode = num_envs, render_mode
        self._ignore_termination = ignore_termination
        self.name = env_name(self._reference, env)
        self.max_episode_steps = find_horizon(self._reference, max_episode_steps, self.name)
        self._set_spaces()
        try:
            self._judge: GoalReward = read_goal_reward(self._reference, distance_threshold)
        except ValueError as error:
            raise GoalEnvError(f"{self.name}: {error}") from error
        self.reward_range = self._judge.range
        self._steps = np.zeros(num_envs, dtype=np.int64)
        self._started = False
        self._shown: ObsDict = {}
        workers = min(workers, num_envs)
        try:
            self._fleet: Fleet = (
                WorkerFleet(make, num_envs, workers)
                if workers
                else LocalFleet(make, num_envs, first=self._reference)
            )
        except (TypeError, AttributeError, PicklingError) as error:
            raise GoalEnvError(
                f"{self.name} cannot be sent to workers: {first_line(error)}"
            ) from error

    def reset(
        self, *, seed: Seeds = None, options: dict[str, Any] | None = None
    ) -> tuple[ObsDict, dict[str, Any]]:
        """Start new episodes, as ``FetchVectorEnv.reset`` does."""
        ids = np.flatnonzero(read_reset_mask(options, self.num_envs, self._started))
        seeds = spread_seeds(seed, self.num_envs)
        if not self._started:
            # The reference has been seeded, and without a seed would go on from there.
            seeds = [_fresh_seed() if each is None else each for each in seeds]
        shown = self._stack(self._fleet.reset({int(i): seeds[i] for i in ids}))
        if not self._started:
            self._shown, self._started = shown, True
        for part, values in shown.items():
            self._shown[part][ids] = values
        self._steps[ids] = 0
        return self._copy(), {}

    def step(
        self, actions: np.ndarray
    ) -> tuple[ObsDict, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Step every env; ``info["is_success"]`` is ``(n,)`` bool.

        Where a worker died, ``info["process_died"]`` ``(n,)`` says in which envs: they show NaN, and a reset
        begins their next episode in a new process.

        Raises:
            GoalEnvError: if an env ends its episode before the horizon.
        """
        if not self._started:
            raise gym.error.ResetNeeded("call reset before the first step")
        steps = self._fleet.step(self._native(actions))
        self._steps += 1
        self._shown = self._stack([step.observation for step in steps])
        self._refuse_early_end(steps)
        success = self.reached(self._shown["achieved_goal"], self._shown["desired_goal"])
        info = {"is_success": success, "_is_success": np.ones(self.num_envs, dtype=bool)}
        if any(step.lost for step in steps):
            info["process_died"] = np.array([step.lost for step in steps])
        reward = np.array([step.reward for step in steps], dtype=np.float64)
        truncated = self._steps >= self.max_episode_steps
        return self._copy(), reward, np.zeros(self.num_envs, dtype=bool), truncated, info

    def compute_reward(
        self, achieved_goal: np.ndarray, desired_goal: np.ndarray, info: Any
    ) -> np.ndarray:
        """The env's own reward of any goals, ``(..., g), (..., g) -> (...)``."""
        return self._judge.reward(achieved_goal, desired_goal)

    def reached(self, achieved_goal: np.ndarray, desired_goal: np.ndarray) -> np.ndarray:
        """Whether goals count as reached, ``(..., g), (..., g) -> (...)`` bool."""
        return self._judge.reached(achieved_goal, desired_goal)

    def render(self) -> tuple[Any, ...] | None:
        """A frame of each env, as it draws them itself.

        Raises:
            GoalEnvError: if it fails to.
        """
        if self.render_mode is None:
            return None
        try:
            return tuple(self._fleet.render())
        except Exception as error:
            raise GoalEnvError(f"{self.name} cannot be drawn: {first_line(error)}") from error

    def get_state(self) -> dict[str, Any]:
        """The complete state of every env, copied."""
        shown = {part: values.copy() for part, values in self._shown.items()}
        state = {"steps": self._steps.copy(), "started": self._started, "shown": shown}
        return {**state, "envs": self._fleet.get_state()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore what ``get_state`` gave, of the same env and as many copies.

        Raises:
            ValueError: if it is of another number of envs.
        """
        if len(state["envs"]) != self.num_envs:
            raise ValueError(f"the state is of {len(state['envs'])} envs, not of {self.num_envs}")
        self._fleet.set_state(state["envs"])
        self._steps[:], self._started = state["steps"], state["started"]
        self._shown = {part: values.copy() for part, values in state["shown"].items()}

    def close_extras(self, **kwargs: Any) -> None:
        """Close every env and end the worker processes."""
        self._fleet.close()
        self._reference.close()

    def _native(self, actions: np.ndarray) -> np.ndarray:
        """Actions as the envs take them."""
        space = self.single_action_space
        if isinstance(space, gym.spaces.Discrete):
            choices = range(int(space.start), int(space.start + space.n))
            return check_choices(actions, self.num_envs, choices, self._steps)
        actions = check_actions(actions, (self.num_envs, *self._low.shape), self._steps)
        native = np.clip(actions, -1.0, 1.0)
        if not self._unit:
            native = self._low + (native + 1.0) / 2.0 * (self._high - self._low)
        return native.astype(self._action_dtype)

    def _stack(self, observations: list[dict[str, Any]]) -> ObsDict:
        return {
            part: np.stack([np.asarray(shown[part], dtype=np.float64) for shown in observations])
            for part in PARTS
        }

    def _copy(self) -> ObsDict:
        return {part: values.copy() for part, values in self._shown.items()}

    def _refuse_early_end(self, steps: list[Step]) -> None:
        for taken, step in zip(self._steps, steps, strict=True):
            terminated = step.terminated and not self._ignore_termination
            if taken >= self.max_episode_steps or not (terminated or step.truncated):
                continue
            how = "terminated" if terminated else "was truncated"
            hint = ", or ask for ignore_termination" if terminated else ""
            raise GoalEnvError(
                f"{self.name}: an episode {how} at step {taken} of {self.max_episode_steps}. Hindsight "
                f"needs episodes of one length: let the env go on after success or failure{hint}"
            )

    def _set_spaces(self) -> None:
        space, actions = self._reference.observation_space, self._reference.action_space
        if not isinstance(space, gym.spaces.Dict) or any(
            part not in space.spaces for part in PARTS
        ):
            raise GoalEnvError(
                f"{self.name} is not a goal env: its observations must be a dict with {', '.join(PARTS)}"
            )
        boxes: dict[str, Any] = {}
        for part in PARTS:
            box = space[part]
            if not isinstance(box, gym.spaces.Box) or len(box.shape) != 1:
                raise GoalEnvError(f"{self.name}: {part} is {box}, not a Box of one dimension")
            boxes[part] = gym.spaces.Box(-np.inf, np.inf, box.shape, np.float64)
        goals = [boxes[part].shape for part in PARTS[1:]]
        if goals[0] != goals[1]:
            raise GoalEnvError(f"{self.name}: achieved and desired goals differ in shape: {goals}")
        self.single_observation_space = gym.spaces.Dict(boxes)
        self.single_action_space = self._read_actions(actions)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)

    def _read_actions(self, actions: gym.Space) -> gym.Space:
        """The space that actions are given in; keeps what leads from a Box of [-1, 1] to the env's own."""
        if isinstance(actions, gym.spaces.Discrete):
            return actions
        if (
            not isinstance(actions, gym.spaces.Box)
            or len(actions.shape) != 1
            or not actions.is_bounded()
        ):
            raise GoalEnvError(
                f"{self.name} has actions of {actions}: they must be Discrete or a bounded Box of one "
                "dimension"
            )
        self._low, self._high = actions.low.astype(np.float64), actions.high.astype(np.float64)
        self._unit = bool((self._low == -1.0).all() and (self._high == 1.0).all())
        self._action_dtype = actions.dtype
        return gym.spaces.Box(-1.0, 1.0, actions.shape, np.float32)


def _fresh_seed() -> int:
    return int(np.random.SeedSequence().generate_state(1)[0])
