"""Goals as images: a vector env whose goals are pictures, seen through an encoder.

A goal is ``[embedding ‖ goal of the simulator]``. What is achieved is the embedding of what the camera
sees now, beside what the simulator calls achieved; what is desired is the embedding of a goal image,
beside what that image really shows. Both halves travel together, so hindsight needs nothing new: the
goal of a frame seen later in an episode is that frame's embedding, with its truth. Networks see the
embedding alone (``EpisodeShape.seen``). Tests judge by the truth, and so may the reward; or it looks at
embeddings alone, and then training knows nothing of a task but pictures.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from .encoders import PictureEncoder
from .errors import UserError
from .goals.frames import FrameStore, Numbered

GoalReward = Literal["state", "latent_distance", "latent_sparse"]
"""What the reward of an image goal looks at: the simulator's goals, as its own reward does; minus the
distance of embeddings; or whether that is beyond a threshold, 0 or -1."""
_STREAM = 0x696D6167
"""Sets the draw of an episode's goal image apart from what else its seed decides."""


class GoalBank(NamedTuple):
    """n goal images to draw from.

    Attributes:
        pictures: ``(n, size, size, 3)`` uint8.
        achieved: ``(n, g)`` goals of the simulator that they show.
    """

    pictures: np.ndarray
    achieved: np.ndarray


