"""`her-robotics encode`: an encoder of pictures, trained on what a task's camera sees."""

import dataclasses
import time
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
import tyro
from tqdm import tqdm

import envs
from envs.goal_bank import goal_bank
from envs.goal_images import GoalImages
from envs.scene import picture_camera
from envs.shipped import trained_policies

from ..config import EnvConfig
from ..encoders import ENCODERS, Frames, PictureEncoder
from ..encoders.collecting import HeldActions, collect, noisy
from ..encoders.files import CARD, SHEET, WEIGHTS, save_encoder
from ..encoders.fitting import ProbeResult, fit, fit_probe, nearest_error, probe
from ..errors import UserError
from ..pictures import contact_sheet, write_picture
from ..rollout import ActionFunction
from ..run_folder import provenance
from ..saved_policy import load_policy
from .imaging import TEST_BANK, TRAINING_BANK, test_count
from .making import env_maker
from .parse import at_least, parse
from .policies import find_run

HELD_OUT = 0.15
"""Share of the episodes that an encoder does not learn from."""
SHOWN = 16
"""Held-out pictures on the sheet."""
ENVS = 16


@dataclasses.dataclass(frozen=True)
class EncodeArguments:
    """Train an encoder of pictures for a task: from interaction and goal images to goals of few numbers."""

    task: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="TASK")]
    """A task of ours, such as fetch_push."""
    encoder: Literal["keypoint", "tracked", "vae", "contrastive"] = "keypoint"
    """Keypoint and tracked, which remembers what is hidden, learn from the simulator's goals; vae and
    contrastive from pictures alone."""
    reads: Literal["goal", "scene"] = "goal"
    """What stands for the truth, to learn from or to be tested by: the goal achieved, for goals as images;
    or the positions of all objects and of the gripper, for observations as images."""
    out: str | None = None
    """Its folder (default runs/<task>-<encoder>-<date>-<time>)."""
    policy: str | None = None
    """Run or shipped policy whose episodes, with noise, are half of what is seen. None takes the one that
    ships for the task, if there is one; beside it there are random episodes."""
    episodes: int = 640
    """Episodes that frames are taken from, every fifth of each, or of contrastive every other one."""
    goals: int = 1000
    """Goal images to learn from as well."""
    updates: int = 1500
    """Updates of the encoder."""
    batch_size: int = 64
    """Frames in an update."""
    embedding: int | None = None
    """Numbers in an embedding. None takes the encoder's own."""
    size: int = 64
    """Width and height of the pictures, in pixels."""
    camera: str | None = None
    """A camera of the scene; None takes the one that is meant for the task."""
    seed: int = 0
    """Seed of everything random."""


def encode(arguments: list[str]) -> int:
    """Train an encoder; returns the exit code."""
    given = parse(EncodeArguments, arguments, "her-robotics encode")
    at_least("--batch-size", given.batch_size, 2)
    for name in ("episodes", "goals", "updates"):
        at_least(f"--{name}", getattr(given, name), 1)
    at_least("--seed", given.seed, 0)
    if given.task not in envs.TASKS:
        choices = ", ".join(envs.TASKS)
        raise UserError(f"there are no pictures of {given.task!r}: choose one of {choices}")
    camera = given.camera or picture_camera(envs.find_task(given.task))
    torch.manual_seed(given.seed)
    torch.set_num_threads(1)
    encoder, folder = _build(given), _folder(given)
    started = time.monotonic()
    seen, tests = _pictures(given, camera)
    counts = " and ".join(f"{len(each.goals):,d} {_words(name)}" for name, each in tests.items())
    seeing = time.monotonic() - started
    print(
        f"{len(seen.goals):,d} pictures to learn from, {counts} to be tested on, after {seeing:.0f} s",
        flush=True,
    )
    fit(encoder, seen, given.updates, given.batch_size, seed=given.seed)
    encoder.eval()
    fit_probe(encoder, seen)
    results = {name: probe(encoder, each) for name, each in tests.items()}
    nearest = {name: nearest_error(encoder, each, seen) for name, each in tests.items()}
    facts = {
        "task": given.task,
        "camera": camera,
        "reads": given.reads,
        "probe": {
            name: {**result._asdict(), "nearest": nearest[name]} for name, result in results.items()
        },
        "trained": {
            **{name: getattr(given, name) for name in ("seed", "episodes", "goals", "updates")},
            "seconds": round(time.monotonic() - started, 1),
        },
        "provenance": provenance(),
    }
    save_encoder(folder, encoder, facts)
    write_picture(folder / SHEET, _sheet(encoder, [*tests.values()][-1], seen))
    _say(folder, results, nearest)
    return 0


