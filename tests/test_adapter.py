"""Any goal env behind the interface of our vector env."""

from collections.abc import Callable, Iterator
from itertools import takewhile
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, MultiBinary

from envs.adapter import GoalVectorEnv
from envs.fetch import FetchVectorEnv
from envs.making import GoalEnvError

from . import broken_envs as broken
from .healthy_envs import HORIZON, NEAR, Healthy, Narrow, box
from .helpers import push_the_object
from .test_fleet import bits, each, random_steps

pytestmark = pytest.mark.filterwarnings("ignore:gymnasium-robotics is patched")
Make = Callable[..., GoalVectorEnv]


class Lopsided(Healthy):
    """Healthy, but takes other actions, and none outside of its space."""

    def __init__(self) -> None:
        super().__init__()
        self.action_space = Box(np.array([-0.1, 2.0]), np.array([0.7, 5.0]), dtype=np.float64)

    def step(self, action: np.ndarray) -> Any:
        assert action in self.action_space
        return super().step(action)


class Unjudged(Healthy):
    compute_reward = property()


def having(**attributes: Any) -> Callable[..., gym.Env]:
    """Makes healthy envs with other attributes."""

    def made(**_: Any) -> gym.Env:
        env = Healthy()
        vars(env).update(attributes)
        return env

    return made


PAID = having(compute_reward=lambda a, d, info: 1.0 * (np.linalg.norm(a - d, axis=-1) < NEAR))


def row(nested: Any, index: int) -> Any:
    return bits(each(nested, lambda array: array[index]))


def episode(env: GoalVectorEnv) -> list[Any]:
    return [env.reset(seed=4), *random_steps(env, HORIZON)]


@pytest.fixture
def make() -> Iterator[Make]:
    """Builds adapters and closes them after the test."""
    made: list[GoalVectorEnv] = []

    def build(env: Any, num_envs: int = 1, **kwargs: Any) -> GoalVectorEnv:
        options = {"max_episode_steps": HORIZON, **kwargs} if callable(env) else kwargs
        made.append(GoalVectorEnv(env, num_envs, **options))
        return made[-1]

    yield build
    for env in made:
        env.close()


def test_what_is_shown_and_taken_is_of_the_types_of_our_vector_env(make: Make) -> None:
    def outline(env: Any) -> Any:
        told = [env.reset(seed=0), *random_steps(env, 2)]
        types = each(told, lambda array: (type(array), array.dtype.kind, array.shape[:1]))
        spaces = env.single_observation_space, env.observation_space, env.action_space
        return types, spaces, env.metadata["autoreset_mode"], env.max_episode_steps

    ours, theirs = FetchVectorEnv("fetch_reach", 3, num_threads=1), make("FetchReach-v4", 3)
    assert outline(theirs) == outline(ours)


@pytest.mark.parametrize(
    "mistake",
    [
        lambda env: env.reset(options={"goal": 1}),
        lambda env: env.reset(options={"reset_mask": np.zeros(2, bool)}),
        lambda env: env.reset(options={"reset_mask": np.array([True, False])}),
        lambda env: env.reset(seed=[1]),
        lambda env: env.step(np.zeros((2, 4))),
        lambda env: (env.reset(), env.step(np.zeros((2, 3)))),
        lambda env: (env.reset(), env.step(np.zeros(4))),
        lambda env: (env.reset(), env.step(np.array([[0.0] * 4, [np.nan] * 4]))),
        lambda env: (env.reset(), env.step(np.full((2, 4), np.inf))),
    ],
)
def test_mistakes_are_refused_in_our_own_words(mistake: Callable[[Any], Any], make: Make) -> None:
    told = []
    for env in (FetchVectorEnv("fetch_reach", 2, num_threads=1), make("FetchReach-v4", 2)):
        with pytest.raises((ValueError, gym.error.ResetNeeded)) as raised:
            mistake(env)
        told.append((raised.type, str(raised.value)))
    assert told[0] == told[1]


