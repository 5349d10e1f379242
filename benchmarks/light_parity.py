"""Whether the lighter model has the stock model's trajectories, and how much less a substep costs.

Two vector envs, one of each model, play the same episodes step by step under actions that are chosen
by what the stock env shows: noise, arms driven hard into table, base and head and to the ends of
their reach, objects pushed about, shoved off the table and pressed upon, and with free fingers
grasped and lifted. All that observations are made of is compared after every step, and so is the
number of contacts. The envs take their steps in turns, so that they share the machine's moods.

Run from the repository's root on a quiet machine: ``python -m benchmarks.light_parity``.
"""

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tyro
from tqdm import tqdm

from benchmarks.report import at_least, machine, publish, spread
from envs import HORIZON, TASKS
from envs.fetch import FetchVectorEnv
from envs.tasks import SUBSTEPS

TOLERANCE = 1e-6
"""Greatest deviation allowed of anything that is read from a simulation, in its own unit."""
KINDS = ("noise", "extremes", "bends", "push", "shove", "press", "grasp")
"""What the arm is up to in an episode; without an object only the first three."""
GRASP = KINDS.index("grasp")
APPROACH = 14
"""Steps until a shove, press or grasp begins."""
ABOVE, BEHIND = np.array([0.0, 0.0, 0.08]), 0.09
"""Where they begin from, metres from the object."""
MOVED, LIFTED, FALLEN = 0.01, 0.05, -0.1
"""Metres: how far an object has moved to count as moved, and how high it is when lifted or fallen."""


@dataclass(frozen=True)
class Arguments:
    """Deviation between the lighter and the stock model, and time per substep of both."""

    tasks: tuple[str, ...] = tuple(TASKS)
    """Tasks to compare."""
    episodes: int = 1000
    """Episodes of each task, rounded up to whole batches."""
    num_envs: int = 50
    """Simulations in a batch."""
    seed: int = 0
    """Seed of the episodes and actions."""
    out: str | None = None
    """File to write; without it, light_parity.json in the results folder beside this script."""
    json: bool = False
    """Print one JSON object."""


