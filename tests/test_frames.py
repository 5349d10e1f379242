"""Frames by number, and the encoder that learns from them."""

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch

from her_robotics.agents import DDPG
from her_robotics.config import AgentConfig
from her_robotics.goals import CNNGoal
from her_robotics.goals.cnn import EMBEDDING, STALE, shifted
from her_robotics.goals.frames import FRAMES, GOALS, SPAN, FrameStore, Numbered
from her_robotics.types import Batch, EpisodeShape

SIZE = 16


def store(room: int = 40, pictures: np.ndarray | None = None) -> FrameStore:
    made = FrameStore(SIZE, EMBEDDING)
    made.reserve(FRAMES, room)
    if pictures is not None:
        made.add(FRAMES, pictures)
    return made


def noise(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, SIZE, SIZE, 3), np.uint8)


def spots(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Pictures of a bright spot, and where it is, ``(count, 2)`` in [-1, 1]."""
    places = np.random.default_rng(seed).integers(1, SIZE - 4, (count, 2))
    pictures = np.full((count, SIZE, SIZE, 3), 30, np.uint8)
    for picture, (row, column) in zip(pictures, places, strict=True):
        picture[row : row + 3, column : column + 3] = 255
    return pictures, (2.0 * (places - 1) / (SIZE - 6) - 1.0).astype(np.float32)


def test_a_number_gives_its_picture_until_that_has_made_room() -> None:
    pictures, kept = noise(50), store(30)
    numbers = np.concatenate([kept.add(FRAMES, part) for part in np.split(pictures, 5)])
    np.testing.assert_array_equal(kept.draw(numbers[[49, 20, 33, 20]]), pictures[[49, 20, 33, 20]])
    for gone in (numbers[19], numbers[49] + 1):
        with pytest.raises(ValueError, match="the last 30 are kept"):
            kept.draw(np.array([numbers[30], gone]))
    with pytest.raises(ValueError, match="no room"):
        kept.add(FRAMES, noise(31))
    with pytest.raises(ValueError, match=f"choose 1 to {SPAN:,d}"):
        kept.reserve(FRAMES, SPAN + 1)


def test_numbers_stay_whole_where_replay_keeps_them() -> None:
    highest = np.float32(4 * SPAN - 1)
    assert int(highest) == 4 * SPAN - 1


def test_goal_images_and_what_is_seen_in_training_and_tests_have_numbers_of_their_own() -> None:
    kept, goals, more = store(), noise(5, 1), noise(1, 2)
    training, test = (Numbered(kept, test, 3) for test in (False, True))
    of_goals = [each.embed_goals(goals) for each in (training, test)]
    seen, tested = training.follow(noise(4, 3)), test.follow(noise(4, 4))
    added = test.embed_goals(more)
    parts = (*of_goals, seen, tested, added)
    every = np.concatenate(parts)[:, 0]
    assert len(np.unique(every)) == len(every)
    expected = np.concatenate([goals, goals, noise(4, 3), noise(4, 4), more])
    np.testing.assert_array_equal(kept.draw(every), expected)
    np.testing.assert_array_equal(test.follow(noise(4, 5)), tested)
    np.testing.assert_array_equal(kept.draw(tested[:, 0]), noise(4, 5))
    np.testing.assert_array_equal(kept.draw(seen[:, 0]), noise(4, 3))


def test_what_was_seen_comes_back_and_a_store_of_another_size_is_refused() -> None:
    kept, again = store(30, noise(25)), store(30)
    again.load_state_dict(kept.state_dict())
    numbers = kept.add(FRAMES, noise(10, 1))
    np.testing.assert_array_equal(again.add(FRAMES, noise(10, 1)), numbers)
    np.testing.assert_array_equal(again.draw(numbers - 8), kept.draw(numbers - 8))
    for wrong in ({"added": -1}, {"added": 24}, {"frames": torch.zeros(25, 8, 8, 3)}):
        with pytest.raises(ValueError, match="saved frames"):
            store(30).load_state_dict({**store(30, noise(25)).state_dict(), **wrong})


def encoder(kept: FrameStore, relative: bool = False) -> CNNGoal:
    torch.manual_seed(0)
    made = CNNGoal(1, relative)
    made.frames = kept
    return made


def numbers_of(*places: int) -> torch.Tensor:
    return torch.tensor([[FRAMES * SPAN + place] for place in places], dtype=torch.float32)


@torch.no_grad()
def test_a_goal_is_embedded_as_its_picture_and_relative_to_what_is_seen() -> None:
    pictures = noise(4)
    kept = store(pictures=pictures)
    goal, achieved = numbers_of(2, 2, 0), numbers_of(1, 2, 3)
    alone = encoder(kept).network(torch.from_numpy(pictures))
    absolute, offset = encoder(kept, relative=True)(achieved, goal).chunk(2, dim=-1)
    torch.testing.assert_close(absolute, alone[[2, 2, 0]])
    torch.testing.assert_close(offset, alone[[2, 2, 0]] - alone[[1, 2, 3]])
    assert offset[1].abs().max() == 0.0
    pairs = torch.stack([achieved, achieved])
    torch.testing.assert_close(encoder(kept)(pairs, goal)[1], alone[[2, 2, 0]])


@torch.no_grad()
def test_what_learns_acts_and_embeddings_of_its_follower_are_kept_for_some_steps() -> None:
    kept = store(pictures=noise(4))
    made, goal = encoder(kept), numbers_of(0, 1)

    def differs(change: Callable[[], object]) -> bool:
        before = made(goal, goal)
        change()
        return not torch.equal(made(goal, goal), before)

    def grow(network: torch.nn.Module) -> None:
        for parameter in network.parameters():
            parameter.mul_(1.1)

    def age(steps: int) -> None:
        grow(made.follower)
        made.version += steps

    assert not differs(lambda: age(STALE + 1))
    assert differs(lambda: grow(made.network))
    made.train()
    assert not differs(lambda: grow(made.network))
    assert not differs(lambda: age(STALE)), "recent enough for targets"
    assert differs(lambda: age(1))
    grow(made.follower)
    assert differs(lambda: made.observe(goal)), "new episodes came"
    grow(made.follower)
    assert differs(lambda: made.load_state_dict(made.state_dict())), "weights from elsewhere"


def test_the_follower_moves_towards_what_learns_at_every_update() -> None:
    shape = EpisodeShape(horizon=5, observation=2, goal=3, action=1, embedding=1)
    torch.manual_seed(0)
    agent = DDPG(shape, AgentConfig(hidden=(8,), goal_encoder="cnn", tau=0.25))
    made = agent.policy.encoder
    made.frames = store(pictures=noise(4))
    goal = torch.cat([numbers_of(*range(4)), torch.zeros(4, 2)], dim=-1)
    nothing = torch.zeros(2, 4, 2)
    batch = Batch(nothing, goal.expand(2, 4, 3), goal, torch.zeros(4, 1), -torch.ones(4))
    before = copy.deepcopy(made)
    agent.update(batch)
    for now, old, leader, first in zip(
        *(each.state_dict().values() for each in (made.follower, before.follower)),
        *(each.state_dict().values() for each in (made.network, before.network)),
        strict=True,
    ):
        if now.is_floating_point():
            assert torch.equal(old, first)
            torch.testing.assert_close(now, old + 0.25 * (leader - old))
    assert not torch.equal(made.network.features[0].weight, before.network.features[0].weight)


def test_pictures_are_moved_by_whole_pixels_and_no_further_than_they_may() -> None:
    torch.manual_seed(0)
    pictures = torch.from_numpy(spots(300)[0])
    moved = shifted(pictures, 2)
    assert moved.shape == pictures.shape
    offsets = {
        tuple((torch.nonzero(b > 200)[0] - torch.nonzero(a > 200)[0])[:2].tolist())
        for a, b in zip(pictures[..., 0], moved[..., 0], strict=True)
    }
    assert {(a, b) for a in range(-2, 3) for b in range(-2, 3)} >= offsets
    assert len(offsets) == 25


def test_the_encoder_learns_where_a_spot_is_from_the_critics_loss_alone() -> None:
    pictures, places = spots(400)
    shape = EpisodeShape(horizon=5, observation=2, goal=3, action=1, embedding=1)
    torch.manual_seed(0)
    config = AgentConfig(
        hidden=(64, 64), goal_encoder="cnn", relative_goal=False, gamma=0.0, actor_after=10**6
    )
    agent = DDPG(shape, config, (-4.0, 0.0))
    agent.policy.encoder.frames = store(400, pictures)
    generator = np.random.default_rng(1)
    for _ in range(250):
        which, seen = generator.integers(0, 400, 64), generator.uniform(-1, 1, (64, 2))
        distance = np.linalg.norm(seen - places[which], axis=1)
        numbers = numbers_of(*which)
        goal = torch.cat([numbers, torch.zeros(64, 2)], dim=-1)
        observation = torch.from_numpy(seen.astype(np.float32)).expand(2, 64, 2)
        reward = torch.from_numpy(-distance.astype(np.float32))
        agent.update(Batch(observation, goal.expand(2, 64, 3), goal, torch.zeros(64, 1), reward))
    fresh, truth = spots(200, 2)
    with torch.no_grad():
        made = agent.policy.encoder.network(torch.from_numpy(fresh)).numpy()
    inputs = np.concatenate([made, np.ones((200, 1))], axis=1)
    solution = np.linalg.lstsq(inputs[:100], truth[:100])[0]
    error = np.linalg.norm(inputs[100:] @ solution - truth[100:], axis=1).mean()
    spread = np.linalg.norm(truth - truth.mean(axis=0), axis=1).mean()
    assert error < 0.4 * spread


def test_goals_that_are_no_numbers_of_frames_are_refused() -> None:
    with pytest.raises(ValueError, match="not goals of 3 numbers"):
        CNNGoal(3)


def test_what_is_seen_before_room_is_made_is_kept_until_the_next_step() -> None:
    kept = FrameStore(SIZE, EMBEDDING)
    assert kept.room(GOALS) == 0
    numbered = Numbered(kept, False, 3)
    first = numbered.follow(noise(3))
    np.testing.assert_array_equal(kept.draw(first[:, 0]), noise(3))
