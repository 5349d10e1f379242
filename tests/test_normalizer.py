import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from her_robotics.normalizer import Normalizer, magnified, waves

SIZE = 3
DATA = hnp.arrays(
    np.float64,
    st.tuples(st.integers(1, 40), st.just(SIZE)),
    elements=st.floats(-1e3, 1e3).map(lambda value: round(value, 3)),
)


def seen(*chunks: np.ndarray, **kwargs: float) -> Normalizer:
    normalizer = Normalizer(SIZE, **kwargs)
    for chunk in chunks:
        normalizer.update(torch.as_tensor(chunk))
    return normalizer


@settings(deadline=None, max_examples=60)
@given(DATA)
def test_moments_are_numpys(data: np.ndarray) -> None:
    normalizer = seen(data)
    np.testing.assert_allclose(normalizer.mean.numpy(), data.mean(axis=0), atol=1e-9)
    expected = 1.0 / np.maximum(data.std(axis=0), normalizer.min_std)
    np.testing.assert_allclose(normalizer.scale.numpy(), expected, rtol=1e-4)
    assert normalizer.count == len(data)


@settings(deadline=None, max_examples=60)
@given(DATA, st.lists(st.integers(1, 39), max_size=4))
def test_moments_of_any_split_are_those_of_the_whole(data: np.ndarray, cuts: list[int]) -> None:
    chunks = np.split(data, sorted({cut for cut in cuts if cut < len(data)}))
    whole, merged = seen(data), seen(*chunks)
    for name in ("count", "mean", "sum_squares"):
        left, right = getattr(whole, name).numpy(), getattr(merged, name).numpy()
        np.testing.assert_allclose(left, right, rtol=1e-9, atol=1e-6, err_msg=name)


def test_moments_gathered_apart_merge_into_those_of_the_whole(
    generator: np.random.Generator,
) -> None:
    one, other = generator.normal(5.0, 2.0, (2, 50, SIZE))
    whole, merged, share = seen(one, other), seen(one), seen(other)
    merged.merge(float(share.count), share.mean, share.sum_squares)
    for name in ("count", "mean", "sum_squares", "shift", "scale"):
        torch.testing.assert_close(getattr(merged, name), getattr(whole, name))


def test_a_far_off_mean_does_not_swallow_the_deviation(generator: np.random.Generator) -> None:
    data = 1e6 + generator.normal(0.0, 1.0, (1000, SIZE))
    deviation = 1.0 / seen(*np.split(data, 10)).scale.numpy()
    np.testing.assert_allclose(deviation, data.std(axis=0), rtol=1e-4)


def test_what_was_seen_comes_out_standardised(generator: np.random.Generator) -> None:
    data = torch.as_tensor(generator.normal(3.0, 7.0, (500, SIZE)), dtype=torch.float32)
    out = seen(data.numpy(), clip=100.0)(data)
    torch.testing.assert_close(out.mean(dim=0), torch.zeros(SIZE), atol=1e-5, rtol=0.0)
    torch.testing.assert_close(out.std(dim=0, correction=0), torch.ones(SIZE))


@pytest.mark.parametrize("clip", [1.0, 5.0])
def test_results_are_clipped(clip: float, generator: np.random.Generator) -> None:
    normalizer = seen(generator.normal(size=(100, SIZE)), clip=clip)
    far = torch.tensor([[1e6, -1e6, 0.0]])
    assert normalizer(far)[0, :2].tolist() == [clip, -clip]


def test_a_constant_does_not_blow_up() -> None:
    normalizer = seen(np.full((20, SIZE), 4.0), min_std=0.01, clip=5.0)
    out = normalizer(torch.tensor([[4.0, 4.01, 3.99]]))
    torch.testing.assert_close(out, torch.tensor([[0.0, 1.0, -1.0]]), atol=1e-3, rtol=0.0)


def test_before_any_data_it_is_the_identity_clipped() -> None:
    out = Normalizer(SIZE)(torch.tensor([0.5, -2.0, 70.0]))
    assert out.tolist() == [0.5, -2.0, 5.0]


def test_leading_axes_are_all_samples_and_are_kept(generator: np.random.Generator) -> None:
    data = generator.normal(size=(4, 5, SIZE))
    deep, flat = seen(data), seen(data.reshape(20, SIZE))
    assert torch.equal(deep.mean, flat.mean)
    values = torch.as_tensor(data, dtype=torch.float32)
    assert torch.equal(deep(values).reshape(20, SIZE), flat(values.reshape(20, SIZE)))


def test_moments_travel_in_the_state_dict(generator: np.random.Generator) -> None:
    original, restored = seen(generator.normal(2.0, 3.0, (30, SIZE))), Normalizer(SIZE)
    restored.load_state_dict(original.state_dict())
    values = torch.randn(10, SIZE)
    assert torch.equal(original(values), restored(values))
    assert not list(original.parameters())


def test_an_empty_batch_changes_nothing() -> None:
    normalizer = seen(np.arange(12.0).reshape(4, SIZE))
    before = normalizer.mean.clone()
    normalizer.update(torch.zeros(0, SIZE))
    assert torch.equal(normalizer.mean, before)


@settings(deadline=None)
@given(
    values=hnp.arrays(np.float64, (5, 3), elements=st.floats(-2.0, 2.0)),
    scale=st.floats(0.005, 0.1),
)
def test_waves_rise_as_fast_everywhere_where_magnified_rises_about_zero(
    values: np.ndarray, scale: float
) -> None:
    step = 0.01 * scale
    near, far = (torch.from_numpy(each) for each in (values, values + step))
    moved = (waves(far, scale) - waves(near, scale)).view(5, 2, 3).norm(dim=1)
    assert torch.allclose(moved, torch.full_like(moved, 0.01), rtol=1e-3)
    at_zero = magnified(torch.tensor([step]), scale)
    assert float(at_zero) == pytest.approx(0.01, rel=1e-3)
    again = waves(near + 2.0 * np.pi * scale, scale)
    assert torch.allclose(again, waves(near, scale), atol=1e-6)
