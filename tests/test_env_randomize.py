"""Domain randomisation: what is drawn, what physics makes of it, and what it leaves alone."""

from typing import Any

import mujoco
import numpy as np
import pytest
from scipy.stats import spearmanr

from envs import TASKS
from envs.fetch import FetchVectorEnv, ObsDict
from envs.light import lighten
from envs.randomize import Randomization
from envs.readings import Addresses
from envs.scene import GRIPPER_QUATERNION, TABLE_BODY, build_spec, load_scene, object_names
from envs.simulation import MAX_DISPLACEMENT, Simulations
from envs.tasks import SUBSTEPS, ModelName

from .conftest import MakeEnv
from .helpers import push_the_object

EVERY_OBJECT_TASK = pytest.mark.parametrize("task", [k for k in TASKS if TASKS[k].has_object])
RANGES = {"mass": 0.6, "friction": 0.5, "size": 0.3}


def act(shown: ObsDict, step: int) -> np.ndarray:
    """Actions that drive grippers into their first objects."""
    return push_the_object(shown["observation"][:, :25], np.random.default_rng(step))


def play(env: FetchVectorEnv, shown: ObsDict, steps: int) -> ObsDict:
    """What is shown after steps of pushing."""
    for step in range(steps):
        shown = env.step(act(shown, step))[0]
    return shown


def assert_same(one: ObsDict, other: ObsDict, ids: list[int] | slice = slice(None)) -> None:
    for name in one:
        np.testing.assert_array_equal(one[name], other[name][ids], err_msg=name)


def factors(simulations: Simulations) -> dict[str, np.ndarray]:
    """What the k objects' mass and size, and their and the table's friction, are multiplied by."""
    model, expand = simulations.model, simulations._batch.expand
    bodies = [model.body(name).id for name in object_names(simulations.task)]
    geoms = [model.geom(name).id for name in object_names(simulations.task)]
    rough = [*geoms, model.body(TABLE_BODY).geomadr[0]]
    return {
        "mass": expand("body_mass")[:, bodies] / model.body_mass[bodies],
        "friction": expand("geom_friction")[:, rough, 0] / model.geom_friction[rough, 0],
        "size": expand("geom_size")[:, geoms, 0] / model.geom_size[geoms, 0],
    }


@pytest.mark.parametrize("off", [{}, dict.fromkeys(RANGES, 0.0)], ids=["nothing", "zeros"])
@pytest.mark.parametrize("task", TASKS)
def test_off_is_the_env_without(task: str, off: dict[str, float], make_env: MakeEnv) -> None:
    env, plain = make_env(task, num_envs=2, randomize=off), make_env(task, num_envs=2)
    assert_same(play(env, env.reset(seed=1)[0], 8), play(plain, plain.reset(seed=1)[0], 8))
    assert_same(env.reset()[0], plain.reset()[0])


@pytest.mark.parametrize("only", RANGES)
@EVERY_OBJECT_TASK
def test_factors_fill_their_range(task: str, only: str, make_env: MakeEnv) -> None:
    env = make_env(task, num_envs=200, randomize={only: RANGES[only]})
    env.reset(seed=0)
    found = factors(env._simulations)
    assert (found["friction"] == found["friction"][:, :1]).all()
    for name, values in found.items():
        reach = RANGES[name] if name == only else 0.0
        assert np.abs(values - 1.0).max() <= reach + 1e-12
        assert np.ptp(values, axis=0).min() >= 1.9 * reach


@EVERY_OBJECT_TASK
def test_simulations_episodes_objects_and_kinds_differ(task: str, make_env: MakeEnv) -> None:
    env = make_env(task, num_envs=4, randomize=dict.fromkeys(RANGES, 0.5))
    drawn = []
    for seed in (0, None, None):
        env.reset(seed=seed)
        found = factors(env._simulations)
        drawn += [found["mass"].ravel(), found["size"].ravel(), found["friction"][:, 0]]
    assert len(np.unique(np.concatenate(drawn).round(9))) == sum(map(len, drawn))


@EVERY_OBJECT_TASK
def test_what_is_drawn_is_decided_by_the_seed_alone(task: str, make_env: MakeEnv) -> None:
    alone = make_env(task, randomize=RANGES)
    crowd = make_env(task, num_envs=5, num_threads=2, randomize=RANGES)
    one, many = alone.reset(seed=12)[0], crowd.reset(seed=10)[0]
    for step in range(15):
        assert_same(one, many, [2])
        actions = act(many, step)
        one, many = alone.step(actions[2:3])[0], crowd.step(actions)[0]
    assert_same(factors(alone._simulations), factors(crowd._simulations), [2])


