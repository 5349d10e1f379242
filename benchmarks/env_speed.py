"""How fast the vector env steps, against the bare physics it cannot outrun.

Ours is everything a step gives: observations, goals, rewards. The limit is ``mj_step`` alone, on
the same model, from the same start states and under the same actions, by Python threads that share
the simulations out as they become free. Both play the same episodes, in alternating rounds; that
they end in the same states is measured too.

Run from the repository's root on a quiet machine: ``python -m benchmarks.env_speed``.
"""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import gymnasium as gym
import mujoco
import numpy as np
import tyro
from tqdm import tqdm

import envs
from benchmarks.report import at_least, machine, publish, spread
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

TASK = "fetch_push"
POSITIONS, OBJECT_XY = slice(0, 6), slice(3, 5)
"""Where an observation holds the positions of gripper and object, and the object's on the table."""
TARGETS = {"steps_per_second": 4_000, "ratio": 0.95}


@dataclass(frozen=True)
class Arguments:
    """Env steps per second of FetchPush with random actions, and of its bare physics."""

    num_envs: int = 64
    """Simulations stepped at once."""
    threads: int = 2
    """Physics threads, of ours and of the limit."""
    rounds: int = 12
    """Rounds of each, in turn; the first one warms up and is dropped."""
    steps: int = 50
    """Env steps of every simulation in a round; an episode has 50."""
    seed: int = 0
    """Seed of the episodes and actions."""
    out: str | None = None
    """File to write; without it, env_speed.json in the results folder beside this script."""
    json: bool = False
    """Print one JSON object."""


class Round(NamedTuple):
    """One round of either kind.

    Attributes:
        seconds: time that counted.
        positions: ``(n, 6)`` where gripper and object ended, metres.
    """

    seconds: float
    positions: np.ndarray


class BarePhysics:
    """The simulations of FetchPush and nothing around them.

    Args:
        num_envs: how many simulations.
        threads: Python threads that step them; ``mj_step`` releases the GIL.
    """

    def __init__(self, num_envs: int, threads: int):
        self._scene = load_scene(envs.find_task(TASK))
        self._model = model = self._scene.model
        self._datas = [mujoco.MjData(model) for _ in range(num_envs)]
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads)
        self._mocap = int(model.body(MOCAP_BODY).mocapid[0])
        self._link = model.body(GRIP_BODY).id
        self._fingers = [model.joint(name).qposadr[0] for name in FINGERS]
        self._object = int(model.joint(f"{OBJECT}:joint").qposadr[0])

    def play(self, object_xy: np.ndarray, actions: np.ndarray) -> Round:
        """Step through ``actions`` ``(steps, n, 4)`` with objects starting at ``(n, 2)``."""
        for data, start in zip(self._datas, object_xy, strict=True):
            self._reset(data, start)
        seconds = 0.0
        for displacements in actions[:, :, :3] * MAX_DISPLACEMENT:
            for data, displacement in zip(self._datas, displacements, strict=True):
                self._pull(data, displacement)
            begin = time.perf_counter()
            self._step()
            seconds += time.perf_counter() - begin
        for data in self._datas:
            mujoco.mj_kinematics(self._model, data)
        ends = [[data.site(GRIP_SITE).xpos, data.site(OBJECT).xpos] for data in self._datas]
        return Round(seconds, np.array(ends).reshape(-1, 6))

    def close(self) -> None:
        """Stop the threads."""
        self._pool.shutdown()

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


def play_ours(env: gym.vector.VectorEnv, actions: np.ndarray) -> Round:
    """Step a freshly reset env through ``actions`` ``(steps, n, 4)``."""
    obs: dict[str, np.ndarray] = {}
    begin = time.perf_counter()
    for action in actions:
        obs, *_ = env.step(action)
    return Round(time.perf_counter() - begin, obs["observation"][:, POSITIONS])


def measure(arguments: Arguments) -> dict[str, Any]:
    """Play all rounds, and sum them up in steps per second."""
    task, count = envs.find_task(TASK), arguments.num_envs
    env = gym.make_vec(task.id, num_envs=count, num_threads=arguments.threads)
    bare = BarePhysics(count, arguments.threads)
    generator = np.random.default_rng(arguments.seed)
    speeds, resets, difference = [], [], 0.0
    for index in tqdm(range(arguments.rounds), unit="round", disable=None):
        begin = time.perf_counter()
        obs, _ = env.reset(seed=arguments.seed + index * count)
        resets.append(time.perf_counter() - begin)
        object_xy = obs["observation"][:, OBJECT_XY]
        actions = generator.uniform(-1.0, 1.0, (arguments.steps, count, 4)).astype(np.float32)
        # The order alternates, so that a drift of the machine's speed favours neither.
        if index % 2:
            limit, ours = bare.play(object_xy, actions), play_ours(env, actions)
        else:
            ours, limit = play_ours(env, actions), bare.play(object_xy, actions)
        steps = count * arguments.steps
        speeds.append((steps / ours.seconds, steps / limit.seconds))
        difference = max(difference, float(np.abs(ours.positions - limit.positions).max()))
    env.close()
    bare.close()
    return summary(np.array(speeds[1:]), np.array(resets[1:]), difference)


def summary(speeds: np.ndarray, resets: np.ndarray, difference: float) -> dict[str, Any]:
    """What the rounds ``(rounds, 2)`` of ours and bare say, with the rounds themselves."""
    ours, bare = speeds.T
    return {
        "ours_steps_per_second": spread(ours),
        "bare_steps_per_second": spread(bare),
        "ours_over_bare": spread(ours / bare),
        "reset_milliseconds": spread(1e3 * resets),
        "largest_difference_metres": difference,
        "targets": TARGETS,
        "rounds": {"ours": ours.round(1).tolist(), "bare": bare.round(1).tolist()},
    }


def main() -> None:
    """Run the benchmark."""
    arguments = tyro.cli(Arguments, prog="python -m benchmarks.env_speed")
    at_least(2, rounds=arguments.rounds)
    at_least(1, num_envs=arguments.num_envs, threads=arguments.threads, steps=arguments.steps)
    where = machine()
    results = measure(arguments)
    publish("env_speed", arguments, where, results)
    if not arguments.json:
        ours, bare = results["ours_steps_per_second"], results["bare_steps_per_second"]
        print(f"ours  {ours['median']:,.0f} env steps/s (target {TARGETS['steps_per_second']:,})")
        print(f"bare  {bare['median']:,.0f} env steps/s")
        print(f"ratio {results['ours_over_bare']['median']:.3f} (target {TARGETS['ratio']})")


if __name__ == "__main__":
    main()