def test_official_push_through_the_adapter_is_our_push(make: Make) -> None:
    envs = FetchVectorEnv("fetch_push", 2, num_threads=1), make("FetchPush-v4", 2)
    (ours, *_), (theirs, *_) = (env.reset(seed=[3, 8]) for env in envs)
    generator = np.random.default_rng(0)
    for _ in range(50):
        for part, values in ours.items():
            np.testing.assert_allclose(theirs[part], values, rtol=0.0, atol=1e-9)
        action = push_the_object(ours["observation"], generator)
        (ours, *judged), (theirs, *judged_too) = (env.step(action) for env in envs)
        np.testing.assert_equal(judged_too, judged)


def test_only_the_envs_asked_for_are_reset(make: Make) -> None:
    mixed, left, fresh = (make(Healthy, 3) for _ in range(3))
    for env, seed in ((mixed, 0), (left, 0), (fresh, 7)):
        env.reset(seed=seed)
    for env in (mixed, left):
        before = random_steps(env, 5)[-1]
    for _ in range(2):
        shown, _ = mixed.reset(seed=7, options={"reset_mask": np.array([False, True, False])})
        assert row(shown, 0) == row(before[0], 0)
        shown["observation"][:] = np.nan  # a copy
    told = {env: random_steps(env, HORIZON - 5) for env in (mixed, left, fresh)}
    assert row(told[mixed], 0) == row(told[left], 0)
    assert row(told[mixed], 1) == row(told[fresh], 1)
    assert told[mixed][-1][3].tolist() == [True, False, True]


def test_an_episode_depends_on_its_seed_and_not_on_num_envs(make: Make) -> None:
    many, one = episode(make(Healthy, 3)), make(Healthy)
    for index in range(3):
        alone = [one.reset(seed=[4 + index]), *random_steps(one, HORIZON, first=index)]
        assert row(alone, 0) == row(many, index)


@pytest.mark.parametrize("kind", [Healthy, Lopsided])
def test_actions_from_one_to_one_span_those_of_the_env(kind: type[Healthy], make: Make) -> None:
    env, space = make(kind), kind().action_space
    env.reset(seed=0)
    random = np.random.default_rng(0).uniform(-1.5, 1.5, (HORIZON - 2, 1, 2))
    for action in (*random, np.full((1, 2), -1.0), np.full((1, 2), 1.0)):
        taken = env.step(action)[0]["observation"][0, 2:] / 0.2
        share = (np.clip(action[0], -1.0, 1.0) + 1.0) / 2.0
        np.testing.assert_allclose(taken, space.low * (1.0 - share) + space.high * share, atol=1e-6)


@pytest.mark.parametrize("kind", [broken.EndsOnSuccess, broken.UnevenEnds])
def test_an_early_end_is_refused_at_its_step(kind: type[Healthy], make: Make) -> None:
    raw, env = kind(), make(kind)
    raw.reset(seed=3), env.reset(seed=3)
    action = np.clip(0.8 * (raw.goal - raw.position), -1.0, 1.0)
    ends = (any(raw.step(action)[2:4]) for _ in range(HORIZON))
    before = len([env.step(action[None]) for _ in takewhile(lambda end: not end, ends)])
    assert 0 < before < HORIZON - 1
    how = "terminated" if kind is broken.EndsOnSuccess else "was truncated"
    told = f"{kind.__name__}: an episode {how} at step {before + 1} of {HORIZON}"
    with pytest.raises(GoalEnvError, match=told):
        env.step(action[None])


def test_what_ends_on_success_can_be_asked_to_go_on(make: Make) -> None:
    patient = make(broken.EndsOnSuccess, 2, ignore_termination=True)
    assert bits(episode(patient)) == bits(episode(make(Healthy, 2)))
    with pytest.raises(GoalEnvError, match="was truncated"):
        episode(make(broken.UnevenEnds, ignore_termination=True))


