"""Every goal env of gymnasium-robotics runs; upstream is touched only where, and if, it is broken.

Needs neither torch nor our envs, so that it also runs beside a MuJoCo that those do not support:
``python -m pytest --noconftest tests/test_compat.py``.
"""

import importlib.util
import inspect
import re
import subprocess
import sys
import warnings
from pathlib import Path
from types import ModuleType

import gymnasium as gym
import gymnasium_robotics
import mujoco
import numpy as np
import pytest

from benchmarks.record_official import refuse_unless_it_runs_unpatched
from envs.compat import is_faulty, register_gymnasium_robotics, repair

gym.register_envs(gymnasium_robotics)

FAMILIES = {
    r"Fetch\w+-v4": 8,
    r"HandReach\w*-v3": 2,
    r"HandManipulate\w+-v1": 54,
    r"PointMaze_\w+-v3": 20,
    r"AntMaze_\w+-v[45]": 40,
}
"""Goal envs on MuJoCo's own bindings, and how many there are, dense rewards included."""
IDS = [name for name in gym.registry if any(re.fullmatch(one, name) for one in FAMILIES)]
HINGE = mujoco.mjtJoint.mjJNT_HINGE
FAULTY = np.int32(int(HINGE)) not in (HINGE,)
"""Whether this MuJoCo is one that upstream's comparison fails on."""
MODULE = "gymnasium_robotics.utils.mujoco_utils"
COMPARISON = "assert joint_type in (mujoco.mjtJoint.mjJNT_HINGE, mujoco.mjtJoint.mjJNT_SLIDE)"
ROOT = Path(__file__).resolve().parents[1]

only_where_faulty = pytest.mark.skipif(not FAULTY, reason="upstream works on this MuJoCo")


def upstream(comparison: str = COMPARISON) -> ModuleType:
    """A fresh copy of upstream's module, with what it does to compare joint types rewritten."""
    spec = importlib.util.find_spec(MODULE)
    assert spec is not None
    assert spec.origin is not None
    source = Path(spec.origin).read_text(encoding="utf-8")
    assert source.count(COMPARISON) == 4
    module = ModuleType(MODULE)
    exec(source.replace(COMPARISON, comparison), module.__dict__)
    return module


def mended() -> ModuleType:
    kinds = "(mujoco.mjtJoint.mjJNT_HINGE, mujoco.mjtJoint.mjJNT_SLIDE)"
    return upstream(f"assert any(joint_type == kind for kind in {kinds})")


def beyond_repair() -> ModuleType:
    """Broken as upstream is, in enums that it does not take from its name ``mujoco``."""
    return upstream("from mujoco import mjtJoint; assert joint_type in (mjtJoint.mjJNT_HINGE,)")


def hinge_position(module: ModuleType) -> float:
    xml = "<mujoco><worldbody><body><joint name='j'/><geom size='1'/></body></worldbody></mujoco>"
    model = mujoco.MjModel.from_xml_string(xml)
    data = mujoco.MjData(model)
    module.set_joint_qpos(model, data, "j", 0.25)
    return float(module.get_joint_qpos(model, data, "j")[0])


@pytest.mark.parametrize(("family", "count"), FAMILIES.items(), ids=FAMILIES)
def test_no_goal_env_is_left_out(family: str, count: int) -> None:
    assert sum(bool(re.fullmatch(family, name)) for name in IDS) >= count


@pytest.mark.filterwarnings("ignore:gymnasium-robotics is patched", "ignore:.*out of date")
@pytest.mark.parametrize("name", IDS)
def test_a_goal_env_is_made_reset_and_stepped(name: str) -> None:
    register_gymnasium_robotics()
    env = gym.make(name)
    env.action_space.seed(0)
    first, _ = env.reset(seed=0)
    assert first in env.observation_space
    for _ in range(3):
        shown, reward, *_, info = env.step(env.action_space.sample())
        assert shown in env.observation_space
        goals = shown["achieved_goal"], shown["desired_goal"]
        assert reward == env.unwrapped.compute_reward(*goals, info)
        assert all(np.isfinite(value).all() for value in (reward, *shown.values()))
    assert (shown["observation"] != first["observation"]).any()
    env.close()


def test_the_fault_is_found_exactly_where_the_comparison_fails() -> None:
    assert is_faulty(upstream()) == FAULTY
    assert not is_faulty(mended())


def test_upstream_is_patched_if_it_is_faulty_and_then_works() -> None:
    module = upstream()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        repair(module)
        repair(module)
    assert (module.mujoco is not mujoco) == FAULTY
    assert len(said) == FAULTY
    assert not is_faulty(module)
    assert hinge_position(module) == 0.25


@only_where_faulty
def test_a_patched_module_differs_in_nothing_but_the_enums_that_it_compares() -> None:
    module = upstream()
    with pytest.warns(UserWarning, match=re.escape(f"mujoco {mujoco.__version__}")):
        repair(module)
    view = module.mujoco
    for name, _ in inspect.getmembers(mujoco):
        if not name.startswith("_") and name not in ("mjtJoint", "mjtEq"):
            assert getattr(view, name) is getattr(mujoco, name)
    for enum in ("mjtJoint", "mjtEq"):
        for name, member in getattr(mujoco, enum).__members__.items():
            value = getattr(getattr(view, enum), name)
            assert value == int(member)
            assert np.int32(value) in (value,)


@pytest.mark.filterwarnings("error")
def test_a_fixed_upstream_is_left_as_it_is() -> None:
    module = mended()
    before = dict(vars(module))
    repair(module)
    assert vars(module) == before
    assert module.mujoco is mujoco
    assert hinge_position(module) == 0.25


@only_where_faulty
@pytest.mark.filterwarnings("error")
def test_a_fault_beyond_repair_is_an_error_that_leaves_the_module_as_it_was() -> None:
    module = beyond_repair()
    before = dict(vars(module))
    with pytest.raises(RuntimeError, match=re.escape(f"mujoco {mujoco.__version__}")):
        repair(module)
    assert vars(module) == before
    assert module.mujoco is mujoco


def test_a_process_is_told_once_and_only_of_a_patch() -> None:
    code = """if True:
        import gymnasium as gym
        from envs.compat import register_gymnasium_robotics as register
        print(register())
        for name in ("FetchPush-v4", "FetchReach-v4", "HandReach-v3"):
            gym.make(name).reset(seed=0)
            print(register())"""
    command = [sys.executable, "-W", "always", "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(FAULTY)] * 4
    assert done.stderr.count("is patched to run on mujoco") == FAULTY


@only_where_faulty
@pytest.mark.filterwarnings("ignore:gymnasium-robotics is patched")
def test_a_patched_env_is_not_recorded_as_the_official_one() -> None:
    register_gymnasium_robotics()
    with pytest.raises(SystemExit, match="patched"):
        refuse_unless_it_runs_unpatched()
