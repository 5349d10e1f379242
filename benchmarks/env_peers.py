"""Who steps FetchPush in ``benchmarks.env_speed``: our vector env, the bare physics, and our peers.

All of them play whole episodes from a reset that is timed by itself, under the same random actions,
and nothing resets on its own in between. What is measured of the official env is Gymnasium's vector
envs around ``FetchPush-v4``, as ``envs/compat.py`` repairs it, without Gymnasium's env checker. envpool
is measured if it is installed: its ``FetchPush-v4`` has the same observations and the same 20 substeps
of 2 ms, but runs on a MuJoCo of its own (3.6.0 in envpool 1.2.5) and from its own home state, in which
the gripper stands 1.7 cm farther back.
"""

import contextlib
import importlib
import importlib.util
import io
import multiprocessing
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import gymnasium as gym
import mujoco
import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

import envs
from envs.compat import register_gymnasium_robotics
from envs.scene import (
    FINGERS,
    GRIP_BODY,
    GRIP_SITE,
    GRIPPER_QUATERNION,
    MOCAP_BODY,
    OBJECT,
    load_scene,
)
from envs.simulation import MAX_DISPLACEMENT
from envs.tasks import SUBSTEPS

TASK, OFFICIAL_ID = "fetch_push", "FetchPush-v4"
STOCK, LIGHT, BARE = "ours_stock", "ours_light", "bare"
SYNC, ASYNC, ENVPOOL = "official_sync", "official_async", "envpool"
MODELS: dict[str, dict[str, Any]] = {STOCK: {"model": "stock"}, LIGHT: {"model": "light"}}
"""Ours, and how the vector env is asked for each of its models."""
POSITIONS, OBJECT_XY = slice(0, 6), slice(3, 5)
"""Where an observation holds the positions of gripper and object, and the object's on the table."""


class Round(NamedTuple):
    """One episode of every simulation.

    Attributes:
        seconds: time that the steps took.
        reset_seconds: time that the reset before them took.
        positions: ``(n, 6)`` where gripper and object ended, metres.
    """

    seconds: float
    reset_seconds: float
    positions: np.ndarray


class Player(Protocol):
    """Something that plays n episodes at once."""

    def play(self, seed: int, actions: np.ndarray) -> Round:
        """Reset by ``seed`` and step through ``actions`` ``(steps, n, 4)``."""
        ...

    def close(self) -> None:
        """Stop its threads and processes."""
        ...


@dataclass(frozen=True)
class Contender:
    """A player before it is started.

    Attributes:
        name: one of ``STOCK`` to ``ENVPOOL``.
        envs: simulations that it steps at once.
        workers: threads, or processes if it is ``ASYNC``, that step them.
        start: makes the player.
    """

    name: str
    envs: int
    workers: int
    start: Callable[[], Player]


class VectorPlayer:
    """A vector env of whatever make.

    Args:
        env: the env; it is closed with the player.
        seeded: whether its ``reset`` takes a seed.
    """

    def __init__(self, env: Any, seeded: bool = True):
        self._env, self._seeded = env, seeded

    def play(self, seed: int, actions: np.ndarray) -> Round:
        """Reset by ``seed`` and step through ``actions`` ``(steps, n, 4)``."""
        begin = time.perf_counter()
        obs, _ = self._env.reset(**({"seed": seed} if self._seeded else {}))
        reset = time.perf_counter()
        for action in actions:
            obs, *_ = self._env.step(action)
        seconds = time.perf_counter() - reset
        return Round(seconds, reset - begin, obs["observation"][:, POSITIONS])

    def close(self) -> None:
        """Close the env."""
        self._env.close()