class Script:
    """Actions for n simulations, of which each does one of ``KINDS`` for a whole episode.

    Args:
        kinds: ``(n,)`` index into ``KINDS`` of what each does.
        generator: what directions and noise are drawn from.
    """

    def __init__(self, kinds: np.ndarray, generator: np.random.Generator):
        count = len(kinds)
        self._kinds, self._generator = kinds, generator
        self._corners = generator.integers(-1, 2, (HORIZON // 10 + 1, count, 4)).astype(float)
        angle = generator.uniform(-np.pi, np.pi, count)
        self._heading = np.stack([np.cos(angle), np.sin(angle), np.zeros(count)], axis=1)
        self._carry = generator.uniform((-0.1, -0.15, 0.1), (0.1, 0.15, 0.3), (count, 3))
        self._goal: np.ndarray | None = None

    def act(self, step: int, observation: np.ndarray) -> np.ndarray:
        """Actions ``(n, 4)`` in [-1, 1] for what ``observation`` ``(n, size)`` shows."""
        noise = self._generator.uniform(-1.0, 1.0, (len(observation), 4))
        choices = {"noise": noise, "extremes": self._corners[0], "bends": self._corners[step // 10]}
        if observation.shape[1] > 10:
            choices |= self._handle(step, observation[:, :3], observation[:, 3:6], noise)
        picked = np.stack([choices.get(kind, noise) for kind in KINDS])
        # A simulation that has diverged shows NaN.
        action = np.nan_to_num(picked[self._kinds, np.arange(len(noise))])
        return action.clip(-1.0, 1.0).astype(np.float32)

    def _handle(
        self, step: int, grip: np.ndarray, item: np.ndarray, noise: np.ndarray
    ) -> dict[str, np.ndarray]:
        """What is done to an object at ``item`` by a gripper at ``grip``, both ``(n, 3)`` metres."""
        waiting = step < APPROACH
        behind = -BEHIND * self._heading
        push = np.concatenate([10.0 * (item - grip), noise[:, 3:]], axis=1)
        shove = _towards(item + behind - grip) if waiting else self._heading.copy()
        press = _towards(item + ABOVE - grip) if waiting else noise[:, :3] - (0.0, 0.0, 2.0)
        fingers = np.zeros((len(grip), 1))
        return {
            "push": push,
            "shove": np.concatenate([shove, fingers], axis=1),
            "press": np.concatenate([press, fingers], axis=1),
            "grasp": self._grasp(step, grip, item),
        }

    def _grasp(self, step: int, grip: np.ndarray, item: np.ndarray) -> np.ndarray:
        """Open above the object, descend on it, close, and carry it up and away."""
        close, carry = 2 * APPROACH - 4, 2 * APPROACH + 2
        if step < APPROACH:
            way, command = item + ABOVE - grip, 1.0
        elif step < carry:
            way, command = item - grip, 1.0 if step < close else -1.0
            self._goal = item + self._carry
        else:
            way, command = (item if self._goal is None else self._goal) - grip, -1.0
        return np.concatenate([_towards(way), np.full((len(grip), 1), command)], axis=1)


def _towards(way: np.ndarray) -> np.ndarray:
    return 10.0 * way


@dataclass
class Tally:
    """What a task's episodes have shown.

    Attributes:
        deviation: greatest deviation of each reading.
        contacts_differ: env steps after which the models had different numbers of contacts.
        flags: for each kind of event, ``(episodes,)`` bool: in which it happened.
        seconds: time of all steps of a batch, ``(batches, 2)``: stock, light.
    """

    deviation: dict[str, float] = field(default_factory=dict)
    contacts_differ: int = 0
    flags: dict[str, list[bool]] = field(default_factory=dict)
    seconds: list[tuple[float, float]] = field(default_factory=list)

    def compare(self, stock: FetchVectorEnv, light: FetchVectorEnv) -> None:
        """Note how far the two are apart now."""
        pairs = zip(stock._simulations.readings, light._simulations.readings, strict=True)
        for name, (ours, theirs) in zip(stock._simulations.readings._fields, pairs, strict=True):
            gap = np.nan_to_num(np.abs(ours - theirs), nan=np.inf)
            self.deviation[name] = max(self.deviation.get(name, 0.0), float(gap.max(initial=0.0)))
        self.contacts_differ += int((contacts(stock) != contacts(light)).sum())


def contacts(env: FetchVectorEnv) -> np.ndarray:
    """How many contacts each simulation had in its last substep, ``(n,)``."""
    return env._simulations._batch.bind("ncon").copy()


def play(
    stock: FetchVectorEnv, light: FetchVectorEnv, seed: int, tally: Tally, kinds: np.ndarray
) -> None:
    """Play one batch of whole episodes in both envs and note what happened.

    Args:
        stock: env of the stock model.
        light: env of the lighter model.
        seed: seed of the episodes and actions.
        tally: where to note it.
        kinds: what each simulation does, ``(num_envs,)``.
    """
    script = Script(kinds, np.random.default_rng(seed))
    shown = stock.reset(seed=seed)[0]["observation"]
    light.reset(seed=seed)
    start, seconds = shown[:, 3:6], np.zeros(2)
    names = ("touched", "moved", "lifted", "fallen")
    flags = {name: np.zeros(len(shown), dtype=bool) for name in names}
    resting: np.ndarray | None = None
    for step in range(HORIZON):
        action = script.act(step, shown)
        # Who goes first alternates, so that neither always finds warm caches.
        for turn in (0, 1) if step % 2 else (1, 0):
            begin = time.perf_counter()
            obs, *_ = (stock, light)[turn].step(action)
            seconds[turn] += time.perf_counter() - begin
            shown = obs["observation"] if turn == 0 else shown
        tally.compare(stock, light)
        resting = contacts(stock) if resting is None else resting
        flags["touched"] |= contacts(stock) > resting
        if shown.shape[1] > 10:
            way = shown[:, 3:6] - start
            flags["moved"] |= np.linalg.norm(way, axis=1) > MOVED
            flags["lifted"] |= (way[:, 2] > LIFTED) & (kinds == GRASP)
            flags["fallen"] |= way[:, 2] < FALLEN
    for name, values in flags.items():
        tally.flags.setdefault(name, []).extend(values.tolist())
    tally.seconds.append((seconds[0], seconds[1]))


def kinds_of(task: str, num_envs: int) -> np.ndarray:
    """What simulations of a task do, ``(num_envs,)`` indices into ``KINDS``, in equal shares."""
    known = TASKS[task]
    count = len(KINDS) if not known.block_gripper else GRASP if known.has_object else 3
    return np.arange(num_envs) % count


def measure(task: str, arguments: Arguments) -> dict[str, Any]:
    """Play a task's episodes and sum them up."""
    count, tally = arguments.num_envs, Tally()
    stock = FetchVectorEnv(task, count, model="stock", num_threads=1)
    light = FetchVectorEnv(task, count, model="light", num_threads=1)
    kinds = kinds_of(task, count)
    for batch in tqdm(range(-(-arguments.episodes // count)), desc=task, disable=None):
        play(stock, light, arguments.seed + batch * count, tally, kinds)
    stock.close()
    light.close()
    return summary(tally, count)


def summary(tally: Tally, num_envs: int) -> dict[str, Any]:
    """A task's results."""
    microseconds = 1e6 * np.array(tally.seconds) / (HORIZON * SUBSTEPS * num_envs)
    ours, theirs = microseconds.T
    largest = max(tally.deviation.values())
    return {
        "episodes": len(tally.flags["touched"]),
        "largest_deviation": largest,
        "within_tolerance": largest <= TOLERANCE,
        "deviation": tally.deviation,
        "steps_with_different_contacts": tally.contacts_differ,
        "share_of_episodes": {name: float(np.mean(v)) for name, v in tally.flags.items()},
        "microseconds_per_substep": {"stock": spread(ours), "light": spread(theirs)},
        "stock_over_light": spread(ours / theirs),
    }


def main() -> None:
    """Run the benchmark."""
    arguments = tyro.cli(Arguments, prog="python -m benchmarks.light_parity")
    at_least(1, episodes=arguments.episodes, num_envs=arguments.num_envs)
    where = machine()
    results = {task: measure(task, arguments) for task in arguments.tasks}
    publish("light_parity", arguments, where, {"tolerance": TOLERANCE, "tasks": results})
    if not arguments.json:
        for task, result in results.items():
            times = result["microseconds_per_substep"]
            stock, light = times["stock"]["median"], times["light"]["median"]
            print(
                f"{task}: {result['episodes']} episodes, deviation "
                f"{result['largest_deviation']:.1e}, {stock:.1f} -> {light:.1f} us a substep, "
                f"{result['stock_over_light']['median']:.2f} times as fast"
            )


if __name__ == "__main__":
    main()
