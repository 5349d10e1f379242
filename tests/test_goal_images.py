import mujoco
import numpy as np
import pytest
from scipy import stats

from envs import TASKS, goal_images
from envs.goal_images import GoalPhotographer
from envs.goal_states import GoalStates
from envs.goals import GOAL_SPACES
from envs.scene import GRIP_SITE, load_scene, object_names, picture_camera
from envs.simulation import Simulations
from envs.tasks import THRESHOLDS, GoalName

from .conftest import MakeEnv

SIZE = 64
OBJECT_TASKS = [name for name, task in TASKS.items() if task.has_object]
EVERY_TASK = pytest.mark.parametrize("task", TASKS)


def drawn_goals(states: GoalStates, count: int) -> np.ndarray:
    return states.space.sample([np.random.default_rng((5, index)) for index in range(count)])


def seen_at(task: str, points: np.ndarray) -> np.ndarray:
    """Rows and columns at which the task's camera sees points ``(n, 3)``, ``(n, 2)``."""
    model = load_scene(TASKS[task]).model
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    camera = data.cam(picture_camera(TASKS[task]))
    x, y, z = ((points - camera.xpos) @ camera.xmat.reshape(3, 3)).T
    focal = 0.5 * SIZE / np.tan(np.radians(model.cam(picture_camera(TASKS[task])).fovy[0]) / 2.0)
    return np.rint(np.stack([SIZE / 2 + focal * y / z, SIZE / 2 - focal * x / z], 1) - 0.5).astype(
        int
    )


@pytest.mark.parametrize(
    ("task", "goal"), [*((name, TASKS[name].goal) for name in TASKS), ("fetch_push", "gripper")]
)
def test_in_the_state_that_is_pictured_the_goal_is_reached_and_stays_so(
    task: str, goal: GoalName
) -> None:
    states = GoalStates(TASKS[task], goal, num_envs=8, num_threads=1)
    goals = drawn_goals(states, 6)
    end = states.reach(goals)
    assert end.at_rest.all()
    assert (states.space.distances(end.achieved, goals) < THRESHOLDS[goal]).all()
    data = mujoco.MjData(load_scene(TASKS[task]).model)
    sites = object_names(TASKS[task]) if goal == "object" else [GRIP_SITE]
    for pose, achieved in zip(end.poses, end.achieved, strict=True):
        data.qpos[:] = pose
        mujoco.mj_forward(data.model, data)
        found = np.concatenate([data.site(name).xpos for name in sites])
        # With free fingers upstream reads poses one substep of 2 ms behind the state.
        np.testing.assert_allclose(found, achieved, atol=1e-4)
    shut = np.tile([0.0, 0.0, 0.0, -1.0], (8, 1))
    for _ in range(10):
        states._simulations.step(shut)
    later = states.space.achieved(states._simulations.readings)[:6]
    assert (states.space.distances(later, goals) < THRESHOLDS[goal]).all()


@pytest.mark.parametrize("task", OBJECT_TASKS)
def test_the_object_is_seen_where_the_goal_is_and_not_where_it_is_not(task: str) -> None:
    images = GoalPhotographer(task, size=SIZE, num_envs=12, num_threads=1).draw(12)
    places = seen_at(task, images.achieved[:, :3])
    assert (places > 0).all()
    assert (places < SIZE - 1).all()
    found = np.zeros((12, 12), dtype=bool)
    for index, (row, column) in enumerate(places):
        # Blocks are dark, robot and table are not; the floor is far from all goals.
        near = images.pictures[:, row - 1 : row + 2, column - 1 : column + 2]
        found[:, index] = near.max(axis=3).min(axis=(1, 2)) < 90
    assert found.diagonal().all()
    apart = np.linalg.norm(places[:, None] - places[None], axis=2) > 8
    assert apart.any(axis=1).all()
    assert found[apart].mean() < 0.1


def test_the_gripper_is_seen_where_the_goal_is() -> None:
    photographer = GoalPhotographer("fetch_reach", size=SIZE, num_envs=2, num_threads=1)
    grip = load_scene(TASKS["fetch_reach"]).grip
    goals = grip + np.array([[0.1, 0.1, 0.1], [-0.1, -0.1, -0.1]])
    images, reached = photographer.take(goals)
    assert reached.all()
    changed = (images.pictures[0] != images.pictures[1]).any(axis=2)
    for row, column in seen_at("fetch_reach", images.achieved):
        assert changed[row - 1 : row + 2, column - 1 : column + 2].any()


