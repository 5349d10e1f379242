"""Domain randomisation: objects of another mass, friction and size in every simulation and episode."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

import mujoco
import numpy as np
from mujoco.batch import Batch

from .scene import TABLE_BODY
from .vector import check_choice


@dataclass(frozen=True)
class Randomization:
    """Half-widths of the ranges that factors are drawn from, uniformly in [1 - w, 1 + w]; 0 is off.

    Attributes:
        mass: of each object.
        friction: of the objects and the table, all by one factor: MuJoCo takes the greater friction of
            two touching geoms, so an object alone would be rougher but never smoother.
        size: of each object, in all directions; its mass stays.
    """

    mass: float = 0.0
    friction: float = 0.0
    size: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0.0 <= value < 1.0:
                raise ValueError(f"randomize {field.name} must be in [0, 1), not {value}")

    @property
    def active(self) -> bool:
        """Whether anything is drawn at all."""
        return any(getattr(self, field.name) for field in fields(self))


def read_randomization(ranges: Mapping[str, float], has_object: bool) -> Randomization | None:
    """The ranges as asked for; None if nothing is to be drawn.

    Raises:
        ValueError: if a name is unknown, a range is not in [0, 1), or the task has no object.
    """
    for name in ranges:
        check_choice("randomize", name, ("mass", "friction", "size"))
    randomization = Randomization(**ranges)
    if not randomization.active:
        return None
    if not has_object:
        raise ValueError("randomize needs a task with an object; this one has none")
    return randomization


class Randomizer:
    """Gives the simulations of a batch model fields of their own and draws them anew at each reset.

    Args:
        batch: the simulations.
        model: their model, which stays as it is.
        objects: names of the objects, each a body with one geom of the same name.
        randomization: the ranges.
    """

    def __init__(
        self, batch: Batch, model: mujoco.MjModel, objects: list[str], randomization: Randomization
    ):
        self._batch, self._model, self._ranges = batch, model, randomization
        self._bodies = [model.body(name).id for name in objects]
        self._geoms = [model.geom(name).id for name in objects]
        self._bounds = [model.body_bvhadr[body] for body in self._bodies]
        table = model.body(TABLE_BODY)
        self._rough = [*self._geoms, *range(table.geomadr[0], table.geomadr[0] + table.geomnum[0])]
        names = ("body_mass", "body_inertia", "geom_friction", "geom_size", "geom_rbound")
        self._fields = {name: batch.expand(name) for name in (*names, "geom_aabb", "bvh_aabb")}
        self.geom_size = self._fields["geom_size"]
        """``(n, geoms, 3)`` sizes as they are now."""

    def draw(self, ids: np.ndarray, generators: list[np.random.Generator]) -> np.ndarray:
        """New objects in the simulations ``ids``; by how much each grew, ``(len(ids), k)``."""
        ranges = self._ranges
        count = len(self._bodies)
        draws = np.stack([generator.uniform(-1.0, 1.0, 2 * count + 1) for generator in generators])
        friction = 1.0 + ranges.friction * draws[:, 0]
        mass = 1.0 + ranges.mass * draws[:, 1 : 1 + count]
        size = 1.0 + ranges.size * draws[:, 1 + count :]
        self._scale("geom_friction", ids, self._rough, friction[:, None, None])
        self._scale("body_mass", ids, self._bodies, mass)
        self._scale("body_inertia", ids, self._bodies, (mass * size**2)[..., None])
        self._scale("geom_size", ids, self._geoms, size[..., None])
        self._scale("geom_rbound", ids, self._geoms, size)
        self._scale("geom_aabb", ids, self._geoms, size[..., None])
        self._scale("bvh_aabb", ids, self._bounds, size[..., None])
        self._set_const(ids)
        return size

    def _set_const(self, ids: np.ndarray) -> None:
        """Derive what follows from the new values; but the weld keeps the pose that scene.py gave it."""
        self._batch.set_const(ids)
        self._batch.expand("eq_data")[ids] = self._model.eq_data

    def get_state(self) -> dict[str, np.ndarray]:
        """Every expanded field, copied."""
        return {name: values.copy() for name, values in self._fields.items()}

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Restore what ``get_state`` gave."""
        for name, values in self._fields.items():
            values[:] = state[name]
        self._set_const(np.arange(self._batch.nsim))

    def _scale(self, name: str, ids: np.ndarray, rows: list[int], factors: np.ndarray) -> None:
        nominal = getattr(self._model, name)[rows]
        values = self._fields[name]
        values[ids[:, None], np.array(rows)] = (nominal * factors).reshape(len(ids), *nominal.shape)
