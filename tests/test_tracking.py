import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import her_robotics
from her_robotics.cli.making import env_maker
from her_robotics.run_folder import CURVE, METRICS, TIMINGS, VIDEO, read_config
from her_robotics.session import Session
from her_robotics.strict import to_mapping
from her_robotics.tracking import (
    WANDB_ID,
    Guarded,
    JsonLines,
    read_lines,
    start_trackers,
    wandb_mode,
)

from .runs import (
    debug_run,
    names_in,
    offline_run,
    rows,
    signal_at,
    tiny,
    wandb_folder,
    wandb_records,
    watched,
)

ROW = st.fixed_dictionaries(
    {"step": st.integers(0, 10**9), "loss": st.floats(allow_nan=False, allow_infinity=False)}
)
NO_TIMES = {"step": 1, "seconds": 0.5}


class Failing:
    """A tracker that fails in one of its calls, all of which it writes down."""

    def __init__(self, failing: str, calls: list[str]) -> None:
        self.failing, self.calls = failing, calls
        self._call("start")

    def log(self, metrics: Mapping[str, float], timings: Mapping[str, float]) -> None:
        self._call("log")

    def finish(self) -> None:
        self._call("finish")

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if name == self.failing:
            raise ConnectionError("no route\nto the host")


@settings(deadline=None, max_examples=40)
@given(st.lists(ROW, max_size=5))
def test_what_is_logged_is_read_back_exactly(
    tmp_path_factory: pytest.TempPathFactory, given_rows: list[dict[str, Any]]
) -> None:
    folder = tmp_path_factory.mktemp("lines")
    tracker = JsonLines(folder)
    for row in given_rows:
        tracker.log(row, {"step": row["step"], "seconds": 1.5})
    tracker.finish()
    assert read_lines(folder / METRICS) == rows(folder / METRICS) == given_rows
    assert [row["step"] for row in rows(folder / TIMINGS)] == [row["step"] for row in given_rows]


def test_every_line_is_on_disk_before_the_next_comes(tmp_path: Path) -> None:
    tracker = JsonLines(tmp_path)
    for step in (1, 2, 3):
        tracker.log({"step": step}, NO_TIMES)
        assert [row["step"] for row in rows(tmp_path / METRICS)] == list(range(1, step + 1))


@settings(deadline=None, max_examples=60)
@given(st.lists(ROW, min_size=1, max_size=4), st.floats(0.0, 1.0))
def test_a_file_torn_anywhere_gives_the_lines_that_are_whole(
    tmp_path_factory: pytest.TempPathFactory, given_rows: list[dict[str, Any]], cut: float
) -> None:
    path = tmp_path_factory.mktemp("torn") / METRICS
    whole = "".join(json.dumps(row) + "\n" for row in given_rows)
    torn = whole[: round(cut * len(whole))]
    path.write_text(torn)
    complete = torn.count("}")
    assert read_lines(path) == given_rows[:complete]


@pytest.mark.parametrize("torn", ['{"step": 30', '{"step": 30, "loss": 1', "1", "\0\0\0", "\xff"])
def test_resuming_drops_a_torn_line_and_what_came_after_the_checkpoint(
    tmp_path: Path, torn: str
) -> None:
    tracker = JsonLines(tmp_path)
    for step in (10, 20, 25):
        tracker.log({"step": step, "loss": 0.1 * step}, {"step": step, "seconds": 0.3 * step})
    kept = [(tmp_path / name).read_text().splitlines()[:2] for name in (METRICS, TIMINGS)]
    for name in (METRICS, TIMINGS):
        with (tmp_path / name).open("ab") as file:
            file.write(torn.encode("latin-1"))
    resumed = JsonLines(tmp_path, resume_at=20)
    after = [(tmp_path / name).read_text().splitlines() for name in (METRICS, TIMINGS)]
    assert after == kept
    resumed.log({"step": 30}, {"step": 30})
    assert [row["step"] for row in rows(tmp_path / METRICS)] == [10, 20, 30]


