import math
from itertools import chain
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from her_robotics import meters
from her_robotics.meters import Averages, Stopwatch

FIGURES = st.dictionaries(
    st.sampled_from("abc"), st.floats(-1e6, 1e6, allow_nan=False, width=32), max_size=3
)


@settings(deadline=None, max_examples=50)
@given(st.lists(FIGURES, max_size=8))
def test_each_figure_is_averaged_over_the_times_it_was_given(given_figures: list[dict]) -> None:
    averages = Averages()
    for figures in given_figures:
        averages.add(figures)
    taken = averages.take()
    assert taken.keys() == set(chain.from_iterable(given_figures))
    for name, mean in taken.items():
        values = [figures[name] for figures in given_figures if name in figures]
        assert mean == pytest.approx(math.fsum(values) / len(values), rel=1e-9, abs=1e-6)


def test_tensors_are_averaged_like_numbers_and_come_out_as_numbers() -> None:
    averages = Averages()
    for value in (1.0, 2.0, 6.0):
        averages.add({"tensor": torch.tensor(value), "number": value})
    taken = averages.take()
    assert taken == {"tensor": 3.0, "number": 3.0}
    assert all(type(value) is float for value in taken.values())


def test_a_tensor_that_changes_after_it_was_given_does_not_change_the_average() -> None:
    averages, tensor = Averages(), torch.tensor(1.0)
    averages.add({"loss": tensor})
    tensor.add_(100.0)
    assert averages.take() == {"loss": 1.0}


def test_taking_starts_anew() -> None:
    averages = Averages()
    averages.add({"loss": 5.0})
    averages.take()
    assert averages.take() == {}
    averages.add({"loss": 1.0})
    assert averages.take() == {"loss": 1.0}


@settings(deadline=None, max_examples=50)
@given(st.lists(FIGURES, max_size=4), st.lists(FIGURES, max_size=4))
def test_going_on_from_a_saved_state_gives_the_same_means_to_the_last_bit(
    before: list[dict], later: list[dict]
) -> None:
    whole, resumed = Averages(), Averages()
    for figures in before:
        whole.add(figures)
    resumed.load_state_dict(whole.state_dict())
    for averages in (whole, resumed):
        for figures in later:
            averages.add(figures)
    assert whole.take() == resumed.take()


def test_a_saved_state_does_not_follow_what_comes_later() -> None:
    averages = Averages()
    averages.add({"loss": torch.tensor(1.0)})
    state = averages.state_dict()
    averages.add({"loss": torch.tensor(9.0)})
    averages.take()
    restored = Averages()
    restored.load_state_dict(state)
    assert restored.take() == {"loss": 1.0}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The readings that the stopwatch meets, first to last; two processors work all the time."""
    readings: list[float] = []
    met: list[float] = [0.0]

    def perf_counter() -> float:
        met[0] = readings.pop(0)
        return met[0]

    fake = SimpleNamespace(perf_counter=perf_counter, process_time=lambda: 2.0 * met[0])
    monkeypatch.setattr(meters, "time", fake)
    return readings


def test_time_is_summed_by_activity_and_tests_do_not_slow_the_rate(clock: list[float]) -> None:
    watch = Stopwatch()
    clock += [0.0, 2.0, 10.0, 11.0, 20.0, 23.0, 30.0, 130.0]
    for activity in ("env", "update", "env", "test"):
        with watch(activity):
            pass
    figures = watch.take(steps=60)
    seconds = {"seconds/env": 5.0, "seconds/update": 1.0, "seconds/test": 100.0}
    processor = {"processor/env": 10.0, "processor/update": 2.0, "processor/test": 200.0}
    assert figures == {**seconds, **processor, "steps_per_second": 10.0}


def test_time_counts_even_if_the_activity_fails(clock: list[float]) -> None:
    watch = Stopwatch()
    clock += [0.0, 4.0]
    with pytest.raises(ZeroDivisionError), watch("env"):
        raise ZeroDivisionError
    expected = {"seconds/env": 4.0, "processor/env": 8.0, "steps_per_second": 2.0}
    assert watch.take(steps=8) == expected


def test_a_watch_that_was_taken_starts_anew_and_has_no_rate(clock: list[float]) -> None:
    watch = Stopwatch()
    clock += [0.0, 4.0]
    with watch("env"):
        pass
    watch.take(steps=1)
    figures = watch.take(steps=100)
    assert figures.keys() == {"steps_per_second"}
    assert math.isnan(figures["steps_per_second"])
