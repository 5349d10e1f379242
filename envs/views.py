"""What simulations look like: frames of films, with their goals, and pictures to learn from, without."""

import numpy as np

from .camera import Camera
from .picture_pool import PicturePool
from .pictures import shared_pictures
from .scene import load_scene
from .simulation import Simulations


class Views:
    """Draws simulations from copies, so that physics never notices.

    Args:
        simulations: to be drawn.
        width: of a film's frames, in pixels.
        height: of a film's frames, in pixels.
        workers: processes that draw pictures; 0 draws them in this one.
    """

    def __init__(self, simulations: Simulations, width: int, height: int, workers: int = 0):
        self._simulations, self._frame_size = simulations, (width, height)
        self._camera: Camera | None = None
        self._workers = workers
        self._pool: PicturePool | None = None

    def frames(self, markers: list[np.ndarray]) -> tuple[np.ndarray, ...]:
        """A ``(height, width, 3)`` uint8 frame of each, with goals shown at ``markers``, ``(k, 3)`` each."""
        if self._camera is None:
            # The lighter model lacks some of the robot's cameras; joint positions mean the same in both.
            self._camera = Camera(load_scene(self._simulations.task).model, *self._frame_size)
        simulations, sizes = self._simulations, self._simulations.object_sizes
        return tuple(
            self._camera.render(simulations.qpos[index], shown, sizes[index])
            for index, shown in enumerate(markers)
        )

    @property
    def poses(self) -> np.ndarray:
        """Joint positions with the sizes of the k objects behind, ``(n, nq + 3 k)``."""
        simulations = self._simulations
        sizes = simulations.object_sizes.reshape(simulations.num_envs, -1)
        return np.concatenate([simulations.qpos, sizes], axis=1)

    def pictures(self, poses: np.ndarray | None, camera: str | None, size: int) -> np.ndarray:
        """Draw ``poses``, or what the simulations are in now (``Pictures.draw``)."""
        if poses is None:
            poses = self.poses
        if self._workers and self._pool is None:
            self._pool = PicturePool(self._simulations.task, self._workers)
        drawer = self._pool or shared_pictures(self._simulations.task)
        return drawer.draw(poses, camera, size)

    def close(self) -> None:
        """Free the film's OpenGL context and end the processes."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None
        if self._camera is not None:
            self._camera.close()
            self._camera = None