def _build(given: EncodeArguments) -> PictureEncoder:
    task = envs.find_task(given.task)
    try:
        goal = 3 * max(1, task.objects + (given.reads == "scene"))
        return ENCODERS[given.encoder](given.size, goal, given.embedding)
    except ValueError as error:
        raise UserError(str(error)) from error


def _folder(given: EncodeArguments) -> Path:
    """The encoder's own folder, made now."""
    name = f"{given.task}-{given.encoder}-{datetime.now():%Y%m%d-%H%M%S}"
    folder = Path(given.out) if given.out else Path("runs") / name
    taken = [name for name in (CARD, WEIGHTS) if (folder / name).exists()]
    if taken:
        raise UserError(f"{folder} already holds {taken[0]}: give another name with --out")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _pictures(given: EncodeArguments, camera: str) -> tuple[Frames, dict[str, Frames]]:
    """What to learn from, and by name what to be tested on."""
    frames, held_out = _see(given, camera).split(HELD_OUT)
    if given.reads == "scene":  # goal images are out of the way: nobody observes what they show
        return frames, {"frames": held_out}
    goal_images, test_images = (_bank(given, camera, *asked) for asked in _banks(given))
    return frames + goal_images, {"frames": held_out, "goal_images": test_images}


def _see(given: EncodeArguments, camera: str) -> Frames:
    """Frames of random episodes, and of a policy's with noise."""
    env = env_maker(EnvConfig(task=given.task))(ENVS)
    generator = np.random.default_rng(given.seed)
    behaviours: list[ActionFunction] = [HeldActions(4, generator)]
    policy = given.policy or (given.task if given.task in trained_policies() else None)
    if policy:
        saved = load_policy(find_run(policy))
        if saved.env.task != given.task or saved.shape.embedding:
            raise UserError(f"--policy {policy} is none for {given.task} with goals of its own")
        behaviours.append(noisy(saved.policy.act, generator))
    bar = tqdm(total=given.episodes, unit="episode", disable=None, leave=False, dynamic_ncols=True)
    try:
        arguments: tuple[Any, ...] = (given.episodes, given.seed, camera, given.size, bar.update)
        return collect(
            env,
            behaviours,
            *arguments,
            scene=given.reads == "scene",
            every=ENCODERS[given.encoder].every,
        )
    except ValueError as error:  # no such camera
        raise UserError(str(error)) from error
    finally:
        bar.close()
        env.close()


def _banks(given: EncodeArguments) -> tuple[tuple[int, int], tuple[int, int]]:
    return (given.goals, TRAINING_BANK), (test_count(given.goals), TEST_BANK)


def _bank(given: EncodeArguments, camera: str, count: int, seed: int) -> Frames:
    """Goal images as frames, each of an episode of its own."""
    images: GoalImages = goal_bank(given.task, count, camera, given.size, seed=seed)
    goals = images.achieved.astype(np.float32)
    return Frames(np.array(images.pictures), goals, np.arange(count))


def _sheet(encoder: PictureEncoder, images: Frames, seen: Frames) -> np.ndarray:
    shown = np.linspace(0, len(images.goals) - 1, SHOWN, dtype=int)
    pictures, goals = images.pictures[shown], images.goals[shown]
    errors = 100.0 * (encoder.read(encoder.embed(pictures)) - goals).reshape(len(goals), -1, 3)
    lines = [[f"off {offset:.1f} cm" for offset in np.linalg.norm(each, axis=1)] for each in errors]
    return contact_sheet(encoder.show(pictures, seen), lines)


def _say(folder: Path, results: dict[str, ProbeResult], nearest: dict[str, float]) -> None:
    for name, result in results.items():
        print(
            f"a linear probe is off by {100 * result.mean:.1f} cm on average and less than "
            f"{100 * result.most:.1f} cm in 95 of 100 of {result.pictures:,d} held-out {_words(name)}; "
            f"what is shown by the seen frame of the nearest embedding by {100 * nearest[name]:.1f} cm"
        )
    print(f"encoder  {folder / WEIGHTS}\nlook     {folder / SHEET}")


def _words(name: str) -> str:
    return name.replace("_", " ")
