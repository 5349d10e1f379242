"""Ranks without `torchrun`: real processes that are told what it would tell them, forked from one that has
imported everything, so that many of them start in little time.
"""

import os
import socket
import traceback
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import torch

from her_robotics.distributed import RankError, joined
from her_robotics.errors import UserError


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
        timeout: seconds after which a rank that does not answer another is lost.
    """
    context = get_context("forkserver")
    context.set_forkserver_preload([work.__module__])
    port, running = _free_port(), []
    for number in range(size):
        ours, theirs = context.Pipe(duplex=False)
        told = _variables(number, size, port)
        process = context.Process(target=_rank, args=(told, theirs, work, arguments, timeout))
        process.start()
        theirs.close()
        running.append((process, ours))
    ended = []
    for process, pipe in running:
        given = _received(pipe)
        process.join()
        ended.append(Ended(process.exitcode, given))
    return ended


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
    os._exit(code)


def _variables(number: int, size: int, port: int) -> dict[str, str]:
    """What `torchrun` tells rank ``number``."""
    ranks = {"RANK": number, "LOCAL_RANK": number, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size}
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": "simulated"}
    return {name: str(value) for name, value in (ranks | meeting).items()}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _received(pipe: Connection) -> Any:
    try:
        return pipe.recv()
    except EOFError:
        return None
