"""Observations as images: a vector env that is seen through a camera and an encoder.

An observation is what an encoder makes of the last frames: the embedding of the newest, and how it changed
from each frame to the next, since a single one shows no velocity. Behind it may stand what the env itself
shows, the simulator's state. Then actors see the head alone and critics the rest (``EpisodeShape.sight``),
and what is trained so can act without a simulator (Pinto et al. 2017, "Asymmetric Actor Critic for
Image-Based Robot Learning").

The encoder is frozen, so replay keeps embeddings, a few numbers for each step, and no frames.
"""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space

from .encoders import PictureEncoder


class ImageObservations(VectorWrapper):
    """A vector env whose observations are made of what a camera sees.

    Args:
        env: what is seen: its ``unwrapped`` draws ``pictures``.
        encoder: of frames.
        camera: what sees.
        frames: how many of the last frames make an observation.
        state: whether the env's own observations stand behind.
        embedded: whether the env's goals are images seen by the same encoder, so that what it makes of a
            frame is shown as achieved already.
        scene: whether embeddings are positions, the gripper's last.
    """

    def __init__(
        self,
        env: VectorEnv,
        encoder: PictureEncoder,
        camera: str,
        frames: int,
        state: bool,
        embedded: bool = False,
        scene: bool = False,
    ):
        super().__init__(env)
        self._encoder, self._camera = encoder, camera
        self._state, self._embedded = state, embedded
        self._seen = np.zeros((frames, env.num_envs, encoder.embedding), np.float32)
        """Embeddings of the last frames, the newest first."""
        own: Any = env.single_observation_space
        sight = frames * encoder.embedding
        base: Any = env.unwrapped
        width = sight + (own["observation"].shape[0] if state else 0)
        box = gym.spaces.Box(-np.inf, np.inf, (width,), np.float64)
        self.single_observation_space = gym.spaces.Dict({**own.spaces, "observation": box})
        self.observation_space = batch_space(self.single_observation_space, env.num_envs)
        gripper = _place_of_gripper(base.gripper, encoder.embedding, sight, state, scene)
        self.metadata = {**env.metadata, "sight": sight if state else 0, "gripper": gripper}

    def reset(
        self, *, seed: Any = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start new episodes, whose first frame is seen as if nothing had moved before."""
        shown, info = self.env.reset(seed=seed, options=options)
        anew = options["reset_mask"] if options else slice(None)
        self._seen[:, anew] = np.nan
        self._seen[:, anew] = self._look(shown)[anew]
        return self._observation(shown), info

    def step(
        self, actions: np.ndarray
    ) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """One step in every env."""
        shown, reward, terminated, truncated, info = self.env.step(actions)
        self._seen = np.concatenate([self._look(shown)[None], self._seen[:-1]])
        return self._observation(shown), reward, terminated, truncated, info

    def _look(self, shown: dict[str, np.ndarray]) -> np.ndarray:
        if self._embedded:
            return shown["achieved_goal"][:, : self._encoder.embedding]
        base: Any = self.env.unwrapped
        pictures = base.pictures(camera=self._camera, size=self._encoder.size)
        return self._encoder.follow(pictures, self._seen[0])

    def _observation(self, shown: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        changes = self._seen[:-1] - self._seen[1:]
        parts = [self._seen[0], *changes]
        own = shown["observation"]
        # A simulation that diverged must not look sound (``rollout.play``).
        parts[0] = np.where(np.isfinite(own).all(axis=1, keepdims=True), parts[0], np.nan)
        if self._state:
            parts.append(own)
        return {**shown, "observation": np.concatenate(parts, axis=1, dtype=np.float64)}


def _place_of_gripper(
    own: slice | None, embedding: int, sight: int, state: bool, scene: bool
) -> slice | None:
    """Where the gripper's position stands in what is observed, if anywhere.

    Args:
        own: where it stands in the simulator's state, if anything is to be moved.
        embedding: width of a frame's.
        sight: width of all that is seen, which comes before the state.
        state: whether the state is observed too.
        scene: whether embeddings are positions, the gripper's last.
    """
    if own is None:
        return None
    if state:
        return slice(sight + own.start, sight + own.stop)
    return slice(embedding - (own.stop - own.start), embedding) if scene else None