class ImageGoals(VectorEnv[dict[str, np.ndarray], np.ndarray, np.ndarray]):
    """A vector env with the goals of another one turned into images.

    Every step draws and embeds a picture of each simulation, which takes most of its time.

    Args:
        env: what is turned: its ``unwrapped`` draws ``pictures`` and lets ``goals`` be set.
        encoder: of pictures; or what numbers them, for one that learns with the agent.
        bank: goal images; which one an episode pursues is decided by its seed alone.
        camera: what sees.
        reward: what rewards look at.
        threshold: distance of embeddings that ``"latent_sparse"`` counts as reached.

    Raises:
        UserError: if encoder, bank and env do not fit together.
    """

    goal_parts = 1

    def __init__(
        self,
        env: VectorEnv,
        encoder: PictureEncoder | Numbered,
        bank: GoalBank,
        camera: str,
        reward: GoalReward = "state",
        threshold: float = 0.0,
    ):
        self._env, self._encoder, self._bank, self._camera = env, encoder, bank, camera
        self._base: Any = env.unwrapped
        self.metadata = {**env.metadata, "autoreset_mode": AutoresetMode.DISABLED}
        self._reward: GoalReward = reward
        self._threshold = threshold
        own: Any = env.single_observation_space
        width = int(own["desired_goal"].shape[0])
        if width != encoder.goal or width != bank.achieved.shape[1]:
            raise UserError(
                f"the encoder is for goals of {encoder.goal} numbers; those of this task have {width}"
            )
        self.num_envs = env.num_envs
        self.embedding = encoder.embedding
        """Numbers at the head of a goal that the encoder made."""
        self.picture_size = encoder.size
        """Width and height of goal images."""
        self.max_episode_steps = self._base.max_episode_steps
        self.rewarded = (
            slice(encoder.embedding, None) if reward == "state" else slice(encoder.embedding)
        )
        """Where in a goal that stands which rewards look at."""
        positions = encoder.supervised and reward != "state"
        self.gripper: slice | None = self._base.gripper if positions else None
        """A guide can be told where to only if the head of a goal is a position, and rewards look at it."""
        self.reward_range = {
            "state": self._base.reward_range,
            "latent_distance": (-np.inf, 0.0),
            "latent_sparse": (-1.0, 0.0),
        }[reward]
        self.render_mode = env.render_mode
        self._embedded = encoder.embed_goals(bank.pictures)
        self.frames: FrameStore | None = getattr(encoder, "store", None)
        """Where pictures are kept, if goals are their numbers."""
        self._shown: np.ndarray | None = None
        self._frames: np.ndarray | None = None
        self._seen = np.full((self.num_envs, self.embedding), np.nan)
        goal = gym.spaces.Box(-np.inf, np.inf, (self.embedding + width,), np.float64)
        self.single_observation_space = gym.spaces.Dict(
            {"observation": own["observation"], "achieved_goal": goal, "desired_goal": goal}
        )
        self.single_action_space = env.single_action_space
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = env.action_space
        self._goals = np.zeros((self.num_envs, self.embedding + width))

    def reset(
        self, *, seed: Sequence[int] | int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start new episodes, each with the goal image that its seed decides.

        Args:
            seed: of each env.
            options: a ``reset_mask`` in place of seeds makes those envs sound again that diverged: they
                keep their goals.

        Raises:
            ValueError: with neither.
        """
        if seed is None and options:
            shown, info = self._env.reset(options=options)
            self._seen[options["reset_mask"]] = np.nan
            self._base.goals = self._goals[:, self.embedding :]
            return self._see(shown), info
        if seed is None or options:
            raise ValueError("episodes with image goals begin all at once, and need seeds")
        seeds = [seed + i for i in range(self.num_envs)] if isinstance(seed, int) else list(seed)
        reset: Any = self._env.reset
        shown, info = reset(seed=seeds)
        self._seen[:] = np.nan
        chosen = np.array([self._draw(one) for one in seeds])
        self._pursue(
            self._embedded[chosen], self._bank.achieved[chosen], self._bank.pictures[chosen]
        )
        return self._see(shown), info

    def step(
        self, actions: np.ndarray
    ) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """One step in every env; rewards are those of image goals."""
        shown, _, terminated, truncated, info = self._env.step(actions)
        seen = self._see(shown)
        reward = self.compute_reward(seen["achieved_goal"], seen["desired_goal"], info)
        return seen, reward, terminated, truncated, info

    def compute_reward(
        self, achieved_goal: np.ndarray, desired_goal: np.ndarray, info: Any
    ) -> np.ndarray:
        """Reward of any goals, ``(..., d + g), (..., d + g) -> (...)``."""
        if self._reward == "state":
            own = (goal[..., self.embedding :] for goal in (achieved_goal, desired_goal))
            return self._base.compute_reward(*own, info)
        difference = (achieved_goal - desired_goal)[..., : self.embedding]
        distance = np.linalg.norm(difference, axis=-1)
        if self._reward == "latent_distance":
            return -distance
        return -(distance > self._threshold).astype(np.float32)

    def reached(self, achieved_goal: np.ndarray, desired_goal: np.ndarray) -> np.ndarray:
        """Whether goals count as reached, for the simulator: whatever rewards look at."""
        return self._base.reached(
            achieved_goal[..., self.embedding :], desired_goal[..., self.embedding :]
        )

    def pursue_picture(self, picture: np.ndarray) -> np.ndarray:
        """Make a picture the goal of every env until the next reset.

        Nobody knows what it shows, so what the encoder's probe reads in it stands for the truth; where there
        is none, what the goal image shows that differs least from it.

        Args:
            picture: ``(size, size, 3)`` uint8.

        Returns:
            the desired goals, ``(n, d + g)``.
        """
        pictures = np.repeat(picture[None], self.num_envs, axis=0)
        embeddings = np.repeat(self._encoder.embed_goals(picture[None]), self.num_envs, axis=0)
        if isinstance(self._encoder, PictureEncoder):
            own = self._encoder.read(embeddings)
        else:
            own = np.repeat(self._nearest(picture)[None], self.num_envs, axis=0)
        self._pursue(embeddings, own, pictures)
        return self._goals.copy()

    def pictures(self, camera: str, size: int) -> np.ndarray:
        """What a camera sees now, ``(n, size, size, 3)`` uint8: what goals are seen by is not drawn twice."""
        if (camera, size) == (self._camera, self.picture_size) and self._frames is not None:
            return self._frames
        return self._base.pictures(camera=camera, size=size)

    @property
    def goal_pictures(self) -> np.ndarray:
        """The goal images pursued just now, ``(n, size, size, 3)`` uint8."""
        if self._shown is None:
            raise gym.error.ResetNeeded("there are no goals before the first reset")
        return self._shown

    def render(self) -> Any:
        """A frame of each simulation, with its goal marked where the image has it."""
        return self._env.render()

    def close_extras(self, **kwargs: Any) -> None:
        """Close the env within."""
        self._env.close()

    def _pursue(self, embedding: np.ndarray, own: np.ndarray, pictures: np.ndarray) -> None:
        self._goals = np.concatenate([embedding, own], axis=1)
        self._base.goals = own
        self._shown = pictures

    def _see(self, shown: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        self._frames = self._base.pictures(camera=self._camera, size=self._encoder.size)
        own = shown["achieved_goal"]
        self._seen = self._encoder.follow(self._frames, self._seen).astype(np.float64)
        achieved = np.concatenate([self._seen, own], axis=1)
        return {**shown, "achieved_goal": achieved, "desired_goal": self._goals.copy()}

    def _nearest(self, picture: np.ndarray) -> np.ndarray:
        """What the goal image shows whose pixels differ least from a picture's, ``(g,)``."""
        offset = self._bank.pictures.astype(np.float32) - picture
        return self._bank.achieved[np.square(offset).sum(axis=(1, 2, 3)).argmin()]

    def _draw(self, seed: int) -> int:
        return int(np.random.default_rng((seed, _STREAM)).integers(len(self._embedded)))