def test_a_fresh_run_starts_with_empty_files(tmp_path: Path) -> None:
    (tmp_path / METRICS).write_text('{"step": 5}\n')
    JsonLines(tmp_path)
    assert (tmp_path / METRICS).read_text() == (tmp_path / TIMINGS).read_text() == ""


def test_without_wandb_figures_are_written_and_nothing_of_wandb(tmp_path: Path) -> None:
    trackers = start_trackers(tmp_path, {}, "disabled", "project")
    for tracker in trackers:
        tracker.log({"step": 1, "loss": 2.0}, NO_TIMES)
        tracker.finish()
    assert rows(tmp_path / METRICS) == [{"step": 1, "loss": 2.0}]
    assert names_in(tmp_path) == {METRICS, TIMINGS}


@pytest.mark.parametrize("failing", ["start", "log", "finish"])
def test_a_tracker_that_fails_warns_once_and_stops_nothing(
    failing: str, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[str] = []
    guarded = Guarded(lambda: Failing(failing, calls), "the tracker")
    for _ in range(3):
        guarded.log({"step": 1}, NO_TIMES)
    guarded.finish()
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1
    assert "warning: the tracker failed" in printed.err
    assert "no route" in printed.err
    assert (
        calls
        == {
            "start": ["start"],
            "log": ["start", "log"],
            "finish": ["start", "log", "log", "log", "finish"],
        }[failing]
    ), "what failed is not called again"


def test_a_tracker_that_works_gets_every_call_and_says_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    calls: list[str] = []
    guarded = Guarded(lambda: Failing("nothing", calls), "the tracker")
    guarded.log({"step": 1}, NO_TIMES)
    guarded.log({"step": 2}, NO_TIMES)
    guarded.finish()
    assert calls == ["start", "log", "log", "finish"]
    assert capsys.readouterr().err == ""


def test_a_wandb_that_cannot_start_leaves_the_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "not a key")
    trackers = start_trackers(tmp_path, {}, "online", "bad / project # name")
    for tracker in trackers:
        tracker.log({"step": 1}, NO_TIMES)
        tracker.finish()
    assert rows(tmp_path / METRICS) == [{"step": 1}]
    assert capsys.readouterr().err.count("warning: wandb failed") == 1


@pytest.fixture
def no_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A netrc path that does not exist, in an environment that says nothing of wandb."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    return tmp_path / "netrc"


def test_with_no_account_wandb_is_offline(no_account: Path) -> None:
    assert wandb_mode(None) == "offline"
    no_account.write_text("machine elsewhere.org login me password x")
    assert wandb_mode(None) == "offline"