PICTURES = Dict(observation=Box(0, 1, (2, 2)), achieved_goal=box(2), desired_goal=box(2))
REFUSED: list[tuple[Any, dict[str, Any], str]] = [
    (Healthy, {"max_episode_steps": None}, "does not say how long its episodes are"),
    ("FetchReach-v4", {"max_episode_steps": 51}, "ends its episodes after 50 steps, before 51"),
    ("CartPole-v1", {}, "not a goal env: its observations must be a dict with observation, ach"),
    (having(observation_space=Dict(observation=box(4))), {}, "is not a goal env"),
    (having(observation_space=PICTURES), {}, "observation is Box.* not a Box of one dimension"),
    (
        having(action_space=MultiBinary(3)),
        {},
        "actions of MultiBinary.3.: they must be Discrete or",
    ),
    (having(action_space=Box(-np.inf, 1, (2,))), {}, "a bounded Box"),
    (having(action_space=Box(-1, 1, (1, 2))), {}, "a bounded Box of one dimension"),
    ("Nothing-v0", {}, "cannot make Nothing-v0: .*doesn't exist"),
    ("no_module:Nothing-v0", {}, "cannot make no_module:Nothing-v0: No module named 'no_module'"),
    ("FetchReach-v4", {"colour": "red"}, "cannot make FetchReach-v4: .*colour"),
    (3, {}, "env must be an id, an EnvSpec, an env or a function, not 3"),
    (Unjudged, {}, "Unjudged: it has no compute_reward"),
    (broken.OnePairOnly, {}, r"OnePairOnly: compute_reward must take \(n, g\) .* shape \(\)"),
    (broken.AsksForTruth, {}, "must take .* it failed: The truth value"),
    (broken.MixesPairs, {}, "must take .* other rewards"),
    (Narrow, {}, "Narrow: its reward is dense.*give distance_threshold"),
]


@pytest.mark.parametrize(("env", "options", "told"), REFUSED)
def test_what_cannot_be_learnt_from_is_refused_before_it_is_played(
    env: Any, options: dict[str, Any], told: str, make: Make
) -> None:
    with pytest.raises(GoalEnvError, match=told):
        make(env, **options)


@pytest.mark.parametrize("name", ["num_envs", "workers", "max_episode_steps"])
def test_numbers_below_their_least_are_refused(name: str, make: Make) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least ., not -1"):
        make(Healthy, **{name: -1})


@pytest.mark.parametrize(
    ("env", "threshold", "limit", "span"),
    [
        (Healthy, None, NEAR, (-1.0, 0.0)),
        (PAID, None, NEAR, (0.0, 1.0)),
        (Narrow, 0.4, 0.4, (-np.inf, np.inf)),
        ("FetchReachDense-v4", None, 0.05, (-np.inf, np.inf)),
        ("FetchReachDense-v4", 0.2, 0.2, (-np.inf, np.inf)),
    ],
)
def test_rewards_tell_what_is_reached(
    env: Any, threshold: float | None, limit: float, span: tuple[float, float], make: Make
) -> None:
    judge = make(env, distance_threshold=threshold)
    assert judge.reward_range == span
    size: Any = judge.single_observation_space["desired_goal"].shape
    first, second = np.random.default_rng(0).uniform(-limit, limit, (2, 10, 30, *size))
    distance = np.linalg.norm(first - second, axis=-1)
    near = distance < limit
    assert 0 < near.sum() < near.size
    np.testing.assert_array_equal(judge.reached(first, second), near)
    expected = -distance if np.isinf(span[1]) else np.where(near, span[1], span[0])
    np.testing.assert_array_equal(judge.compute_reward(first, second, {}), expected)


def test_panda_gym_plays(make: Make) -> None:
    pytest.importorskip("panda_gym")
    episode(make("panda_gym:PandaReach-v3", ignore_termination=True))


def test_an_env_that_fails_to_draw_is_named(make: Make) -> None:
    env = make(having(render=lambda: 1 / 0), render_mode="rgb_array")
    env.reset(seed=0)
    with pytest.raises(GoalEnvError, match="made cannot be drawn: division by zero"):
        env.render()
    assert make(Healthy).render() is None
