"""Many single envs behind one set of verbs: in this process, or shared out over worker processes."""

import atexit
import multiprocessing
import signal
import traceback
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, NamedTuple, Protocol

import gymnasium as gym
import numpy as np
from gymnasium.vector.utils import CloudpickleWrapper

from . import snapshot


class Step(NamedTuple):
    """What one env returns from one step, its infos left out."""

    observation: dict[str, Any]
    reward: float
    terminated: bool
    truncated: bool


class WorkerError(RuntimeError):
    """A worker process failed or died; the message holds what it said."""


class Fleet(Protocol):
    """n envs, numbered from 0."""

    def reset(self, seeds: dict[int, int | None]) -> list[dict[str, Any]]:
        """Reset some envs, by number; what they show, in the order given."""
        ...

    def step(self, actions: np.ndarray) -> list[Step]:
        """Step every env by its row of ``actions`` ``(n, a)``."""
        ...

    def render(self) -> list[Any]:
        """A frame of every env."""
        ...

    def get_state(self) -> list[Any]:
        """The complete state of every env."""
        ...

    def set_state(self, states: list[Any]) -> None:
        """Restore what ``get_state`` gave."""
        ...

    def close(self) -> None:
        """Close every env."""
        ...


class LocalFleet:
    """Envs stepped one after another in this process.

    Args:
        make: makes one.
        count: how many.
        first: an env to begin with, so that one less is made.
    """

    def __init__(self, make: Callable[[], gym.Env], count: int, first: gym.Env | None = None):
        given = [] if first is None else [first]
        self._envs = given + [make() for _ in range(count - len(given))]

    def reset(self, seeds: dict[int, int | None]) -> list[dict[str, Any]]:
        return [self._envs[index].reset(seed=seed)[0] for index, seed in seeds.items()]

    def step(self, actions: np.ndarray) -> list[Step]:
        returned = [env.step(action) for env, action in zip(self._envs, actions, strict=True)]
        return [Step(obs, float(r), bool(end), bool(cut)) for obs, r, end, cut, _ in returned]

    def render(self) -> list[Any]:
        return [env.render() for env in self._envs]

    def get_state(self) -> list[Any]:
        return [snapshot.take(env) for env in self._envs]

    def set_state(self, states: list[Any]) -> None:
        for env, state in zip(self._envs, states, strict=True):
            snapshot.restore(env, state)

    def close(self) -> None:
        for env in self._envs:
            env.close()


class WorkerFleet:
    """Envs shared out evenly over processes, each of which steps its own one after another.

    Processes are spawned, not forked: a fork of a process with physics or torch threads may hang.

    Args:
        make: makes one env; it is pickled.
        count: how many envs.
        workers: how many processes.

    Raises:
        WorkerError: if a worker cannot make its envs.
    """

    def __init__(self, make: Callable[[], gym.Env], count: int, workers: int):
        self._shares = np.array_split(np.arange(count), workers)
        self._owner = np.repeat(np.arange(workers), [len(share) for share in self._shares])
        context = multiprocessing.get_context("spawn")
        self._pipes: list[Connection] = []
        self._processes: list[Any] = []
        for share in self._shares:
            pipe, theirs = context.Pipe()
            arguments = (theirs, CloudpickleWrapper(make), len(share))
            process = context.Process(target=_serve, args=arguments, daemon=True)
            process.start()
            theirs.close()
            self._pipes.append(pipe)
            self._processes.append(process)
        # Before multiprocessing's own end, which would wait for them without telling them.
        atexit.register(self.close)
        try:
            for worker in range(workers):
                self._receive(worker)
        except WorkerError:
            self.close()
            raise

    def reset(self, seeds: dict[int, int | None]) -> list[dict[str, Any]]:
        orders: list[dict[int, int | None]] = [{} for _ in self._pipes]
        for index, seed in seeds.items():
            worker = self._owner[index]
            orders[worker][index - int(self._shares[worker][0])] = seed
        answers = self._call("reset", [(order,) for order in orders])
        shown = {
            int(self._shares[worker][0]) + local: obs
            for worker, (order, answer) in enumerate(zip(orders, answers, strict=True))
            for local, obs in zip(order, answer, strict=True)
        }
        return [shown[index] for index in seeds]

    def step(self, actions: np.ndarray) -> list[Step]:
        return self._gather("step", [(actions[share],) for share in self._shares])

    def render(self) -> list[Any]:
        return self._gather("render", [() for _ in self._shares])

    def get_state(self) -> list[Any]:
        return self._gather("get_state", [() for _ in self._shares])

    def set_state(self, states: list[Any]) -> None:
        self._call("set_state", [([states[index] for index in share],) for share in self._shares])

    def close(self) -> None:
        for pipe in self._pipes:
            try:
                pipe.send(None)
            except OSError:  # it has died already
                continue
        for pipe, process in zip(self._pipes, self._processes, strict=True):
            process.join(timeout=5)
            if process.is_alive():
                process.kill()
                process.join()
            pipe.close()
        self._pipes, self._processes = [], []
        atexit.unregister(self.close)

    def _gather(self, verb: str, arguments: list[tuple]) -> list[Any]:
        return [item for answer in self._call(verb, arguments) for item in answer]

    def _call(self, verb: str, arguments: list[tuple]) -> list[Any]:
        for worker, (pipe, given) in enumerate(zip(self._pipes, arguments, strict=True)):
            try:
                pipe.send((verb, given))
            except OSError as error:
                raise self._died(worker) from error
        answers, failures = [], []
        for worker in range(len(self._pipes)):  # all of them: none may be left for the next call
            try:
                answers.append(self._receive(worker))
            except WorkerError as error:
                failures.append(error)
        if failures:
            raise failures[0]
        return answers

    def _receive(self, worker: int) -> Any:
        try:
            fine, answer = self._pipes[worker].recv()
        except (EOFError, OSError) as error:
            raise self._died(worker) from error
        if not fine:
            raise WorkerError(f"worker process {worker} failed: {answer}")
        return answer

    def _died(self, worker: int) -> WorkerError:
        process, share = self._processes[worker], self._shares[worker]
        process.join(timeout=5)
        return WorkerError(
            f"worker process {worker}, which steps envs {share[0]} to {share[-1]}, died with exit code "
            f"{process.exitcode}"
        )


def _serve(pipe: Connection, make: Callable[[], gym.Env], count: int) -> None:
    """A worker's life: make the envs, then answer calls until told to end or left alone."""
    # These are for the process that trains; it ends its workers when it has saved.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    warnings.simplefilter("ignore")  # the process that trains has said it all
    try:
        fleet = LocalFleet(make, count)
        pipe.send((True, None))
    except Exception as error:
        pipe.send((False, _said(error)))
        return
    while True:
        try:
            call = pipe.recv()
        except EOFError:
            call = None
        if call is None:
            fleet.close()
            return
        verb, arguments = call
        try:
            pipe.send((True, getattr(fleet, verb)(*arguments)))
        except Exception as error:
            pipe.send((False, _said(error)))


def _said(error: Exception) -> str:
    where = traceback.extract_tb(error.__traceback__)[-1]
    return (
        f"{type(error).__name__}: {error} ({where.name}, line {where.lineno} of {where.filename})"
    )
