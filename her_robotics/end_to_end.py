"""Goals that are numbers of frames, brought together with an agent that learns to embed them."""

from typing import Any

import gymnasium as gym

from .agents import Policy
from .config import Config
from .errors import UserError
from .goals.cnn import EMBEDDING, CNNGoal
from .goals.frames import FRAMES, SPAN, FrameStore
from .health.machine import free_memory
from .types import EpisodeShape

SPARE = 1.1
"""Room for frames, as a multiple of what replay holds: episodes that diverge are seen and not replayed."""


def show_frames(policy: Policy, env: gym.vector.VectorEnv) -> None:
    """Tell a policy's goal encoder where the frames are that goals of ``env`` are numbers of."""
    if isinstance(policy.encoder, CNNGoal):
        base: Any = env.unwrapped
        policy.encoder.frames = base.frames


def make_room(config: Config, shape: EpisodeShape, env: gym.vector.VectorEnv) -> FrameStore | None:
    """Reserve room for the frames of a run; the store, or None if goals are no numbers of frames.

    Raises:
        UserError: if goals and their encoder do not fit, or there is not the memory.
    """
    store: FrameStore | None = getattr(env.unwrapped, "frames", None)
    if (config.agent.goal_encoder == "cnn") != (store is not None):
        raise UserError(
            f"agent.goal_encoder = {config.agent.goal_encoder} with env.encoder = {config.env.encoder}: "
            "cnn and end_to_end need each other"
        )
    if store is None:
        return None
    cycle = config.env.num_envs * shape.horizon
    steps = min(-(-config.train.steps // cycle) * cycle, config.replay.capacity + cycle)
    frames = round(SPARE * steps * (shape.horizon + 1) / shape.horizon)
    needed, free = store.memory(store.size, EMBEDDING, frames), free_memory()
    if frames > SPAN or (free is not None and needed > free):
        has = "" if free is None else f" and {free / 2**20:,.0f} MiB are free"
        raise UserError(
            f"{frames:,d} frames of {store.size} pixels would take {needed / 2**20:,.0f} MiB: at most "
            f"{SPAN:,d} can be kept{has}; choose a smaller replay.capacity, train.steps or env.picture_size"
        )
    store.reserve(FRAMES, frames)
    return store
