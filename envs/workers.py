"""Many single envs shared out over worker processes, which are started again where they die."""

import atexit
import contextlib
import multiprocessing
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector.utils import CloudpickleWrapper

from .fleet import LocalFleet, Step, WorkerError
from .vector import PARTS


class _Died(WorkerError):
    """A worker process has died."""


MOST_DEATHS, WITHIN = 3, 1000
"""Deaths of one worker, within so many calls, after which it is not started again."""


class WorkerFleet:
    """Envs shared out evenly over processes, each of which steps its own one after another.

    Processes are spawned, not forked: a fork of a process with physics or torch threads may hang.

    A worker that dies is started again, with a warning. A reset it was at is made by the new one. Of a step,
    its envs show NaN, as those whose simulation diverged, and want a reset. State and pictures died with it:
    ``get_state``, ``set_state`` and ``render`` fail.

    Args:
        make: makes one env; it is pickled.
        count: how many envs.
        workers: how many processes.

    Raises:
        WorkerError: if a worker cannot make its envs; from any call, if one fails, or dies again and again.
    """

    def __init__(self, make: Callable[[], gym.Env], count: int, workers: int):
        self._shares = np.array_split(np.arange(count), workers)
        self._owner = np.repeat(np.arange(workers), [len(share) for share in self._shares])
        self._make = make
        self._calls = 0
        self._deaths: list[list[int]] = [[] for _ in self._shares]  # at which calls
        self._shown: list[Any] = [None] * count  # what each env showed last
        self._pipes: list[Connection] = []
        self._processes: list[Any] = []
        for share in self._shares:
            pipe, process = self._start(len(share))
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
        given = [(order,) for order in orders]
        answers = self._call(
            "reset", given, lambda worker: self._again(worker, "reset", given[worker])
        )
        shown = {
            int(self._shares[worker][0]) + local: obs
            for worker, (order, answer) in enumerate(zip(orders, answers, strict=True))
            for local, obs in zip(order, answer, strict=True)
        }
        for index, obs in shown.items():
            self._shown[index] = obs
        return [shown[index] for index in seeds]

    def step(self, actions: np.ndarray) -> list[Step]:
        given = [(actions[share],) for share in self._shares]
        answers = self._call("step", given, self._lost)
        steps = [step for answer in answers for step in answer]
        self._shown = [step.observation for step in steps]
        return steps

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

    def _start(self, count: int) -> tuple[Connection, Any]:
        """A new worker with ``count`` envs, and the pipe to it, in which it will say that they are made."""
        context = multiprocessing.get_context("spawn")
        pipe, theirs = context.Pipe()
        arguments = (theirs, CloudpickleWrapper(self._make), count)
        process = context.Process(target=_serve, args=arguments, daemon=True)
        process.start()
        theirs.close()
        return pipe, process

    def _gather(self, verb: str, arguments: list[tuple]) -> list[Any]:
        return [item for answer in self._call(verb, arguments) for item in answer]

    def _call(
        self, verb: str, arguments: list[tuple], instead: Callable[[int], Any] | None = None
    ) -> list[Any]:
        """Every worker's answer; ``instead`` answers for those that had to be started again."""
        self._calls += 1
        for pipe, given in zip(self._pipes, arguments, strict=True):
            with contextlib.suppress(OSError):  # it has died, as receiving will show
                pipe.send((verb, given))
        answers: list[Any] = [None] * len(self._pipes)
        failures, dead = [], []
        for worker in range(len(self._pipes)):  # all of them: none may be left for the next call
            try:
                answers[worker] = self._receive(worker)
            except _Died as error:
                dead.append((worker, error))
            except WorkerError as error:
                failures.append(error)
        for worker, error in dead:
            self._restart(worker, error)
            if instead is None:
                failures.append(error)
            elif not failures:
                answers[worker] = instead(worker)
        if failures:
            raise failures[0]
        return answers

    def _restart(self, worker: int, death: _Died) -> None:
        """Start a worker again that has died.

        Raises:
            WorkerError: if it has died too often, or cannot make its envs any more.
        """
        recent = [at for at in self._deaths[worker] if at > self._calls - WITHIN] + [self._calls]
        self._deaths[worker] = recent
        if len(recent) >= MOST_DEATHS:
            raise WorkerError(
                f"{death}, which is death {len(recent)} within {WITHIN} steps: it is not started again"
            ) from death
        print(
            f"warning: {death}; it is started again, and what its envs were at is lost",
            file=sys.stderr,
        )
        self._pipes[worker].close()
        self._pipes[worker], self._processes[worker] = self._start(len(self._shares[worker]))
        self._receive(worker)

    def _again(self, worker: int, verb: str, given: tuple) -> Any:
        """What a worker that was started again answers, and if it dies at that, the next one."""
        while True:
            try:
                with contextlib.suppress(OSError):
                    self._pipes[worker].send((verb, given))
                return self._receive(worker)
            except _Died as error:
                self._restart(worker, error)

    def _lost(self, worker: int) -> list[Step]:
        """What the envs of a worker show that died in a step."""
        steps = []
        for index in self._shares[worker]:
            sizes = {part: np.shape(self._shown[index][part]) for part in PARTS}
            shown = {part: np.full(size, np.nan) for part, size in sizes.items()}
            steps.append(Step(shown, float("nan"), False, False, lost=True))
        return steps

    def _receive(self, worker: int) -> Any:
        try:
            fine, answer = self._pipes[worker].recv()
        except (EOFError, OSError) as error:
            raise self._died(worker) from error
        if not fine:
            raise WorkerError(f"worker process {worker} failed: {answer}")
        return answer

    def _died(self, worker: int) -> _Died:
        process, share = self._processes[worker], self._shares[worker]
        process.join(timeout=5)
        return _Died(
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
