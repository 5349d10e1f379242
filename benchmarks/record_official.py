"""Records episodes of the official Fetch envs as they come, on a MuJoCo they still run on unpatched.

They are the yardstick for how far later versions of MuJoCo drift (``python -m benchmarks.parity``).
The script stands alone: where such an old MuJoCo is installed, nothing of ours can be. Python 3.11:

    python -m pip install mujoco==3.10.0 gymnasium-robotics==1.4.2 gymnasium==1.4.0 numpy==2.4.6
    python benchmarks/record_official.py

It refuses to record envs that do not run unpatched.
"""

import argparse
import json
import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import gymnasium as gym
import mujoco
import numpy as np

OFFICIAL_IDS = {
    "fetch_reach": "FetchReach-v4",
    "fetch_push": "FetchPush-v4",
    "fetch_slide": "FetchSlide-v4",
    "fetch_pick_and_place": "FetchPickAndPlace-v4",
}
HORIZON = 50
VERSION = mujoco.__version__
PACKAGES = ("mujoco", "gymnasium-robotics", "gymnasium", "numpy")
DATA = Path(__file__).resolve().parents[1] / "tests" / "data"


class Recording(NamedTuple):
    """n episodes of t steps.

    Attributes:
        seed: ``(n,)`` what each was reset with.
        action: ``(n, t, 4)``, of the type they were given in.
        observation: ``(n, t + 1, o)`` float64, that of the reset first.
        achieved_goal: ``(n, t + 1, 3)`` float64.
        desired_goal: ``(n, 3)`` float64.
        reward: ``(n, t)`` float64.
        success: ``(n, t)`` bool.
        touch: ``(n, t)`` bool: whether the robot was in contact with anything at the step's end.
    """

    seed: np.ndarray
    action: np.ndarray
    observation: np.ndarray
    achieved_goal: np.ndarray
    desired_goal: np.ndarray
    reward: np.ndarray
    success: np.ndarray
    touch: np.ndarray


def act(
    task: str, shown: dict[str, np.ndarray], step: int, generator: np.random.Generator
) -> np.ndarray:
    """An action ``(4,)`` of a clumsy hand that is sure to touch something, and at times succeeds."""
    grip, thing, goal = shown["observation"][:3], shown["achieved_goal"], shown["desired_goal"]
    way = goal - thing
    ahead = way / max(float(np.linalg.norm(way)), 1e-9)
    fingers = -1.0
    if task == "fetch_reach":
        aim = goal if step < HORIZON // 2 else np.array([1.3, 0.75, 0.3])  # into the table
    elif task == "fetch_pick_and_place":
        aim = thing if step < 20 else goal
        if step < 8:
            aim = aim + np.array([0.0, 0.0, 0.08])
        fingers = 1.0 if step < 16 else -1.0
    elif step < 12:
        aim = thing - 0.09 * ahead
    elif step >= 20 and np.linalg.norm(way) < 0.04:
        aim = grip
    else:
        aim = grip + (0.4 if task == "fetch_push" else 1.0) * (thing - grip)
    action = np.append(10.0 * (aim - grip), fingers)
    return np.clip(action, -1.0, 1.0) + generator.uniform(-0.3, 0.3, 4)


def record(
    env: gym.Env, task: str, seeds: Sequence[int], dtype: type[np.floating] = np.float32
) -> Recording:
    """Play episodes of an official env, with actions of one type."""
    episodes = [_episode(env, task, seed, dtype) for seed in seeds]
    return Recording(*(np.stack(values) for values in zip(*episodes, strict=True)))


def _episode(env: gym.Env, task: str, seed: int, dtype: type[np.floating]) -> Recording:
    generator = np.random.default_rng(seed)
    touch_now = Touch(env)
    shown, _ = env.reset(seed=seed)
    views, steps = [shown], []
    for step in range(HORIZON):
        action = np.clip(act(task, shown, step, generator), -1.0, 1.0).astype(dtype)
        shown, reward, _, _, info = env.step(action)
        views.append(shown)
        steps.append((action, float(reward), bool(info["is_success"]), touch_now()))
    action, reward, success, touch = (np.array(column) for column in zip(*steps, strict=True))
    return Recording(
        seed=np.array(seed),
        action=action,
        observation=np.stack([view["observation"] for view in views]),
        achieved_goal=np.stack([view["achieved_goal"] for view in views]),
        desired_goal=views[0]["desired_goal"],
        reward=reward,
        success=success,
        touch=touch,
    )


class Touch:
    """Whether the robot is in contact with the object or, where there is none, with the table."""

    def __init__(self, env: gym.Env):
        model, self._data = env.unwrapped.model, env.unwrapped.data
        names = [model.body(body).name for body in model.geom_bodyid]
        other = "object0" if "object0" in names else "table0"
        self._robot = np.array([name.startswith("robot0:") for name in names])
        self._other = np.array([name == other for name in names])

    def __call__(self) -> bool:
        one, other = self._data.contact.geom.T
        robot, thing = self._robot, self._other
        return bool((robot[one] & thing[other] | robot[other] & thing[one]).any())


def refuse_unless_it_runs_unpatched() -> None:
    """Make and reset every env.

    Raises:
        SystemExit: if one fails, or if something has exchanged a module that it works with.
    """
    import gymnasium_robotics
    from gymnasium_robotics.utils import mujoco_utils

    gym.register_envs(gymnasium_robotics)
    installed = f"gymnasium-robotics {metadata.version('gymnasium-robotics')} on mujoco {VERSION}"
    if mujoco_utils.mujoco is not mujoco:
        raise SystemExit(f"{installed} is patched: record in a fresh process")
    for name in OFFICIAL_IDS.values():
        try:
            env = gym.make(name)
            env.reset(seed=0)
            env.close()
        except Exception as error:
            raise SystemExit(
                f"{installed} does not run {name} unpatched ({error!r}): install mujoco==3.10.0"
            ) from error


def save(path: Path, recordings: dict[str, Recording]) -> None:
    """Write recordings and the versions that made them, compressed."""
    versions = {package: metadata.version(package) for package in PACKAGES}
    versions["python"] = platform.python_version()
    versions["machine"] = f"{platform.system()} {platform.machine()}"
    arrays = {
        f"{task}.{field}": values
        for task, recording in recordings.items()
        for field, values in recording._asdict().items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, versions=np.array(json.dumps(versions)), **arrays)


def load(path: Path) -> tuple[dict[str, Recording], dict[str, str]]:
    """Recordings by task, and the versions that made them."""
    with np.load(path) as file:
        recordings = {
            task: Recording(*(file[f"{task}.{field}"] for field in Recording._fields))
            for task in OFFICIAL_IDS
        }
        return recordings, json.loads(str(file["versions"]))


def main() -> None:
    """Record, and say what was recorded."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--episodes", type=int, default=6, help="per task")
    parser.add_argument("--out", type=Path, help="the .npz file; named after MuJoCo's version")
    arguments = parser.parse_args()
    if arguments.episodes < 1:
        raise SystemExit(f"--episodes must be at least 1, not {arguments.episodes}")
    refuse_unless_it_runs_unpatched()
    path = arguments.out or DATA / f"official_mujoco_{'.'.join(VERSION.split('.')[:2])}.npz"
    recordings = {}
    for task, name in OFFICIAL_IDS.items():
        env = gym.make(name)
        recordings[task] = made = record(env, task, range(arguments.episodes))
        env.close()
        touched, succeeded = made.touch.any(axis=1).sum(), made.success.any(axis=1).sum()
        print(f"{task}: contact in {touched}, success in {succeeded} of {len(made.seed)} episodes")
    save(path, recordings)
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
