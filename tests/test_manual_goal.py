import numpy as np
import pytest
import torch

from her_robotics.goals.manual import ManualGoal

SIZE = 3


def trained(relative: bool, generator: np.random.Generator) -> ManualGoal:
    encoder = ManualGoal(SIZE, relative)
    encoder.observe(torch.as_tensor(generator.normal(2.0, 0.5, (200, SIZE))))
    return encoder


def test_the_relative_part_is_zero_where_the_goal_is_achieved(
    generator: np.random.Generator,
) -> None:
    goal = torch.as_tensor(generator.normal(2.0, 0.5, (10, SIZE)), dtype=torch.float32)
    embedding = trained(True, generator)(goal, goal)
    assert (embedding[:, SIZE:] == 0.0).all()
    assert (embedding[:, :SIZE] != 0.0).any()


def test_the_relative_part_is_the_way_to_go_in_deviations_of_the_goals(
    generator: np.random.Generator,
) -> None:
    encoder = trained(True, generator)
    achieved, goal = torch.full((1, SIZE), 2.0), torch.tensor([[2.5, 2.0, 1.0]])
    expected = torch.tensor([[0.5, 0.0, -1.0]]) * encoder.normalizer.scale
    torch.testing.assert_close(encoder(achieved, goal)[:, SIZE:], expected)


def test_both_parts_are_clipped_alike(generator: np.random.Generator) -> None:
    encoder = trained(True, generator)
    embedding = encoder(torch.full((1, SIZE), -1e6), torch.full((1, SIZE), 1e6))
    assert (embedding == encoder.normalizer.clip).all()


def test_close_to_the_goal_the_way_to_go_is_seen_magnified(generator: np.random.Generator) -> None:
    plain, goal = trained(True, generator), torch.full((3, SIZE), 2.0)
    encoder = ManualGoal(SIZE, True, near_scale=0.01)
    encoder.load_state_dict(plain.state_dict())
    off = torch.tensor([[0.0], [0.001], [-0.001]])
    embedding = encoder(goal - off, goal)
    assert encoder.output_size == embedding.shape[-1] == 3 * SIZE
    assert torch.equal(embedding[:, : 2 * SIZE], plain(goal - off, goal))
    near, far = embedding[:, 2 * SIZE :], embedding[:, SIZE : 2 * SIZE]
    assert (near[0] == 0.0).all()
    torch.testing.assert_close(near[1], -near[2], atol=1e-4, rtol=0.0)
    assert (near[1] > 10.0 * far[1]).all(), "a deviation is fifty times the scale here"
    deviation = 1.0 / encoder.normalizer.scale
    torch.testing.assert_close(encoder(goal - deviation, goal)[:, 2 * SIZE :], torch.ones(3, SIZE))


@pytest.mark.parametrize("relative", [True, False])
def test_the_absolute_part_does_not_depend_on_what_is_achieved(
    relative: bool, generator: np.random.Generator
) -> None:
    encoder, goal = trained(relative, generator), torch.full((4, SIZE), 2.2)
    one, other = (encoder(torch.randn(4, SIZE), goal) for _ in range(2))
    assert one.shape[-1] == encoder.output_size == SIZE * (1 + relative)
    assert torch.equal(one[:, :SIZE], other[:, :SIZE])
    assert torch.equal(one, other) == (not relative)


def test_moments_are_those_of_desired_goals_alone(generator: np.random.Generator) -> None:
    encoder = trained(True, generator)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    encoder(1000.0 * torch.randn(50, SIZE), torch.randn(50, SIZE))
    for name, value in encoder.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert encoder.normalizer.count == 200


@pytest.mark.parametrize("relative", [True, False])
def test_one_goal_serves_both_states_of_a_transition(
    relative: bool, generator: np.random.Generator
) -> None:
    encoder = trained(relative, generator)
    achieved, goal = torch.randn(2, 6, SIZE), torch.randn(6, SIZE)
    both = encoder(achieved, goal)
    assert torch.equal(both[0], encoder(achieved[0], goal))
    assert torch.equal(both[1], encoder(achieved[1], goal))
