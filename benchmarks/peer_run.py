"""One seed of a Stable-Baselines3 peer, timed and tested as our own runs are."""

import pickle
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, perf_counter, process_time
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.logger import Logger
from tqdm import tqdm

from benchmarks.peer_model import load_model, make_env, new_model, saved_model
from benchmarks.peer_table import first_reaching
from benchmarks.report import Machine
from her_robotics.building import read_task
from her_robotics.config import EvalConfig
from her_robotics.console import duration
from her_robotics.errors import UserError
from her_robotics.evaluate import Evaluation, evaluate
from her_robotics.files import replacing
from her_robotics.train import TEST
from her_robotics.types import GoalObs

CHECKPOINT = "checkpoint.pkl"
DEFAULTS = ("learning_starts", "gradient_steps", "n_steps", "policy_kwargs", "ent_coef")
"""Attributes of a model that are reported as it has them, whatever was given."""


@dataclass(frozen=True)
class Limits:
    """When a run is tested, saved and over.

    Attributes:
        seconds: training time.
        target: success rate that ends it.
        every: env steps between tests, rounded up to whole episodes.
        checkpoint_seconds: time between checkpoints.
    """

    seconds: float
    target: float
    every: int
    checkpoint_seconds: float


@dataclass
class Progress:
    """How far a run has come.

    Attributes:
        settings: what the peer was made with.
        computer: processor and number of cores; a run's clock is of one machine.
        seconds: time spent collecting and updating, by the clock or the processor, whichever is less.
        tested_at: env steps at the last test.
        curve: a point for every test.
        loads: load of the machine before each start.
    """

    settings: dict[str, Any]
    computer: tuple[str, int]
    seconds: float = 0.0
    tested_at: int = 0
    curve: list[dict[str, Any]] = field(default_factory=list)
    loads: list[float] = field(default_factory=list)