@EVERY_TASK
def test_goals_are_those_that_the_task_asks_for(task: str, make_env: MakeEnv) -> None:
    images = GoalPhotographer(task, size=8, num_envs=100, num_threads=1).draw(100, seed=3)
    asked = make_env(task, num_envs=400).reset(seed=0)[0]["desired_goal"]
    assert images.desired.shape[1] == asked.shape[1]
    for ours, theirs in zip(images.desired.T, asked.T, strict=True):
        if np.ptp(theirs) < 1e-9:
            np.testing.assert_allclose(ours, theirs[0])
        else:
            assert stats.ks_2samp(ours, theirs).pvalue > 1e-3
    offsets = (images.achieved - images.desired).reshape(100, -1, 3)
    assert (np.linalg.norm(offsets, axis=2) < THRESHOLDS[TASKS[task].goal]).all()
    assert len(np.unique(images.achieved, axis=0)) == 100


def test_goals_in_the_air_and_on_the_table_are_among_pick_and_places() -> None:
    images = GoalPhotographer("fetch_pick_and_place", size=8, num_envs=24, num_threads=1).draw(24)
    heights = images.achieved[:, 2] - load_scene(TASKS["fetch_pick_and_place"]).object_height
    assert (heights > 0.1).any()
    assert (np.abs(heights) < 0.001).any()


def test_a_goal_does_not_depend_on_how_many_there_are_or_are_reached_at_once() -> None:
    few = GoalPhotographer("fetch_push", num_envs=2, num_threads=1).draw(3, seed=1)
    many = GoalPhotographer("fetch_push", num_envs=5, num_threads=1).draw(7, seed=1)
    for name in ("pictures", "achieved", "desired"):
        np.testing.assert_array_equal(getattr(few, name), getattr(many, name)[:3])
    other = GoalPhotographer("fetch_push", num_envs=5, num_threads=1).draw(3, seed=2)
    assert (few.desired != other.desired).any()


def test_what_cannot_be_reached_is_counted_and_replaced() -> None:
    # The arm comes to within a few mm of goals at the edge of its reach only.
    strict = GoalPhotographer("fetch_reach", distance_threshold=1e-3, num_envs=16, num_threads=1)
    images = strict.draw(16)
    loose = GoalPhotographer("fetch_reach", num_envs=16, num_threads=1).draw(16)
    assert images.redrawn > 0
    assert loose.redrawn == 0
    assert (np.linalg.norm(images.achieved - images.desired, axis=1) < 1e-3).all()
    kept = (images.desired == loose.desired).all(axis=1)
    assert 0 < kept.sum() < 16
    np.testing.assert_array_equal(images.pictures[kept], loose.pictures[kept])


def test_when_no_goal_can_be_reached_it_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(goal_images, "TRIES", 2)
    impossible = GoalPhotographer("fetch_reach", distance_threshold=0.0, num_envs=2, num_threads=1)
    with pytest.raises(RuntimeError, match="2 goals in turn cannot be reached"):
        impossible.draw(2)


def test_given_goals_out_of_reach_are_told_apart() -> None:
    photographer = GoalPhotographer("fetch_reach", num_envs=4, num_threads=1)
    grip = load_scene(TASKS["fetch_reach"]).grip
    images, reached = photographer.take(grip + np.array([[0.0, 0, 0.1], [2.0, 0, 0], [0, 0.1, 0]]))
    assert reached.tolist() == [True, False, True]
    assert images.pictures.shape == (3, 64, 64, 3)
    with pytest.raises(ValueError, match=r"finite and of shape \(n, 3\)"):
        photographer.take(grip)


def test_the_parked_gripper_is_out_of_reach_of_what_is_put_down() -> None:
    space = GOAL_SPACES["object"](Simulations(TASKS["fetch_push"], 1, num_threads=1))
    states = GoalStates(TASKS["fetch_push"], num_envs=64, num_threads=1)
    goals = space.sample([np.random.default_rng(index) for index in range(64)])
    np.testing.assert_allclose(states.reach(goals).achieved, goals, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "fetch_fly"}, "unknown task 'fetch_fly'"),
        ({"goal": "joints"}, "unknown goal for pictures 'joints': choose one of object, gripper"),
        ({"camera": "nose"}, "unknown camera 'nose'"),
        ({"size": 0}, "size must be at least 1"),
        ({"num_envs": 0}, "num_envs must be at least 1"),
    ],
)
def test_a_photographer_says_what_is_allowed(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GoalPhotographer(**{"task": "fetch_push", **options})  # ty: ignore[invalid-argument-type]