def with_netrc(netrc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc.write_text("machine api.wandb.ai\n  login user\n  password secret\n")


def with_key(netrc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "secret")


@pytest.mark.parametrize("account", [with_netrc, with_key])
def test_with_an_account_wandb_is_online_unless_told_otherwise(
    no_account: Path,
    monkeypatch: pytest.MonkeyPatch,
    account: Callable[[Path, pytest.MonkeyPatch], None],
) -> None:
    account(no_account, monkeypatch)
    assert wandb_mode(None) == "online"
    assert wandb_mode("disabled") == "disabled"
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert wandb_mode(None) == "offline"
    assert wandb_mode("online") == "online"


ASK = """
import sys
from pathlib import Path
from her_robotics.tracking import start_trackers
start_trackers(Path(sys.argv[1]), {}, sys.argv[2] if sys.argv[2:] else None, "project")
print("went on", flush=True)
import os
os._exit(0)
"""


@pytest.mark.parametrize("mode", [[], ["online"]])
def test_on_a_terminal_with_no_account_nothing_is_asked(
    tmp_path: Path, no_account: Path, monkeypatch: pytest.MonkeyPatch, mode: list[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(Path(her_robotics.__file__).parent.parent))
    ours, theirs = pty.openpty()
    arguments = [sys.executable, "-c", ASK, str(tmp_path), *mode]
    with subprocess.Popen(arguments, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        shown = list(until(ours, ("went on", "choice", "key")))
        process.kill()
    os.close(ours)
    assert "went on" in shown[-1], shown[-1]


def until(terminal: int, words: tuple[str, ...]) -> Iterator[str]:
    """All that a terminal has shown so far, again and again until one of ``words`` is in it."""
    shown = ""
    while not any(word in shown for word in words):
        try:
            shown += os.read(terminal, 4096).decode(errors="replace")
        except OSError:  # how Linux says that the other side has closed
            yield shown + " (and ended)"
            return
        yield shown


def test_wandb_offline_keeps_the_same_figures_as_the_file() -> None:
    run = offline_run().folder
    assert "warning" not in offline_run().outcome.err
    items = [record.history.item for record in wandb_records() if record.HasField("history")]
    kept = [{item.nested_key[0]: json.loads(item.value_json) for item in row} for row in items]
    tests = [row for row in kept if "test/success_rate" in row]
    expected = [a | b for a, b in zip(rows(run / TIMINGS), rows(run / METRICS), strict=True)]
    assert len(expected) == 3
    kept_of_them = [
        {name: row[name] for name in wanted} for row, wanted in zip(tests, expected, strict=True)
    ]
    assert kept_of_them == expected


def test_wandb_offline_keeps_the_configuration_and_where_it_is_from() -> None:
    (run,) = [record.run for record in wandb_records() if record.HasField("run")]
    config = {item.key: json.loads(item.value_json) for item in run.config.update}
    expected = to_mapping(read_config(offline_run().folder))
    assert {name: config[name] for name in expected} == expected
    assert "commit" in config["provenance"]
    assert run.project == expected["wandb_project"]


@pytest.mark.parametrize(("kind", "name"), [("videos", VIDEO), ("images", CURVE)])
def test_wandb_offline_keeps_the_pictures(kind: str, name: str) -> None:
    (copy,) = (wandb_folder() / "files" / "media" / kind).iterdir()
    assert copy.read_bytes() == (offline_run().folder / name).read_bytes()


def test_a_resumed_run_goes_on_with_its_wandb_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CACHE", "CONFIG", "DATA"):
        monkeypatch.setenv(f"WANDB_{name}_DIR", str(tmp_path / name.lower()))
    config, folder = tiny(wandb="offline", wandb_project="joined"), tmp_path / "run"
    make_env = env_maker(config.env)
    assert Session(config, folder, watched(make_env, signal_at(160), 2)).run() == 130
    stopped = [row["step"] for row in rows(folder / METRICS)]
    assert Session(config, folder, make_env, resume=True).run() == 0
    stretches = [wandb_records(each) for each in sorted((folder / "wandb").glob("offline-run-*"))]
    ids = [one.run.run_id for each in stretches for one in each if one.HasField("run")]
    assert ids == [(folder / WANDB_ID).read_text()] * 2
    steps = [
        [one.history.step.num for one in each if one.HasField("history")] for each in stretches
    ]
    assert steps == [stopped, [600, 601]]  # no step is in both; the last one has the pictures
    assert [*stopped, 600] == [row["step"] for row in rows(folder / METRICS)]


@pytest.mark.parametrize("text", ["", "../../x", "x" * 100])
def test_a_wandb_id_that_is_none_costs_wandb_and_not_the_run(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / WANDB_ID).parent.mkdir()
    (tmp_path / WANDB_ID).write_text(text)
    trackers = start_trackers(tmp_path, {}, "offline", "project", resume_at=0)
    assert len(trackers) == 2
    assert capsys.readouterr().err.count("warning: wandb failed") == 1


def test_figures_do_not_depend_on_whether_wandb_is_on() -> None:
    with_it, without = (run.folder / METRICS for run in (offline_run(), debug_run()))
    assert with_it.read_bytes() == without.read_bytes() != b""
    assert not (debug_run().folder / "wandb").exists()