class PeerRun:
    """One seed of a peer, new or gone on with.

    Args:
        env_id: what Gymnasium calls the task.
        settings: one of ``benchmarks.peers.PEERS``, and the ``torch_threads`` that it runs on.
        seed: of the run, which also says which test episodes it meets.
        folder: where its checkpoint is or will be.
        where: the machine.

    Raises:
        UserError: if the folder holds a run with other settings or of another machine.
    """

    def __init__(
        self, env_id: str, settings: dict[str, Any], seed: int, folder: Path, where: Machine
    ):
        self._seed, self._path = seed, folder / CHECKPOINT
        self.progress = Progress(settings, (where.cpu, where.cores))
        saved = pickle.loads(self._path.read_bytes()) if self._path.exists() else None
        if saved:
            _refuse_another(folder, saved["progress"], vars(self.progress))
            self.progress = Progress(**saved["progress"])
        self.progress.loads.append(where.load)
        env = make_env(env_id, settings, saved and saved["model"])
        self.model = (
            load_model(saved["model"], settings, env) if saved else new_model(settings, env, seed)
        )
        self._env = env
        # What is drawn from here on differs from what was drawn up to here.
        state = np.random.SeedSequence((seed, self.steps)).generate_state(1)
        self.model.set_random_seed(int(state[0]))
        self.model.set_logger(Logger(None, []))
        self._tests = EvalConfig()
        self._test_env = gym.make_vec(env_id, num_envs=self._tests.num_envs)
        self._task = read_task(self._test_env)
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def steps(self) -> int:
        """Env steps taken."""
        return self.model.num_timesteps

    def train(self, limits: Limits, stop: Callable[[], bool], name: str) -> None:
        """Train in whole episodes until a limit is met or ``stop()`` says so, and save."""
        progress, saved_at = self.progress, monotonic()
        show: dict[str, Any] = {"unit": "step", "disable": None, "dynamic_ncols": True}
        with tqdm(desc=name, initial=self.steps, **show) as bar:
            while not self._over(limits) and not stop():
                # A run whose time was up before its last test owes only the test.
                if progress.seconds < limits.seconds:
                    self._cycle()
                    bar.update(0 if bar.disable else self.steps - bar.n)
                due = self.steps - progress.tested_at >= limits.every
                if due or progress.seconds >= limits.seconds:
                    tqdm.write(f"{name}  {self._line(self._test(), limits)}", file=sys.stderr)
                    bar.set_postfix_str(f"success {progress.curve[-1]['success']:.2f}")
                if monotonic() - saved_at >= limits.checkpoint_seconds:
                    self.save()
                    saved_at = monotonic()
        self.save()

    def save(self) -> None:
        """Write the checkpoint, whole or not at all."""
        state = {"progress": vars(self.progress), "model": saved_model(self.model)}
        with replacing(self._path) as aside, aside.open("wb") as file:
            pickle.dump(state, file, protocol=pickle.HIGHEST_PROTOCOL)

    def figures(self, target: float) -> dict[str, Any]:
        """The curve, when it first reached the target, and what was spent."""
        progress = self.progress
        first = first_reaching(progress.curve, target)
        return {
            "steps_to_target": first and first["step"],
            "seconds_to_target": first and first["seconds"],
            "last_success": progress.curve[-1]["success"],
            "best_success": max(point["success"] for point in progress.curve),
            "steps": self.steps,
            "seconds": round(progress.seconds, 2),
            "steps_per_second": round(self.steps / progress.seconds, 2),
            "loads": progress.loads,
            "curve": progress.curve,
        }

    def settings(self) -> dict[str, Any]:
        """What the peer was made with, and the defaults beside it."""
        model: Any = self.model
        taken = {name: getattr(model, name) for name in DEFAULTS if hasattr(model, name)}
        taken["train_freq"] = [model.train_freq.frequency, model.train_freq.unit.value]
        return {**self.progress.settings, **taken}

    def close(self) -> None:
        """Close both envs."""
        self._env.close()
        self._test_env.close()

    def _over(self, limits: Limits) -> bool:
        progress = self.progress
        spent = progress.seconds >= limits.seconds and progress.tested_at == self.steps
        return spent or first_reaching(progress.curve, limits.target) is not None

    def _cycle(self) -> None:
        """One episode and its updates, so that between two calls nothing is half done."""
        begin, processor = perf_counter(), process_time()
        self.model.learn(self._task.shape.horizon, log_interval=10**9, reset_num_timesteps=False)
        # On a busy machine the clock also counts waiting, which is not the peer's fault.
        self.progress.seconds += min(perf_counter() - begin, process_time() - processor)

    def _test(self) -> Evaluation:
        def act(obs: GoalObs) -> np.ndarray:
            normalizer, shown = self.model.get_vec_normalize_env(), obs._asdict()
            seen: Any = normalizer.normalize_obs(shown) if normalizer else shown
            return self.model.predict(seen, deterministic=True)[0]

        progress, episodes = self.progress, self._tests.episodes
        result = evaluate(self._test_env, self._task, act, episodes, self._seed, TEST)
        progress.tested_at = self.steps
        low, high = result.interval
        point = {"step": self.steps, "seconds": round(progress.seconds, 2)}
        progress.curve.append({**point, "success": result.success_rate, "low": low, "high": high})
        return result

    def _line(self, result: Evaluation, limits: Limits) -> str:
        (low, high), seconds = result.interval, self.progress.seconds
        return (
            f"step {self.steps:>8,d}  success {result.success_rate:.2f} [{low:.2f}, {high:.2f}]  "
            f"{self.steps / seconds:,.1f} steps/s  {duration(seconds)} of {duration(limits.seconds)}"
        )


def _refuse_another(folder: Path, saved: dict[str, Any], now: dict[str, Any]) -> None:
    for name in ("settings", "computer"):
        if saved[name] != now[name]:
            raise UserError(
                f"{folder} holds a run whose {name} are {saved[name]}, not {now[name]}: "
                "give another folder with --runs"
            )
