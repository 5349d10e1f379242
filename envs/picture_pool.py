"""Pictures drawn by several processes at once: in one, MuJoCo's bindings keep the GIL while they draw."""

import atexit
import multiprocessing
import os
import signal
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache, partial
from multiprocessing.shared_memory import SharedMemory

import numpy as np

from .fleet import WorkerError
from .pictures import shared_pictures
from .tasks import Task


class PicturePool:
    """Draws pictures as ``Pictures`` does, shared out over processes.

    Processes are spawned, not forked: a fork of a process with physics or torch threads may hang. They
    write pixels into memory that they share with this one.

    Args:
        task: whose scene to draw.
        workers: how many processes.
    """

    def __init__(self, task: Task, workers: int):
        self._task, self._workers = task, workers
        spawn = multiprocessing.get_context("spawn")
        self._processes = ProcessPoolExecutor(workers, mp_context=spawn, initializer=_prepare)
        self._block: SharedMemory | None = None
        atexit.register(self.close)

    def draw(self, poses: np.ndarray, camera: str | None = None, size: int = 64) -> np.ndarray:
        """Draw simulations, as ``Pictures.draw`` does.

        Raises:
            ValueError: if the camera is unknown, or a shape does not fit.
            RenderingError: if no OpenGL context can be made; the message names what to install.
            WorkerError: if a process died.
        """
        rows = poses.reshape(-1, poses.shape[-1]) if poses.ndim else poses[None, None]
        shape = (len(rows), size, size, 3)
        block = self._room(int(np.prod(shape)))
        shares = [
            share for share in np.array_split(np.arange(len(rows)), self._workers) if len(share)
        ]
        call = partial(_draw, self._task, block.name, shape, camera)
        try:
            orders = [self._processes.submit(call, int(share[0]), rows[share]) for share in shares]
            for order in orders:
                order.result()
        except BrokenProcessPool as error:
            raise WorkerError(f"a process that draws pictures died: {error}") from error
        pixels = np.ndarray(shape, np.uint8, buffer=block.buf).copy()
        return pixels.reshape(*poses.shape[:-1], size, size, 3)

    def close(self) -> None:
        """End the processes and free the memory."""
        atexit.unregister(self.close)
        self._processes.shutdown(cancel_futures=True)
        self._free()

    def _room(self, size: int) -> SharedMemory:
        """Shared memory of at least ``size`` bytes."""
        if self._block is None or self._block.size < size:
            self._free()
            self._block = SharedMemory(create=True, size=max(size, 1))
        return self._block

    def _free(self) -> None:
        if self._block is not None:
            self._block.close()
            self._block.unlink()
            self._block = None


def _prepare() -> None:
    """A worker's start."""
    # These are for the process that trains; it ends its workers when it has saved.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # Mesa's own threads would have as many for each of the workers as there are cores.
    os.environ.setdefault("LP_NUM_THREADS", "0")


@lru_cache(maxsize=1)
def _attached(name: str) -> SharedMemory:
    return SharedMemory(name)


def _draw(
    task: Task, block: str, shape: tuple[int, ...], camera: str | None, start: int, rows: np.ndarray
) -> None:
    """A worker's work: draw ``rows`` into their part of a block of ``shape``."""
    pixels = np.ndarray(shape, np.uint8, buffer=_attached(block).buf)
    shared_pictures(task).draw(rows, camera, shape[1], pixels[start : start + len(rows)])
