"""Ranks, as real processes that find each other by gloo; `torchrun` itself is in test_torchrun.py."""

import signal
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.rank_parity import compared
from benchmarks.rank_processes import Ended, as_ranks
from her_robotics.checkpoint import CHECKPOINT, EPISODES, PREVIOUS
from her_robotics.config import AgentConfig
from her_robotics.distributed import gather, own_seed, rank, share, size
from her_robotics.run_folder import METRICS, read_config
from her_robotics.saved_policy import CARD, WEIGHTS, load_policy

from . import rank_work
from .runs import names_in, rows

WHOLE_RUN: dict[str, Any] = {}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two ranks that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert codes(as_ranks(2, rank_work.session, folder, WHOLE_RUN)) == [0, 0]
    return folder


def codes(ended: list[Ended]) -> list[int | None]:
    assert all("Traceback" not in str(each.given) for each in ended), ended
    return [each.given[0] if isinstance(each.given, tuple) else each.code for each in ended]


def test_a_process_alone_is_the_first_of_one_and_shares_nothing() -> None:
    assert (rank(), size(), own_seed(7), share(5)) == (0, 1, 7, range(5))
    value = object()
    assert gather("it", value) == [value]


def test_moments_are_the_pooled_ones_and_gradients_those_of_the_joined_batch() -> None:
    first, second = as_ranks(2, compared, 3, AgentConfig(hidden=(16, 16)))
    assert first == second
    assert first.given["moments"] < 1e-14
    assert first.given["gradients"] < 1e-5


def test_every_learner_stays_the_same_in_all_ranks_and_each_plays_its_own_episodes() -> None:
    kinds: list[dict[str, Any]] = [
        {},
        {"agent": {"name": "svg", "num_critics": 2, "average": 0.1}},
        {"agent": {"batch_norm": True}},
        {"exploration": {"guide": {"name": "mover", "updates": 40}}},
    ]
    first, second = (each.given for each in as_ranks(2, rank_work.trained, kinds))
    for one, other in zip(first, second, strict=True):
        assert one[:2] == other[:2]
        assert one[0] != one[1], "it has not learnt"
        assert one[2] != other[2]


def test_weights_that_differ_are_found_and_named() -> None:
    for each in as_ranks(2, rank_work.spoilt):
        assert "rank 1 in " in each.given
        assert "critics" in each.given
        assert "after 12 updates" in each.given


def test_a_rank_that_goes_astray_is_found() -> None:
    ended = as_ranks(2, rank_work.astray)
    assert ended[0].given == "rank 1 is at 'what 1 wants' where rank 0 is at 'what 0 wants'"


def test_the_first_rank_alone_writes_what_a_run_leaves(whole: Path) -> None:
    ours = {"config.yaml", METRICS, "timings.jsonl", WEIGHTS, CARD, "learning_curve.png"}
    assert names_in(whole) == ours | {"rank-0-of-2", "rank-1-of-2"}
    assert names_in(whole / "rank-1-of-2") == {CHECKPOINT, PREVIOUS, EPISODES}
    assert [row["step"] for row in rows(whole / METRICS)] == [120, 240, 300]
    assert [row["episodes"] for row in rows(whole / METRICS)] == [8, 16, 20]
    assert [row["updates"] for row in rows(whole / METRICS)] == [12, 24, 30]
    assert load_policy(whole).card["trained"]["ranks"] == 2


@pytest.mark.parametrize("number", [0, 1])
def test_a_stop_of_any_rank_stops_all_and_a_resumed_run_equals_one_that_went_through(
    number: int, tmp_path: Path, whole: Path
) -> None:
    folder, stopped = tmp_path / "run", (number, 20, signal.SIGTERM)
    ended = as_ranks(2, rank_work.session, folder, WHOLE_RUN, stopped)
    assert [each.given[:2] for each in ended] == [(143, 120), (143, 120)]
    ended = as_ranks(2, rank_work.session, folder, WHOLE_RUN, None, True)
    assert codes(ended) == [0, 0]
    for name in (METRICS, WEIGHTS):
        assert (folder / name).read_bytes() == (whole / name).read_bytes()


