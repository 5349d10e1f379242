"""Several processes that learn as one, the ranks that `torchrun` starts: all that is torch.distributed.

Every rank plays episodes of its own into a replay of its own, and all make every update together by the
mean of their gradients (Andrychowicz et al. 2017, appendix A; Plappert et al. 2018 with 19 ranks). Moments
of observations and goals are those of all ranks, so weights stay the same everywhere, to the last bit.

A process that `torchrun` has not started is alone: rank 0 of 1, for which everything here does nothing.
"""

import importlib
import os
import socket
import zlib
from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from time import monotonic, sleep
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch.optim.optimizer import register_optimizer_step_pre_hook

from .errors import first_line

T = TypeVar("T")
TIMEOUT = 60.0
"""Seconds after which a rank that does not answer is lost; one whose process ends is missed at once."""
PORT = "her_robotics/port"
"""Where the store of `torchrun` tells the port of the first rank's."""
CHECK_EVERY = 1000
"""Updates after which it is asserted that weights are the same in all ranks."""


class RankError(Exception):
    """Ranks cannot go on together; the message says which, and why."""


def rank() -> int:
    """Number of this process among the ranks; the first one alone writes, films and tracks."""
    return dist.get_rank() if _together() else 0


def size() -> int:
    """How many ranks learn as one."""
    return dist.get_world_size() if _together() else 1


def local_size() -> int:
    """How many of them are on this machine."""
    return int(os.environ["LOCAL_WORLD_SIZE"]) if size() > 1 else 1


def _together() -> bool:
    return dist.is_available() and dist.is_initialized()


@contextmanager
def joined(timeout: float = TIMEOUT) -> Generator[None]:
    """Within it, the processes of one `torchrun` are ranks, and every optimiser steps by mean gradients.

    Tensors on a CPU travel by gloo, those on a GPU by nccl.

    Args:
        timeout: seconds to wait for a rank that does not answer.

    Raises:
        RankError: if the others are not there.
    """
    if not dist.is_torchelastic_launched() or int(os.environ["WORLD_SIZE"]) == 1:
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
    # It keeps the group of its import as a default argument, whose threads a process that ends must not meet.
    importlib.import_module("torch.distributed.nn")
    number, count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    with _answering("the start"):
        store, wait = _store(number, timeout), timedelta(seconds=timeout)
        dist.init_process_group(store=store, rank=number, world_size=count, timeout=wait)
    hook = register_optimizer_step_pre_hook(_average_gradients)
    try:
        yield
    finally:
        hook.remove()
        dist.destroy_process_group()


def _store(number: int, timeout: float) -> dist.Store:
    """Where ranks find each other: a store that the first one opens, whose port that of `torchrun` tells.

    `torchrun` keeps its own over restarts, with the addresses of processes that have ended.
    """
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    wait, until = timedelta(seconds=timeout), monotonic() + timeout
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return dist.TCPStore(host, port, is_master=number == 0, timeout=wait)
    agents = dist.TCPStore(host, port, is_master=False, timeout=wait)
    if number == 0:
        opened = dist.TCPStore(host, 0, is_master=True, wait_for_workers=False, timeout=wait)
        agents.set(PORT, str(opened.port))
        return opened
    while monotonic() < until:
        port = int(agents.get(PORT))
        with suppress(OSError):  # nobody is there if it is still that of before a restart
            socket.create_connection((host, port), timeout).close()
            return dist.TCPStore(host, port, is_master=False, timeout=wait)
        sleep(0.1)
    raise RuntimeError(f"the first rank is not to be found at {host}:{port}")


def has_restarted() -> bool:
    """Whether `torchrun --max-restarts`, or Slurm, has started this process in place of one that ended."""
    counts = ("TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT")
    started = dist.is_torchelastic_launched()
    return started and any(int(os.environ.get(name, "0")) > 0 for name in counts)


def may_restart() -> bool:
    """Whether it would."""
    return int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0")) > 0


def launcher() -> str:
    """The command that starts this project by as many ranks as there are."""
    if size() == 1:
        return "her-robotics"
    local = local_size()
    hosts = f"--nnodes {size() // local} " if local < size() else ""
    return f"torchrun {hosts}--nproc-per-node {local} -m her_robotics"


