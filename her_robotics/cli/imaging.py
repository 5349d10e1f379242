"""Images in place of goals and observations, from a configuration: what they are seen through."""

from collections.abc import Callable
from pathlib import Path

import gymnasium as gym

import envs
from envs.goal_bank import goal_bank
from envs.scene import picture_camera
from envs.shipped import trained_encoders

from ..config import EnvConfig
from ..encoders.files import FILES, OBSERVER_FILES, SavedEncoder, copy_encoder, load_encoder
from ..errors import UserError
from ..goals.cnn import EMBEDDING
from ..goals.frames import FrameStore, Numbered
from ..image_goals import GoalBank, ImageGoals
from ..image_observations import ImageObservations

TRAINING_BANK, TEST_BANK = 0, 1
"""Seeds of the banks of goal images: for training, and for tests, whose images nothing learns from."""
END_TO_END = "end_to_end"
"""The ``env.encoder`` that is none: goals are numbers of pictures, which the agent learns to embed."""
SETTINGS = ("encoder", "goal_images", "goal_reward", "latent_threshold")
"""Settings that only image goals have."""
OBSERVING = ("observer", "frames")
"""Settings that only observations as images have."""

Turn = Callable[[gym.vector.VectorEnv, bool], gym.vector.VectorEnv]
"""Turns what an env shows into what is configured; the flag says whether it is for tests."""


def test_count(count: int) -> int:
    """How many goal images tests draw from, where training draws from ``count``."""
    return max(1, count // 5)


def images(env: EnvConfig, run: Path | None) -> Turn:
    """What turns goals and observations of a Fetch env into images, or leaves them where they are not to be.

    Args:
        env: the configuration.
        run: folder of the run that it is of, if there is one already.

    Raises:
        UserError: if the settings do not fit each other, or there is no sound encoder.
    """
    _refuse_misfits(env)
    encoder = _load(env, "encoder", run) if env.goal == "image" and not learnt(env) else None
    observer = _load(env, "observer", run) if env.observation != "state" else None
    store = FrameStore(env.picture_size, EMBEDDING) if learnt(env) else None

    def turn(made: gym.vector.VectorEnv, test: bool) -> gym.vector.VectorEnv:
        if store:
            camera = picture_camera(envs.find_task(env.task))
            bank = _bank(env, camera, store.size, test)
            numbered = Numbered(store, test, bank.achieved.shape[1])
            made = ImageGoals(made, numbered, bank, camera)
        if encoder:
            bank = _bank(env, encoder.camera, encoder.encoder.size, test)
            threshold = env.latent_threshold or 0.0
            made = ImageGoals(
                made, encoder.encoder, bank, encoder.camera, env.goal_reward, threshold
            )
        if observer:
            state = env.observation == "asymmetric"
            same = encoder is not None and encoder.card["sha256"] == observer.card["sha256"]
            seen = (observer.encoder, observer.camera, env.frames)
            scene = observer.encoder.supervised and observer.card.get("reads") == "scene"
            made = ImageObservations(made, *seen, state, embedded=same, scene=scene)
        return made

    return turn


def learnt(env: EnvConfig) -> bool:
    """Whether goals are numbers of pictures, which the agent learns to embed."""
    return env.goal == "image" and env.encoder == END_TO_END


def keep_encoders(env: EnvConfig, run: Path) -> None:
    """Put what a run's images are seen through into its folder."""
    if env.goal == "image" and not learnt(env):
        copy_encoder(_find(env.encoder, "env.encoder"), run)
    if env.observation != "state":
        copy_encoder(_find(env.observer, "env.observer"), run, OBSERVER_FILES)


def _load(env: EnvConfig, setting: str, run: Path | None) -> SavedEncoder:
    """The encoder of a setting: from the run's own folder, or the one that is configured.

    Raises:
        UserError: if there is none, or it is of another task.
    """
    given, files = getattr(env, setting), OBSERVER_FILES if setting == "observer" else FILES
    if run is not None and (run / files.card).exists():
        saved = load_encoder(run, files)
    else:
        saved = load_encoder(_find(given, f"env.{setting}"))
    if saved.task != env.task:
        raise UserError(
            f"env.{setting} = {given} knows pictures of {saved.task}, not of {env.task}"
        )
    return saved


def _find(given: str | None, setting: str) -> Path:
    """The folder of a configured encoder.

    Raises:
        UserError: if there is none.
    """
    shipped = trained_encoders()
    if given is None:
        raise UserError(
            f"seeing images needs {setting}: the folder of an encoder that `her-robotics encode` made, or "
            f"one that ships: {', '.join(shipped)}"
            + (f"; or {END_TO_END}" if "encoder" in setting else "")
        )
    folder = Path(given)
    if folder.exists() or folder.name != given:
        return folder
    if given not in shipped:
        raise UserError(
            f"{setting} = {given} is neither the folder of an encoder nor one that ships: choose "
            f"one of {', '.join(shipped)}"
        )
    return shipped[given]


def _bank(env: EnvConfig, camera: str, size: int, test: bool) -> GoalBank:
    count, seed = (
        (test_count(env.goal_images), TEST_BANK) if test else (env.goal_images, TRAINING_BANK)
    )
    images = goal_bank(env.task, count, camera, size, seed=seed, num_threads=env.num_threads)
    return GoalBank(images.pictures, images.achieved)


def _refuse_misfits(env: EnvConfig) -> None:
    _refuse_without(env, SETTINGS, "image goals: it needs env.goal = image", env.goal == "image")
    _refuse_without(
        env,
        OBSERVING,
        "observations as images: it needs env.observation = image or asymmetric",
        env.observation != "state",
    )
    _refuse_without(env, ("picture_size",), f"env.encoder = {END_TO_END} alone", learnt(env))
    if env.task not in envs.TASKS:
        for name in ("goal", "observation"):
            if getattr(env, name) not in (None, "state"):
                raise UserError(
                    f"env.{name} = {getattr(env, name)} needs one of our Fetch tasks, not {env.task}"
                )
    sparse = env.goal_reward == "latent_sparse"
    if sparse != (env.latent_threshold is not None):
        raise UserError(
            f"env.latent_threshold = {env.latent_threshold} with env.goal_reward = {env.goal_reward}: "
            "latent_sparse needs one, and nothing else has any"
        )
    for name in ("goal_reward", "observation") if learnt(env) else ():
        if getattr(env, name) != "state":
            raise UserError(
                f"env.{name} = {getattr(env, name)} needs an encoder that is trained beforehand, not "
                f"env.encoder = {END_TO_END}"
            )
    if env.goal_reward != "state" and env.reward != "sparse":
        raise UserError(
            f"env.reward = {env.reward} means nothing to env.goal_reward = {env.goal_reward}: leave it "
            "at sparse"
        )


def _refuse_without(env: EnvConfig, names: tuple[str, ...], of: str, there: bool) -> None:
    plain = EnvConfig()
    changed = [name for name in names if getattr(env, name) != getattr(plain, name)]
    if changed and not there:
        raise UserError(f"env.{changed[0]} is a setting of {of}")
