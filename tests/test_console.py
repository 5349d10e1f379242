import contextlib
import io
import os
import pty
import select
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

import her_robotics
from her_robotics.checkpoint import PREVIOUS, load_checkpoint
from her_robotics.console import Bar, StopRequest, duration, listening_for_stop
from her_robotics.evaluate import Evaluation
from her_robotics.learner import Progress
from her_robotics.run_folder import METRICS
from her_robotics.train import Report

from .runs import DEBUG_FILES, command, names_in, rows

CLONE = Path(her_robotics.__file__).parent.parent
SIGNALS = pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
RESULT = Evaluation(0.75, 0.8, (0.31, 0.95), 4, 0.123, 7.0, -20.0, 0.5)
REPORT = Report({"step": 400}, {"step": 400, "steps_per_second": 1234.0}, RESULT)


@pytest.fixture(autouse=True)
def _handlers_as_before() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@SIGNALS
def test_the_first_signal_is_a_request(
    number: signal.Signals, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with listening_for_stop() as stop:
        assert not stop()
        assert stop.exit_code == 0
        signal.raise_signal(number)
        assert stop()
        assert stop.exit_code == code
    assert stop.exit_code == code, "the request outlives the listening"
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_the_second_ctrl_c_interrupts_at_once() -> None:
    def twice() -> None:
        with listening_for_stop():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            raise AssertionError("nothing happened")

    with pytest.raises(KeyboardInterrupt):
        twice()


@pytest.mark.parametrize("asked", [True, False])
def test_afterwards_signals_do_what_they_did_before(asked: bool) -> None:
    caught: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: caught.append(number))
    with listening_for_stop():
        if asked:
            signal.raise_signal(signal.SIGTERM)
        assert caught == []
    signal.raise_signal(signal.SIGTERM)
    assert caught == [signal.SIGTERM]


def test_nobody_asked_is_no_stop() -> None:
    assert StopRequest().exit_code == 0
    assert not StopRequest()()


def test_without_a_terminal_a_test_is_one_plain_line_on_stderr() -> None:
    shown = io.StringIO()
    with contextlib.redirect_stderr(shown):
        bar = Bar(1000, progress := Progress(seconds=2.0))
        progress.steps = 400
        bar.advance()
        bar.report(REPORT)
        bar.close()
    (line,) = shown.getvalue().splitlines()
    assert "\r" not in shown.getvalue()
    for part in ("400", "success 0.75 [0.31, 0.95]", "0.123", "1,234 steps/s", "00:03 left"):
        assert part in line


def test_on_a_terminal_a_bar_shows_steps_and_success() -> None:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 120))
    with open(theirs, "w") as terminal, contextlib.redirect_stderr(terminal):
        bar = Bar(1000, progress := Progress(seconds=2.0))
        progress.steps = 400
        bar.report(REPORT)
        bar.advance()
        bar.close()
    shown = ""
    while "400/1000" not in shown and select.select([ours], [], [], 5.0)[0]:  # it comes in parts
        shown += os.read(ours, 10_000).decode()
    os.close(ours)
    last = [part for part in shown.replace("\n", "\r").split("\r") if part.strip()][-1]
    assert "400/1000" in last
    assert "success 0.75" in last


@pytest.mark.parametrize(("seconds", "shown"), [(65, "01:05"), (7389, "2:03:09"), (0.4, "00:00")])
def test_durations_are_written_as_a_clock_shows_them(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


def stopped(folder: Path, number: signal.Signals, steps: int) -> tuple[int, str, str]:
    """Run the real command, send it a signal at its first test: exit code, stdout, stderr."""
    arguments = ["train", "debug", "--out", str(folder), "--wandb", "disabled"]
    arguments += ["--train.steps", str(steps), "--eval.every", "200"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(CLONE)}
    with subprocess.Popen(
        [sys.executable, "-m", "her_robotics", *arguments, "--video.enabled", "false"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        assert process.stderr is not None
        assert process.stdout is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if "success" in line:
                process.send_signal(number)
                break
        said.append(process.stderr.read())
        out = process.stdout.read()
    return process.returncode, out, "".join(said)


@SIGNALS
def test_a_stopped_process_saves_says_how_to_go_on_and_can(
    number: signal.Signals, code: int, tmp_path: Path
) -> None:
    run, steps = tmp_path / "run", 2000
    returned, out, err = stopped(run, number, steps)
    assert returned == code, err
    assert out.splitlines()[-1].endswith(f"her-robotics train --resume {run}")
    assert "Traceback" not in err
    reached = load_checkpoint(run)["progress"]["steps"]
    assert reached % 100 == 0, "whole cycles only"
    assert 200 <= reached < steps
    if number == signal.SIGINT:
        outcome = command("train", "--resume", run)
        assert outcome.code == 0, outcome.err
        assert f"from step {reached:,d}" in outcome.out
        assert [row["step"] for row in rows(run / METRICS)] == list(range(200, steps + 1, 200))
        assert names_in(run) == DEBUG_FILES - {"policy.mp4"} | {PREVIOUS}
