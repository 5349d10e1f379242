"""Cells of a benchmark: real trainings that are cut off, gone on with, refused and locked."""

import fcntl
import signal
from pathlib import Path

import pytest

from benchmarks.cells import Cell, complete, refuse_other, run_cells
from benchmarks.trainings import Trainings, figures
from her_robotics.checkpoint import CHECKPOINT
from her_robotics.cli.making import env_maker
from her_robotics.cli.training import configure
from her_robotics.errors import UserError
from her_robotics.run_folder import CONFIG, METRICS, create
from her_robotics.saved_policy import CARD
from her_robotics.session import Session

from .runs import command, rows, signal_at, watched

TINY = (
    "--env.num-envs 2 --agent.hidden 8 --replay.capacity 10000 --exploration.random-episodes 2 "
    "--train.steps 200 --train.updates-per-step 0.2 --eval.every 100 --eval.episodes 4"
)
VARIANTS = {
    "plain": TINY,
    "relay": f"{TINY} --exploration.guide.name relay",
    "slow": f"{TINY} --agent.tau 0.01",
}


def work(runs: Path, workers: int = 1, variants: dict[str, str] = VARIANTS) -> Trainings:
    return Trainings(runs, lambda task, variant: variants[variant], workers)


def cell(variant: str = "plain", seed: int = 0) -> Cell:
    return Cell("fetch_reach", variant, seed)


def begin(given: Trainings, which: Cell, *stop_at: int) -> Session:
    """A cell's run up to where it starts, or is made to stop."""
    out = given.arguments(which).index("--out")
    task, *arguments = given.arguments(which)
    del arguments[out - 1 : out + 1]
    config = configure(task, arguments)
    return Session(
        config, given.folder(which), watched(env_maker(config.env), signal_at(*stop_at), 2)
    )


def test_cells_go_on_where_they_were_cut_off_and_what_is_done_is_left_alone(tmp_path: Path) -> None:
    given, whole = work(tmp_path / "cells", workers=2), work(tmp_path / "whole")
    half, begun, bad = cell(), cell(seed=1), cell("relay")
    assert begin(given, half, 60).run() == 128 + signal.SIGINT
    assert (given.folder(half) / CHECKPOINT).exists()
    begin(given, begun)
    assert not (given.folder(begun) / CHECKPOINT).exists()
    assert not any(map(given.is_done, (half, begun, bad)))

    assert command("train", *given.next_arguments(begun)).code == 0
    (failure,) = run_cells(given, [half, begun, bad], workers=2)
    assert failure.startswith("fetch_reach/relay/0: UserError: exit code 2: see ")
    log = Path(failure.partition("see ")[2])
    assert "relay does not fit fetch_reach" in log.read_text()
    assert given.is_done(half)
    assert given.is_done(begun)
    assert command("train", *whole.arguments(half)).code == 0
    written = [(one.folder(half) / METRICS).read_bytes() for one in (given, whole)]
    assert written[0] == written[1]

    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "cells").glob("*plain*/*")}
    assert complete(given, [half, begun], workers=1) == 0
    assert before == {path: path.stat().st_mtime_ns for path in before}
    found = figures(given.folder(half), target=0.01)
    tests = rows(given.folder(half) / METRICS)
    assert [point["step"] for point in found["curve"]] == [100, 200]
    assert found["last_success"] == tests[-1]["test/success_rate"]
    first = next((row["step"] for row in tests if row["test/success_rate"] >= 0.01), None)
    assert found["steps_to_target"] == first


def test_a_folder_of_other_settings_is_refused_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    create(tmp_path / cell("slow").name, configure("fetch_reach", VARIANTS["plain"].split()))
    with pytest.raises(UserError, match=r"agent\.tau = 0\.05, not 0\.01: give another folder"):
        work(tmp_path).is_done(cell("slow"))
    assert complete(work(tmp_path), [cell(), cell("slow")], workers=1) == 2
    assert "fetch_reach-slow-s0 was run with" in capsys.readouterr().err
    assert not (tmp_path / cell().name).exists()


def test_threads_and_where_it_is_tracked_are_no_other_settings(tmp_path: Path) -> None:
    options = "--env.num-threads 2 --wandb offline --video.size 64 --train.checkpoint-seconds 1"
    create(tmp_path / cell().name, configure("fetch_reach", [*TINY.split(), *options.split()]))
    assert not work(tmp_path, workers=2).is_done(cell())
    (tmp_path / cell().name).rename(tmp_path / cell(seed=7).name)
    with pytest.raises(UserError, match="seed = 0, not 7"):
        work(tmp_path).is_done(cell(seed=7))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--agent.tua 0.1", r"--agent\.tua"),
        ("--agent.tau 2", r"agent\.tau = 2\.0 must be in"),
        ("--seed 3", "--seed 3 is no option here: give --seeds"),
    ],
)
def test_options_that_cannot_be_are_refused_before_anything_starts(
    tmp_path: Path, options: str, said: str
) -> None:
    given = work(tmp_path, variants={"wrong": options})
    with pytest.raises(UserError, match=said):
        run_cells(given, [cell("wrong")], workers=1)
    assert not list(tmp_path.iterdir())


def test_a_cell_that_another_process_trains_is_let_be(tmp_path: Path) -> None:
    given = work(tmp_path)
    begin(given, cell())
    with (tmp_path / f"{cell().name}.log").open("a") as log:
        fcntl.flock(log, fcntl.LOCK_EX)
        (failure,) = run_cells(given, [cell()], workers=1)
    assert "another process trains it just now" in failure
    assert (given.folder(cell()) / CONFIG).exists()
    assert not (given.folder(cell()) / CARD).exists()


def test_differences_are_told_by_name_and_one_by_one() -> None:
    before = {"a": {"b": 1, "c": [2, 3]}, "d": None, "old": 0}
    refuse_other(Path("x"), before, before)
    with pytest.raises(UserError) as error:
        refuse_other(Path("x"), before, {"a": {"b": 1, "c": [2, 4]}, "d": 5})
    said = "x was run with a.c = [2, 3], not [2, 4], d = None, not 5, old = 0, not None: "
    assert str(error.value).startswith(said)