@EVERY_OBJECT_TASK
def test_starts_and_goals_are_those_of_the_same_seed_without(task: str, make_env: MakeEnv) -> None:
    env, plain = make_env(task, num_envs=8, randomize=RANGES), make_env(task, num_envs=8)
    shown, expected = env.reset(seed=3)[0], plain.reset(seed=3)[0]
    np.testing.assert_array_equal(shown["desired_goal"], expected["desired_goal"])
    heights = [item.qpos + 2 for item in env._simulations.at.objects]
    ours, theirs = env._simulations.qpos, plain._simulations.qpos
    np.testing.assert_array_equal(np.delete(ours, heights, 1), np.delete(theirs, heights, 1))
    assert (ours[:, heights] != theirs[:, heights]).all()


def compiled(task: str, kind: ModelName, like: mujoco.MjModel) -> mujoco.MjModel:
    """The task compiled anew with the objects' mass, size and friction of another model."""
    spec = build_spec(TASKS[task])
    if kind == "light":
        lighten(spec)
    for name in object_names(TASKS[task]):
        geom = spec.geom(name)
        geom.mass, geom.friction = like.body(name).mass[0], like.geom(name).friction
        geom.size[:] = np.where(geom.size > 0.0, like.geom(name).size, geom.size)
    for geom in spec.body(TABLE_BODY).geoms:
        geom.friction = like.geom_friction[like.body(TABLE_BODY).geomadr[0]]
    model = spec.compile()
    model.eq_data[:] = load_scene(TASKS[task]).model.eq_data
    return model


@pytest.mark.parametrize("kind", ["stock", "light"])
@EVERY_OBJECT_TASK
def test_models_are_those_compiled(task: str, kind: ModelName, make_env: MakeEnv) -> None:
    env = make_env(task, num_envs=2, randomize=RANGES, model=kind)
    env.reset(seed=0), env.reset()
    for index in range(2):
        ours = env._simulations._batch.get_model(index)
        theirs = compiled(task, kind, ours)
        for name in dir(ours):
            mine, its = getattr(ours, name), getattr(theirs, name)
            if isinstance(mine, np.ndarray):
                np.testing.assert_allclose(mine, its, rtol=1e-9, atol=1e-12, err_msg=name)


def plain_step(at: Addresses, model: mujoco.MjModel, data: mujoco.MjData, action: Any) -> None:
    """One env step of one simulation in plain MuJoCo."""
    data.mocap_pos[at.mocap] = data.xpos[at.link] + action[:3] * MAX_DISPLACEMENT
    data.mocap_quat[at.mocap] = data.xquat[at.link] + np.array(GRIPPER_QUATERNION)
    if len(at.actuated_qpos):
        data.ctrl[:] = data.qpos[at.actuated_qpos] + action[3]
    mujoco.mj_step(model, data, SUBSTEPS)
    if not len(at.actuated_qpos):
        data.qpos[at.finger_qpos] = 0.0
        mujoco.mj_kinematics(model, data)


@EVERY_OBJECT_TASK
def test_plain_mujoco_steps_each_simulations_model_alike(task: str, make_env: MakeEnv) -> None:
    env = make_env(task, num_envs=2, randomize=RANGES)
    shown, simulations = env.reset(seed=0)[0], env._simulations
    models = [simulations._batch.get_model(index) for index in range(2)]
    twins = [simulations._batch.get_data(index) for index in range(2)]
    for index, data in enumerate(twins):
        mujoco.mj_kinematics(models[index], data)
    start = shown["observation"]
    for step in range(15):
        actions = act(shown, step)
        shown = env.step(actions)[0]
        for index, data in enumerate(twins):
            plain_step(simulations.at, models[index], data, actions[index])
            np.testing.assert_array_equal(data.qpos, simulations.qpos[index])
    assert np.abs(shown["observation"] - start)[:, 3:6].max() > 0.01