def share(count: int) -> range:
    """Which of ``count`` things are this rank's: all alone, else as many as the others', give or take one."""
    return range(count * rank() // size(), count * (rank() + 1) // size())


def own_seed(seed: int) -> int:
    """This rank's seed: the run's own for the first, and for others one that no neighbouring run has."""
    if rank() == 0:
        return seed
    return int(np.random.SeedSequence((seed, rank())).generate_state(1)[0])


def gather(what: str, value: T) -> list[T]:
    """Every rank's value, in their order; all must ask for the same thing.

    Args:
        what: which thing.
        value: this rank's.

    Raises:
        RankError: if a rank is lost, or asks for something else.
    """
    if size() == 1:
        return [value]
    answers: list[Any] = [None] * size()
    with _answering(what):
        dist.all_gather_object(answers, (what, value))
    for other, (theirs, _) in enumerate(answers):
        if theirs != what:
            raise RankError(f"rank {other} is at {theirs!r} where rank {rank()} is at {what!r}")
    return [given for _, given in answers]


def average_(tensor: torch.Tensor) -> None:
    """Put the mean over all ranks in the place of a tensor of floats.

    Raises:
        RankError: if a rank is lost.
    """
    if size() > 1:
        with _answering("a mean"):
            dist.all_reduce(tensor)
        tensor /= size()


@torch.no_grad()
def _average_gradients(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is not None:
                average_(parameter.grad)


@contextmanager
def failing_together(kind: type[Exception]) -> Generator[None]:
    """What fails in one rank fails in all, so that they can still do something together.

    Args:
        kind: of the error; others end a rank alone.

    Raises:
        kind: in every rank, naming those in which it was raised.
    """
    said = ""
    try:
        yield
    except kind as error:
        if size() == 1:
            raise
        said = first_line(error)
    errors = [
        f"rank {number}: {each}" for number, each in enumerate(gather("errors", said)) if each
    ]
    if errors:
        raise kind("; ".join(errors))


def spread_(state: Any) -> None:
    """Put the first rank's floats in the place of every rank's, within nested ``state``."""
    if size() > 1:
        with _answering("the first weights"):
            for _, tensor in floats(state):
                dist.broadcast(tensor, 0)


def average_batch_moments_(state: Any) -> None:
    """Average batch normalisation's running moments: every rank has seen other batches."""
    if size() > 1:
        for name, tensor in floats(state):
            if name.endswith(("running_mean", "running_var")):
                average_(tensor)


def check_alike(states: Mapping[str, Any], when: str) -> None:
    """Assert that all ranks have the same floats and plain values in every one of ``states``.

    Args:
        states: nested dicts and lists by name, such as ``Agent.state_dict()``.
        when: this is, for the message.

    Raises:
        RankError: naming the ranks and states that differ from those of most ranks.
    """
    if size() == 1:
        return
    sums = gather("checksums", {name: checksum(state) for name, state in states.items()})
    usual = {name: Counter(each.get(name) for each in sums).most_common(1)[0][0] for name in states}
    faults = [
        f"rank {number} in {', '.join(differing)}"
        for number, each in enumerate(sums)
        if (differing := [name for name in states if each.get(name) != usual[name]])
    ]
    if faults:
        raise RankError(f"weights differ between ranks {when}: {'; '.join(faults)}")


def checksum(state: Any) -> int:
    """CRC-32 of all floats in nested ``state``, and of its plain values."""
    total = zlib.crc32(repr(list(_plain(state))).encode())
    for _, tensor in floats(state):
        total = zlib.crc32(tensor.detach().cpu().numpy().tobytes(), total)
    return total


def floats(state: Any, name: str = "") -> Generator[tuple[str, torch.Tensor]]:
    """Floating tensors of nested ``state``, and where they stand in it; what is random has none."""
    if isinstance(state, torch.Tensor):
        if state.is_floating_point():
            yield name, state
    elif isinstance(state, (dict, list, tuple)):
        parts = state.items() if isinstance(state, dict) else enumerate(state)
        for key, part in parts:
            yield from floats(part, f"{name}.{key}")


def _plain(state: Any) -> Generator[int | float | str | None]:
    if isinstance(state, (dict, list, tuple)):
        for part in state.values() if isinstance(state, dict) else state:
            yield from _plain(part)
    elif state is None or isinstance(state, (int, float, str)):
        yield state


@contextmanager
def _answering(what: str) -> Generator[None]:
    """Say in one line that a rank is lost, which the libraries tell in many ways.

    Raises:
        RankError: if one is.
    """
    try:
        yield
    except RuntimeError as error:
        number, said = os.environ["RANK"], first_line(error).partition(". ")[0]
        raise RankError(
            f"rank {number} ends at {what}: another has ended or does not answer ({said})"
        ) from error
