"""Goals as images, from a configuration: the encoder they are seen through, and the bank they come from."""

from collections.abc import Callable
from pathlib import Path

import gymnasium as gym

import envs
from envs.goal_bank import goal_bank
from envs.shipped import trained_encoders

from ..config import EnvConfig
from ..encoders.files import CARD, SavedEncoder, load_encoder
from ..errors import UserError
from ..image_goals import GoalBank, ImageGoals

TRAINING_BANK, TEST_BANK = 0, 1
"""Seeds of the banks of goal images: for training, and for tests, whose images nothing learns from."""
SETTINGS = ("encoder", "goal_images", "goal_reward", "latent_threshold")
"""Settings that only image goals have."""

Turn = Callable[[gym.vector.VectorEnv, bool], gym.vector.VectorEnv]
"""Turns the goals of an env into what is configured; the flag says whether it is for tests."""


def test_count(count: int) -> int:
    """How many goal images tests draw from, where training draws from ``count``."""
    return max(1, count // 5)


def image_goals(env: EnvConfig, run: Path | None) -> Turn:
    """What turns the goals of a Fetch env into images, or leaves them where they are not to be.

    Args:
        env: the configuration.
        run: folder of the run that it is of, if there is one already.

    Raises:
        UserError: if the settings do not fit each other, or there is no sound encoder.
    """
    _refuse_misfits(env)
    if env.goal != "image":
        return lambda made, test: made
    saved = load_encoder(encoder_folder(env, run))
    if saved.task != env.task:
        raise UserError(
            f"env.encoder = {env.encoder} knows pictures of {saved.task}, not of {env.task}"
        )

    def turn(made: gym.vector.VectorEnv, test: bool) -> gym.vector.VectorEnv:
        bank = _bank(env, saved, test)
        threshold = env.latent_threshold or 0.0
        return ImageGoals(made, saved.encoder, bank, saved.camera, env.goal_reward, threshold)

    return turn


def encoder_folder(env: EnvConfig, run: Path | None = None) -> Path:
    """The folder of the encoder of image goals: the run's own, or the one that is configured.

    Raises:
        UserError: if there is none.
    """
    if run is not None and (run / CARD).exists():
        return run
    shipped = trained_encoders()
    if env.encoder is None:
        raise UserError(
            "env.goal = image needs env.encoder: the folder of one that `her-robotics encode` made, or "
            f"one that ships: {', '.join(shipped)}"
        )
    folder = Path(env.encoder)
    if folder.exists() or folder.name != env.encoder:
        return folder
    if env.encoder not in shipped:
        raise UserError(
            f"env.encoder = {env.encoder} is neither the folder of an encoder nor one that ships: choose "
            f"one of {', '.join(shipped)}"
        )
    return shipped[env.encoder]


def _bank(env: EnvConfig, saved: SavedEncoder, test: bool) -> GoalBank:
    count, seed = (
        (test_count(env.goal_images), TEST_BANK) if test else (env.goal_images, TRAINING_BANK)
    )
    images = goal_bank(
        env.task, count, saved.camera, saved.encoder.size, seed=seed, num_threads=env.num_threads
    )
    return GoalBank(images.pictures, images.achieved)


def _refuse_misfits(env: EnvConfig) -> None:
    plain = EnvConfig()
    if env.goal != "image":
        for name in SETTINGS:
            if getattr(env, name) != getattr(plain, name):
                raise UserError(
                    f"env.{name} is a setting of image goals: it needs env.goal = image"
                )
        return
    if env.task not in envs.TASKS:
        raise UserError(f"env.goal = image needs one of our Fetch tasks, not {env.task}")
    sparse = env.goal_reward == "latent_sparse"
    if sparse != (env.latent_threshold is not None):
        raise UserError(
            f"env.latent_threshold = {env.latent_threshold} with env.goal_reward = {env.goal_reward}: "
            "latent_sparse needs one, and nothing else has any"
        )
    if env.goal_reward != "state" and env.reward != "sparse":
        raise UserError(
            f"env.reward = {env.reward} means nothing to env.goal_reward = {env.goal_reward}: leave it "
            "at sparse"
        )
