"""How fast pictures for learning are drawn, against MuJoCo's own renderer after mj_forward.

All draw the same recorded states of FetchPush from the task's camera, and take their turns in every
round, there and back, in one process. Between the bare renderer and ours stand its variations, each with
one thing changed, since they say which of our decisions pay: only kinematics, shadows and reflections
off, no multisampling, the buffer no larger than the picture. Ours is drawn with its smooth edges and
without, and by several processes.

Wall time says what a run feels; frames per second of processor time say what a picture costs where other
programs share the cores; that of other processes is not known to this one.

Run from the repository's root on a quiet machine: ``python -m benchmarks.render_speed``.
"""

import copy
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
import tyro
from tqdm import tqdm

from benchmarks.report import at_least, machine, publish, spread
from envs import find_task
from envs.camera import choose_context
from envs.fetch import FetchVectorEnv
from envs.picture_pool import PicturePool
from envs.pictures import Pictures
from envs.scene import load_scene, picture_camera

TASK, PLAYED = "fetch_push", 16
BARE, OURS, ROUGH, POOL = "bare mujoco.Renderer", "ours", "ours, rough edges", "ours, processes"
UNITS = (" per second", " per second of processor time")
Draw = Callable[[np.ndarray], object]
"""Draws recorded joint positions ``(n, nq)``, one after another."""


@dataclass(frozen=True)
class Arguments:
    """Pictures per second of FetchPush: ours, the bare renderer, and what lies between them."""

    sizes: tuple[int, ...] = (64, 84, 128)
    """Width and height of the pictures, in pixels."""
    pictures: int = 100
    """Pictures in a turn."""
    workers: int = 2
    """Processes of ours where it is drawn by several."""
    rounds: int = 8
    """Rounds; the first one warms up and is dropped."""
    seed: int = 0
    """Seed of the episodes and actions."""
    out: str | None = None
    """File to write; without it, render_speed.json in the results folder beside this script."""
    json: bool = False
    """Print one JSON object."""


def recorded(count: int, seed: int) -> np.ndarray:
    """Joint positions of states met under random actions, ``(count, nq)``."""
    env, generator = FetchVectorEnv(TASK, num_envs=PLAYED), np.random.default_rng(seed)
    env.reset(seed=seed)
    states: list[np.ndarray] = []
    while len(states) * PLAYED < count:
        env.step(generator.uniform(-1.0, 1.0, (PLAYED, 4)))
        states.append(env.poses[:, : load_scene(find_task(TASK)).model.nq])
    env.close()
    return np.concatenate(states)[:count]


def bare(
    stack: ExitStack,
    size: int,
    samples: int | None = None,
    flags: tuple[int, ...] = (),
    buffer: int | None = None,
    kinematics: bool = False,
) -> Draw:
    """MuJoCo's own renderer, with what is to be different about it."""
    model = copy.copy(load_scene(find_task(TASK)).model)
    if samples is not None:
        model.vis.quality.offsamples = samples
    if buffer is not None:
        model.vis.global_.offwidth = model.vis.global_.offheight = buffer
    data, camera = mujoco.MjData(model), picture_camera(find_task(TASK))
    renderer = stack.enter_context(mujoco.Renderer(model, size, size))
    for flag in flags:
        renderer.scene.flags[flag] = False

    def draw(states: np.ndarray) -> None:
        for qpos in states:
            data.qpos[:] = qpos
            if kinematics:
                mujoco.mj_kinematics(model, data)
                mujoco.mj_camlight(model, data)
            else:
                mujoco.mj_forward(model, data)
            renderer.update_scene(data, camera)
            renderer.render()

    return draw


def ours(stack: ExitStack, size: int, oversampling: int) -> Draw:
    """Our pictures."""
    drawer = Pictures(find_task(TASK), oversampling)
    stack.callback(drawer.close)
    return lambda states: drawer.draw(states, size=size)


def pool(stack: ExitStack, size: int, workers: int) -> Draw:
    """Our pictures, drawn by several processes."""
    drawer = PicturePool(find_task(TASK), workers)
    stack.callback(drawer.close)
    return lambda states: drawer.draw(states, size=size)


def line_up(stack: ExitStack, size: int, workers: int) -> dict[str, Draw]:
    """Everyone to be measured, by name."""
    effects = (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION)
    return {
        BARE: bare(stack, size),
        "bare, kinematics only": bare(stack, size, kinematics=True),
        "bare, no shadows and reflections": bare(stack, size, flags=effects),
        "bare, small buffer": bare(stack, size, buffer=size),
        "bare, no multisampling": bare(stack, size, samples=0),
        "bare, no multisampling, small buffer": bare(stack, size, samples=0, buffer=size),
        ROUGH: ours(stack, size, 1),
        OURS: ours(stack, size, 2),
        POOL: pool(stack, size, workers),
    }


def measure(size: int, states: np.ndarray, rounds: int, workers: int) -> dict[str, Any]:
    """How many pictures in each of ``UNITS``, and how many times the bare renderer's."""
    with ExitStack() as stack:
        drawers = line_up(stack, size, workers)
        names = list(drawers)
        seconds = np.zeros((2, rounds, len(names)))
        for index in tqdm(range(rounds), desc=f"{size} pixels", unit="round", disable=None):
            turns = list(enumerate(names))
            # There and back, so that a drift of the machine's speed favours none.
            for turn, name in reversed(turns) if index % 2 else turns:
                before = time.perf_counter(), time.process_time()
                drawers[name](states)
                after = time.perf_counter(), time.process_time()
                seconds[:, index, turn] = np.subtract(after, before)
    rates = len(states) / seconds[:, 1:]
    return {
        name: {
            f"{what}{unit}": spread(figures[:, turn])
            for unit, rate in zip(UNITS, rates, strict=True)
            if name != POOL or unit == UNITS[0]
            for what, figures in (("pictures", rate), ("times bare", rate / rate[:, :1]))
        }
        for turn, name in enumerate(names)
    }


def markdown(results: dict[str, Any]) -> str:
    """The results as a table."""
    columns = list(next(iter(results.values()))[BARE])
    lines = [f"| pixels | | {' | '.join(columns)} |", "|--:|---" + "|--:" * len(columns) + "|"]
    for size, rows in results.items():
        for name, row in rows.items():
            figures = [f"{row[key]['median']:,.2f}" if key in row else "" for key in columns]
            lines.append(f"| {size} | {name} | {' | '.join(figures)} |")
    return "\n".join(lines)


def main() -> None:
    """Run the benchmark."""
    arguments = tyro.cli(Arguments, prog="python -m benchmarks.render_speed")
    at_least(2, rounds=arguments.rounds)
    at_least(1, pictures=arguments.pictures, workers=arguments.workers)
    at_least(1, sizes=min(arguments.sizes, default=0))
    where = machine()
    choose_context()
    states = recorded(arguments.pictures, arguments.seed)
    results = {
        str(size): measure(size, states, arguments.rounds, arguments.workers)
        for size in arguments.sizes
    }
    publish("render_speed", arguments, where, results)
    if not arguments.json:
        print(markdown(results))


if __name__ == "__main__":
    main()
