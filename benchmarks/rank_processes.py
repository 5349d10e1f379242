"""Ranks without `torchrun`: real processes that are told what it would tell them, forked from one that has
imported everything, so that many of them start in little time.
"""

import os
import socket
import sys
import traceback
from collections.abc import Callable, Generator
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple, cast

import torch

from her_robotics.distributed import RankError, joined
from her_robotics.errors import UserError

IMPORTED = ["her_robotics.session", "torch._dynamo"]
"""What takes long to import: the second is what optimisers import when they are built."""
GRACE = 10.0
"""Seconds that ranks have to end, after their timeout, when one has ended."""


class Ended(NamedTuple):
    """How a rank ended.

    Attributes:
        code: of its exit; negative is the signal that killed it.
        given: what its work gave; the message of an error that a user is told; None if it was killed.
    """

    code: int | None
    given: Any


def as_ranks(
    size: int, work: Callable[..., Any], *arguments: Any, timeout: float = 60.0
) -> list[Ended]:
    """Do ``work(*arguments)`` in ``size`` processes at once, each of them a rank.

    Args:
        size: how many.
        work: a function of a module; what it gives must be plain values and arrays.
        arguments: handed to it.
        timeout: seconds after which a rank that does not answer another is lost; it is killed then.
    """
    context = get_context("forkserver")
    context.set_forkserver_preload([*IMPORTED, work.__module__])
    port, running = free_port(), []
    for number in range(size):
        ours, theirs = context.Pipe(duplex=False)
        told = _variables(number, size, port)
        process = context.Process(target=_rank, args=(told, theirs, work, arguments, timeout))
        process.start()
        theirs.close()
        running.append((process, ours))
    received = {pipe: _received(pipe) for pipe in _ended([pipe for _, pipe in running], timeout)}
    ended = []
    for process, pipe in running:
        process.join(GRACE) if pipe in received else process.kill()
        process.join()
        ended.append(Ended(process.exitcode, received.get(pipe)))
    return ended


def _ended(pipes: list[Connection], timeout: float) -> Generator[Connection]:
    """Pipes whose rank has something to give or has ended; when one has, the others soon must."""
    left, limit = list(pipes), None
    while left and (ready := wait(left, limit)):
        left = [pipe for pipe in left if pipe not in ready]
        yield from cast(list[Connection], ready)
        limit = timeout + GRACE


def _rank(
    variables: dict[str, str],
    pipe: Connection,
    work: Callable[..., Any],
    arguments: tuple[Any, ...],
    timeout: float,
) -> None:
    os.environ |= variables
    torch.set_num_threads(1)
    code = 1
    try:
        with joined(timeout):
            given = work(*arguments)
        code = 0
    except (RankError, UserError) as error:
        given = str(error)
    except BaseException:
        given = traceback.format_exc()
    pipe.send(given)
    pipe.close()
    sys.exit(code)


def _variables(number: int, size: int, port: int) -> dict[str, str]:
    """What `torchrun` tells rank ``number``."""
    ranks = {"RANK": number, "LOCAL_RANK": number, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size}
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": "simulated"}
    return {name: str(value) for name, value in (ranks | meeting).items()}


def free_port() -> int:
    """A port that nothing listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _received(pipe: Connection) -> Any:
    try:
        return pipe.recv()
    except EOFError:
        return None
