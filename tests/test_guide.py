"""What all guides have in common."""

import io
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from her_robotics.config import GuideConfig
from her_robotics.guides import GUIDES, Guide, make_guide, mover, relay
from her_robotics.types import Episodes, GoalObs

from .guiding import ENVS, HORIZON, Push, first_obs, led, make, many, opened, taught
from .runs import same

CAPACITY = {"mover": mover.CAPACITY, "relay": relay.CAPACITY}
STEPS = ENVS * HORIZON
ALL = pytest.mark.parametrize("name", GUIDES)


@pytest.fixture(scope="module")
def push() -> Iterator[Push]:
    yield from opened("fetch_push")


@pytest.fixture(scope="module")
def push_two() -> Iterator[Push]:
    yield from opened("fetch_push_two")


def untouched(guide: Guide, obs: GoalObs) -> np.ndarray:
    """In which rows the guide leaves the action to the main agent."""
    impossible = np.full((len(obs.observation), 4), 7.0, np.float32)
    return (guide(obs, impossible) == 7.0).all(axis=1)


def turns(guide: Guide, push: Push, count: int, steps: int) -> np.ndarray:
    """In which steps of ``count`` episodes the guide leads, ``(steps, count)``."""
    obs = many(first_obs(push), count)
    guide.start(count)
    return np.array([~untouched(guide, obs) for _ in range(steps)])


@ALL
def test_every_guide_is_made_by_its_name(name: str, push: Push) -> None:
    assert type(make(name, push)) is GUIDES[name]
    assert make_guide(push.task, GuideConfig(name="none"), seed=0) is None


@ALL
@pytest.mark.parametrize("share", [0.0, 1.0])
def test_all_or_nothing(name: str, push: Push, share: float) -> None:
    guide = taught(name, push, share=share, stretch=2.0)
    assert (turns(guide, push, ENVS, 20) == bool(share)).all()


@ALL
def test_it_leads_for_its_share_of_the_time_from_the_first_step_on(name: str, push: Push) -> None:
    led_by_it = turns(taught(name, push, share=0.3, stretch=4.0), push, 2000, 40)
    assert 0.26 < led_by_it[0].mean() < 0.34
    assert 0.28 < led_by_it.mean() < 0.32
    assert led_by_it.any(axis=0).mean() > 0.8, "in every episode, not in a share of them"


@ALL
@pytest.mark.parametrize("stretch", [1.0, 5.0, 20.0, 1e9])
def test_who_leads_is_drawn_anew_as_often_as_asked(name: str, push: Push, stretch: float) -> None:
    led_by_it = turns(taught(name, push, share=0.5, stretch=stretch), push, 1000, 40)
    changes = (led_by_it[1:] != led_by_it[:-1]).mean()
    # Half of the draws choose whoever leads already.
    assert changes == pytest.approx(0.5 / stretch, rel=0.1, abs=1e-6)


@ALL
def test_new_episodes_begin_with_a_new_draw(name: str, push: Push) -> None:
    guide = taught(name, push, share=0.5, stretch=1e9)
    first, again = (turns(guide, push, 1000, 1)[0] for _ in range(2))
    assert 0.4 < (first == again).mean() < 0.6


@ALL
def test_it_does_not_lead_before_it_has_learnt(name: str, push: Push) -> None:
    guide = make(name, push, updates=0)
    assert not turns(guide, push, ENVS, 5).any()
    guide.learn(push.pushed)
    assert not turns(guide, push, ENVS, 5).any(), "it has seen episodes but made no update"
    guide = make(name, push, updates=1)
    guide.learn(push.pushed)
    assert turns(guide, push, ENVS, 5).all()


@ALL
def test_its_actions_are_actions(name: str, push: Push) -> None:
    guide = taught(name, push, sigma=3.0)
    guide.start(ENVS)
    actions = guide(first_obs(push), np.zeros((ENVS, 4), np.float32))
    assert actions.shape == (ENVS, 4)
    assert actions.dtype == np.float32
    assert np.abs(actions).max() == 1.0


@ALL
def test_without_noise_its_actions_are_its_own(name: str, push: Push) -> None:
    guide, noisy = (taught(name, push, sigma=sigma, stretch=1e9) for sigma in (0.0, 0.3))
    obs, still = many(first_obs(push), 2000), np.zeros((2000, 4), np.float32)
    for each in (guide, noisy):
        each.start(2000)
    noise = noisy(obs, still) - guide(obs, still)
    inside = np.abs(noisy(obs, still)) < 1.0
    assert 0.2 < noise[inside].std() < 0.4


@ALL
def test_it_learns_an_update_a_step_until_it_has_had_its_share(name: str, push: Push) -> None:
    guide = make(name, push, updates=STEPS + 7)
    for expected in (STEPS, STEPS + 7, STEPS + 7):
        guide.learn(push.pushed)
        assert guide.agent.updates == expected


@ALL
def test_of_more_episodes_at_once_than_it_keeps_it_keeps_the_last(name: str, push: Push) -> None:
    guide, count = make(name, push, updates=1), CAPACITY[name] + 3
    guide.learn(Episodes(*(np.resize(part, (count, *part.shape[1:])) for part in push.pushed)))
    assert guide.agent.updates == 1
    kept = guide.state_dict()["replay"]["observation"].numpy()
    assert len(kept) == CAPACITY[name]
    np.testing.assert_array_equal(kept[:ENVS], np.roll(push.pushed.observation, -3, axis=0))


@ALL
def test_what_it_learns_from_and_what_it_is_shown_is_left_as_it_was(name: str, push: Push) -> None:
    guide, obs, still = make(name, push), first_obs(push), np.zeros((ENVS, 4), np.float32)
    before = [array.copy() for array in (*push.pushed, *obs, still)]
    guide.learn(push.pushed)
    guide.start(ENVS)
    guide(obs, still)
    for array, kept in zip((*push.pushed, *obs, still), before, strict=True):
        np.testing.assert_array_equal(array, kept)


@ALL
def test_the_seed_decides_when_it_leads(name: str, push: Push) -> None:
    one, twin, other = (taught(name, push, share=0.5, seed=seed) for seed in (0, 0, 1))
    shown = turns(one, push, 50, 20)
    np.testing.assert_array_equal(turns(twin, push, 50, 20), shown)
    assert (turns(other, push, 50, 20) != shown).any()


@ALL
@pytest.mark.parametrize("task", ["push", "push_two"])
def test_going_on_from_its_state_is_going_on(
    name: str, task: str, request: pytest.FixtureRequest
) -> None:
    push: Push = request.getfixturevalue(task)
    guide, resumed = (make(name, push, seed, share=0.5, updates=STEPS + 20) for seed in (0, 9))
    guide.learn(push.pushed)
    guide.start(ENVS)
    file = io.BytesIO()
    torch.save(guide.state_dict(), file)
    file.seek(0)
    resumed.load_state_dict(torch.load(file))
    assert same(resumed.state_dict(), guide.state_dict())
    for first in (0, ENVS):
        played = [led(push, each, first) for each in (guide, resumed)]
        for one, other in zip(*played, strict=True):
            np.testing.assert_array_equal(one, other)
        for each in (guide, resumed):
            each.learn(push.pushed)
    assert same(resumed.state_dict(), guide.state_dict())