def test_a_rank_that_is_killed_ends_the_others_at_once_and_the_run_resumes(
    tmp_path: Path, whole: Path
) -> None:
    folder, start = tmp_path / "run", time.monotonic()
    ended = as_ranks(2, rank_work.session, folder, WHOLE_RUN, (1, 40, signal.SIGKILL))
    assert time.monotonic() - start < 50, "it was not missed before the timeout"
    assert [each.code for each in ended] == [1, -signal.SIGKILL]
    assert ended[0].given.startswith("rank 0 ends at ")
    assert "another has ended or does not answer" in ended[0].given
    assert ended[0].given.endswith(f"-m her_robotics train --resume {folder}")
    assert codes(as_ranks(2, rank_work.session, folder, WHOLE_RUN, None, True)) == [0, 0]
    assert (folder / METRICS).read_bytes() == (whole / METRICS).read_bytes()
    assert (folder / WEIGHTS).read_bytes() == (whole / WEIGHTS).read_bytes()


def test_ranks_that_go_on_to_more_steps_equal_those_that_were_to_make_them(
    tmp_path: Path, whole: Path
) -> None:
    folder = tmp_path / "run"
    ended = as_ranks(2, rank_work.session, folder, {"train": {"steps": 180}})
    assert codes(ended) == [0, 0]
    assert [row["step"] for row in rows(folder / METRICS)] == [120, 180]
    assert codes(as_ranks(2, rank_work.session, folder, WHOLE_RUN, None, True)) == [0, 0]
    assert read_config(folder).train.steps == 300
    for name in (METRICS, WEIGHTS):
        assert (folder / name).read_bytes() == (whole / name).read_bytes()


def test_a_rank_that_does_not_answer_is_missed_after_the_timeout(tmp_path: Path) -> None:
    arguments = (tmp_path / "run", WHOLE_RUN, (1, 40, signal.SIGSTOP))
    first, _ = as_ranks(2, rank_work.session, *arguments, timeout=2.0)
    assert "another has ended or does not answer" in first.given


def test_a_rank_that_loses_its_episodes_stays_in_step(tmp_path: Path) -> None:
    folder, lost = tmp_path / "run", (1, 3, "nan")
    first, second = as_ranks(2, rank_work.session, folder, WHOLE_RUN, lost)
    assert first == second
    assert first.given[:2] == (0, 300)
    assert [row["diverged"] for row in rows(folder / METRICS)] == [2, 2, 2]
    assert names_in(folder / "rank-1-of-2" / "diverged") == {"0001.npz", "0002.npz"}


@pytest.mark.parametrize(
    ("when", "weights", "saved"),
    [("training", False, 120), ("training", True, 0), ("testing", False, 120)],
)
def test_an_action_that_is_not_finite_in_one_rank_has_all_save_what_was_learnt(
    when: str, weights: bool, saved: int, tmp_path: Path
) -> None:
    first, second = as_ranks(2, rank_work.not_finite, tmp_path / "run", when, weights)
    assert first == second
    said, steps = first.given
    assert said.endswith("rank 1: action is not finite in env 0 at step 5")
    assert said.startswith("rank 0: action is not finite") == weights
    assert steps == saved


def test_ranks_killed_between_their_checkpoints_go_on_from_the_one_that_all_have(
    tmp_path: Path,
) -> None:
    ended = as_ranks(2, rank_work.cut_between_two_checkpoints, tmp_path)
    assert [each.code for each in ended] == [0, -signal.SIGKILL]
    assert [each.given for each in as_ranks(2, rank_work.steps_loaded, tmp_path)] == [60, 60]


def test_a_checkpoint_that_one_rank_cannot_write_is_none(tmp_path: Path) -> None:
    ended = as_ranks(2, rank_work.full_disk, tmp_path)
    assert [each.given for each in ended] == [[60, 180], [60, 180]]


def test_a_run_is_resumed_by_as_many_ranks_only(tmp_path: Path, whole: Path) -> None:
    with pytest.raises(Exception, match=r"is a run of 2 ranks, not of 1: .* --nproc-per-node 2 "):
        rank_work.steps_loaded(whole)
    (tmp_path / CHECKPOINT).touch()
    for each in as_ranks(2, rank_work.steps_loaded, tmp_path):
        assert "is a run of 1 ranks, not of 2" in each.given