@EVERY_OBJECT_TASK
def test_objects_of_every_size_rest_on_the_table(task: str, make_env: MakeEnv) -> None:
    low = TASKS[task].gripper_extra_height <= 0.0  # so that an object twice as large touches it
    env = make_env(task, num_envs=60, randomize={"size": 0.5 if low else 0.9})
    start = env.reset(seed=0)[0]["achieved_goal"].reshape(60, -1, 3)
    half, size = env._simulations.at.objects[0].half_height, factors(env._simulations)["size"]
    rest = env._simulations.scene.object_height + (size - 1.0) * half
    np.testing.assert_allclose(start[..., 2], rest, atol=1e-6)
    for _ in range(10):
        shown = env.step(np.zeros((60, 4)))[0]["achieved_goal"].reshape(60, -1, 3)
        assert np.abs(shown - start).max() < 2e-4


def travelled(
    task: str, only: str, start: tuple[float, float], blow: int = 0, speed: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """How far alike objects of other factors go after steps of push, or from a speed; the factors."""
    simulations = Simulations(TASKS[task], 40, 1, Randomization(**{only: 0.9}))
    places = np.tile(simulations.scene.grip[:2] + start, (40, 1, 1))
    simulations.reset(np.arange(40), places, [np.random.default_rng(seed) for seed in range(40)])
    before = simulations.readings.object_pos[:, 0].copy()
    simulations.qvel[:, simulations.at.objects[0].dofs[0]] = speed
    for step in range(35):
        simulations.step(np.tile([float(step < blow), 0.0, 0.0, 0.0], (40, 1)))
    moved = simulations.readings.object_pos[:, 0] - before
    return np.linalg.norm(moved, axis=1), factors(simulations)[only][:, 0]


@pytest.mark.parametrize("only", ["mass", "friction"])
def test_the_same_blow_sends_heavy_and_rough_pucks_less_far(only: str) -> None:
    distance, factor = travelled("fetch_slide", only, (0.1, 0.0), blow=6)
    assert spearmanr(factor, distance).statistic < -0.7
    assert distance[factor < 0.5].mean() > 1.05 * distance[factor > 1.5].mean()


@pytest.mark.parametrize(("task", "speed"), [("fetch_slide", 1.0), ("fetch_push", 0.5)])
def test_rough_objects_glide_less_far(task: str, speed: float) -> None:
    distance, factor = travelled(task, "friction", (0.0, 0.2), speed=speed)
    assert spearmanr(factor, distance).statistic < -0.8
    assert distance[factor < 0.5].mean() > 2.0 * distance[factor > 1.5].mean()


@EVERY_OBJECT_TASK
def test_a_partial_reset_leaves_the_others_as_they_are(task: str, make_env: MakeEnv) -> None:
    env, whole = (make_env(task, num_envs=3, randomize=RANGES) for _ in range(2))
    shown, expected = (play(each, each.reset(seed=0)[0], 6) for each in (env, whole))
    before = factors(env._simulations)
    env.reset(options={"reset_mask": np.array([False, True, False])})
    for name, values in factors(env._simulations).items():
        assert (values == before[name]).all(axis=1).tolist() == [True, False, True]
    for step in range(8):
        actions = act(expected, step)
        shown, expected = env.step(actions)[0], whole.step(actions)[0]
        assert_same({name: value[[0, 2]] for name, value in shown.items()}, expected, [0, 2])


@pytest.mark.parametrize("task", ["fetch_push", "fetch_slide"])
def test_frames_show_the_size_and_nothing_red_inside(task: str, make_env: MakeEnv) -> None:
    drawing = {"render_mode": "rgb_array", "width": 200, "height": 200, "show_goal": False}
    env = make_env(task, num_envs=12, randomize={"size": 0.7}, **drawing)
    env.reset(seed=0)
    frames = np.array(env.render(), dtype=int)
    assert not (frames[..., 0] > 2 * frames[..., 1] + 60).any()
    env._simulations.qpos[:, env._simulations.at.objects[0].qpos + 2] = -9.0
    gone = np.abs(frames - np.array(env.render())).max(axis=3) > 20
    assert spearmanr(factors(env._simulations)["size"][:, 0], gone.sum(axis=(1, 2))).statistic > 0.8


@pytest.mark.parametrize(
    ("task", "ranges", "match"),
    [
        ("fetch_push", {"colour": 0.1}, "mass, friction, size"),
        *(("fetch_push", {name: bad}, name) for name in RANGES for bad in (-0.1, 1.0, np.nan)),
        *(("fetch_reach", {name: 0.1}, "object") for name in RANGES),
    ],
)
def test_bad_ranges_are_refused(task: str, ranges: dict[str, float], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        FetchVectorEnv(task, randomize=ranges)
