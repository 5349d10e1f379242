"""Lets gymnasium-robotics <= 1.4.2 run on MuJoCo >= 3.12.

Since MuJoCo 3.12 ``np.int32(3) == mjtJoint.mjJNT_HINGE`` holds but the reverse comparison, which tuple
membership makes, does not; every Fetch and Hand env then fails on construction with a bare
AssertionError in ``gymnasium_robotics.utils.mujoco_utils``. That one module is handed a view of
``mujoco`` whose joint and equality types are plain integers.
"""

import contextlib
import io
import warnings
from types import ModuleType, SimpleNamespace
from typing import Any

import gymnasium as gym
import mujoco

_PROBE = "<mujoco><worldbody><body><joint name='j'/><geom size='1'/></body></worldbody></mujoco>"
_ENUMS = ("mjtJoint", "mjtEq")


class _PlainEnums:
    """``mujoco``, with the enums that are compared with model fields as plain integers."""

    def __init__(self) -> None:
        for name in _ENUMS:
            members = getattr(mujoco, name).__members__
            plain = SimpleNamespace(**{key: int(value) for key, value in members.items()})
            setattr(self, name, plain)

    def __getattr__(self, name: str) -> Any:
        return getattr(mujoco, name)


def register_gymnasium_robotics(env: str | None = None) -> bool:
    """Register the envs of gymnasium-robotics with Gymnasium and repair them where they need it.

    Says once in a warning that it did. Where nothing is broken, nothing is touched.

    Args:
        env: the id that is wanted; if it is not registered even now, nothing is repaired.

    Returns:
        Whether the repair is in place.

    Raises:
        RuntimeError: if the fault is there but the repair does not mend it.
    """
    with contextlib.redirect_stderr(io.StringIO()):  # it speaks of envs that nobody has asked for
        import gymnasium_robotics  # slow, and needed for upstream's envs only
        from gymnasium_robotics.utils import mujoco_utils

    gym.register_envs(gymnasium_robotics)
    if env is None or env in gym.registry:
        repair(mujoco_utils)
    return isinstance(mujoco_utils.mujoco, _PlainEnums)


def repair(mujoco_utils: ModuleType) -> None:
    """Repair upstream's ``mujoco_utils``, if it is faulty.

    Raises:
        RuntimeError: if it still is.
    """
    if not is_faulty(mujoco_utils):
        return
    original, mujoco_utils.mujoco = mujoco_utils.mujoco, _PlainEnums()
    try:
        _read_a_joint(mujoco_utils)
    except Exception as error:
        mujoco_utils.mujoco = original
        raise RuntimeError(
            f"gymnasium-robotics does not work with mujoco {mujoco.__version__}, in a way that "
            f"envs/compat.py does not know: {type(error).__name__} {error}".rstrip()
        ) from error
    warnings.warn(
        f"gymnasium-robotics is patched to run on mujoco {mujoco.__version__} (see envs/compat.py)",
        stacklevel=3,
    )


def is_faulty(mujoco_utils: ModuleType) -> bool:
    """Whether reading a hinge joint by upstream's functions fails as described above.

    A module that fails in another way, or has no such function, is none of ours to mend.
    """
    try:
        _read_a_joint(mujoco_utils)
    except AssertionError:
        return True
    except Exception:
        return False
    return False


def _read_a_joint(mujoco_utils: ModuleType) -> None:
    model = mujoco.MjModel.from_xml_string(_PROBE)
    mujoco_utils.get_joint_qpos(model, mujoco.MjData(model), "j")