class BarePhysics:
    """The simulations of FetchPush and nothing around them.

    Args:
        num_envs: how many simulations.
        threads: Python threads that step them; ``mj_step`` releases the GIL.
    """

    def __init__(self, num_envs: int, threads: int):
        self._starts = _make_ours(STOCK, num_envs, threads)
        self._scene = load_scene(envs.find_task(TASK))
        self._model = model = self._scene.model
        self._datas = [mujoco.MjData(model) for _ in range(num_envs)]
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads)
        self._mocap = int(model.body(MOCAP_BODY).mocapid[0])
        self._link = model.body(GRIP_BODY).id
        self._fingers = [model.joint(name).qposadr[0] for name in FINGERS]
        self._object = int(model.joint(f"{OBJECT}:joint").qposadr[0])

    def play(self, seed: int, actions: np.ndarray) -> Round:
        """Step through ``actions`` ``(steps, n, 4)`` from where ours starts with ``seed``."""
        object_xy = self._starts.reset(seed=seed)[0]["observation"][:, OBJECT_XY]
        begin = time.perf_counter()
        for data, start in zip(self._datas, object_xy, strict=True):
            self._reset(data, start)
        reset_seconds, seconds = time.perf_counter() - begin, 0.0
        for displacements in actions[:, :, :3] * MAX_DISPLACEMENT:
            for data, displacement in zip(self._datas, displacements, strict=True):
                self._pull(data, displacement)
            begin = time.perf_counter()
            self._step()
            seconds += time.perf_counter() - begin
        for data in self._datas:
            mujoco.mj_kinematics(self._model, data)
        ends = [[data.site(GRIP_SITE).xpos, data.site(OBJECT).xpos] for data in self._datas]
        return Round(seconds, reset_seconds, np.array(ends).reshape(-1, 6))

    def close(self) -> None:
        """Stop the threads."""
        self._pool.shutdown()
        self._starts.close()

    def _step(self) -> None:
        # Threads draw from one iterator: a fixed share each would leave the faster one idle.
        waiting = iter(self._datas)
        jobs = [self._pool.submit(self._work, waiting) for _ in range(self._threads)]
        for job in jobs:
            job.result()

    def _work(self, waiting: Iterator[mujoco.MjData]) -> None:
        for data in waiting:
            mujoco.mj_step(self._model, data, nstep=SUBSTEPS)

    def _reset(self, data: mujoco.MjData, object_xy: np.ndarray) -> None:
        mujoco.mj_resetData(self._model, data)
        data.time = self._scene.time
        data.qpos[:], data.qvel[:] = self._scene.qpos, self._scene.qvel
        data.qpos[self._object : self._object + 2] = object_xy

    def _pull(self, data: mujoco.MjData, displacement: np.ndarray) -> None:
        """Move the body the gripper is welded to as the env does, so that contacts are the same."""
        if data.time > self._scene.time:
            data.qpos[self._fingers] = 0.0
        mujoco.mj_kinematics(self._model, data)
        data.mocap_pos[self._mocap] = data.xpos[self._link] + displacement
        data.mocap_quat[self._mocap] = data.xquat[self._link] + GRIPPER_QUATERNION


def ours(name: str, num_envs: int, threads: int) -> Contender:
    """Our vector env, ``STOCK`` or ``LIGHT``."""
    workers = min(threads, num_envs)
    return Contender(
        name, num_envs, workers, lambda: VectorPlayer(_make_ours(name, num_envs, threads))
    )


def bare(num_envs: int, threads: int) -> Contender:
    """``mj_step`` alone, on the stock model."""
    return Contender(BARE, num_envs, threads, lambda: BarePhysics(num_envs, threads))


def official_sync(num_envs: int) -> Contender:
    """The official env in Gymnasium's ``SyncVectorEnv``, one after the other in this process."""

    def start() -> Player:
        makers = [_make_official] * num_envs
        return VectorPlayer(SyncVectorEnv(makers, autoreset_mode=AutoresetMode.DISABLED))

    return Contender(SYNC, num_envs, 1, start)


def official_async(num_envs: int) -> Contender:
    """The official env in Gymnasium's ``AsyncVectorEnv``, each in a process of its own."""

    def start() -> Player:
        makers = [_make_official] * num_envs
        # A process with threads, as this one, is not to be forked; a fresh one may be.
        contexts = multiprocessing.get_all_start_methods()
        context = "forkserver" if "forkserver" in contexts else "spawn"
        mode = AutoresetMode.DISABLED
        return VectorPlayer(AsyncVectorEnv(makers, context=context, autoreset_mode=mode))

    return Contender(ASYNC, num_envs, num_envs, start)


def envpool(num_envs: int, threads: int, seed: int) -> Contender:
    """envpool's FetchPush; its episodes are seeded once, by ``seed``."""

    def start() -> Player:
        make = importlib.import_module(ENVPOOL).make
        options = {"num_envs": num_envs, "num_threads": threads, "seed": seed}
        return VectorPlayer(make(OFFICIAL_ID, env_type="gymnasium", **options), seeded=False)

    return Contender(ENVPOOL, num_envs, threads, start)


def has_envpool() -> bool:
    """Whether envpool, which nothing here depends on, is installed."""
    return importlib.util.find_spec(ENVPOOL) is not None


def _make_ours(name: str, num_envs: int, threads: int) -> gym.vector.VectorEnv:
    task = envs.find_task(TASK)
    return gym.make_vec(task.id, num_envs=num_envs, num_threads=threads, **MODELS[name])


def _make_official() -> gym.Env:
    """The official env, registered and repaired here: a worker process begins with neither."""
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")  # every worker would say the same
        register_gymnasium_robotics()
        return gym.make(OFFICIAL_ID, disable_env_checker=True)
