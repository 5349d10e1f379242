import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from matplotlib.image import imread

from benchmarks.long_run import GUIDE, Arguments, Look, Stretch, judge, main, watch
from her_robotics.run_folder import TIMINGS

ROOT = Path(__file__).resolve().parent.parent
TINY = "--agent.hidden 16 --train.updates-per-step 0.05 --exploration.guide.name none --eval.episodes 2"
FLAT = [Look(i / 10, 500.0 + i % 2, 4, 20, 100 * i) for i in range(100)]
STEADY = [Stretch(100 * i, 200.0 + i % 3, 100.0 + i % 3) for i in range(1, 100)]


def command(out: Path, *options: str) -> list[str]:
    module = [sys.executable, "-m", "benchmarks.long_run", "--every", "0.1", "--num-envs", "2"]
    where = ["--runs", str(out / "runs"), "--out", str(out / "long_run.json")]
    return [*module, "--capacity", "200", f"--options={TINY}", *where, *options]


def failures(looks: list[Look], stretches: list[Stretch]) -> set[str]:
    verdicts = judge(looks, stretches, full=1000)
    return {name.split(",")[0] for name, each in verdicts.items() if not each["passed"]}


def test_a_run_that_stays_as_it_is_passes() -> None:
    assert not failures(FLAT, STEADY)


def test_what_grows_or_slows_is_found() -> None:
    leaking = [look._replace(memory=500 + 0.1 * i) for i, look in enumerate(FLAT)]
    assert failures(leaking, STEADY) == {"memory"}
    threads = [look._replace(threads=4 + i // 90) for i, look in enumerate(FLAT)]
    assert failures(threads, STEADY) == {"threads"}
    handles = [look._replace(handles=20 + i // 50) for i, look in enumerate(FLAT)]
    assert failures(handles, STEADY) == {"handles"}
    slow = [each._replace(wall=each.wall * (1 - 0.001 * i)) for i, each in enumerate(STEADY)]
    assert failures(FLAT, slow) == {"steps per second of wall time"}


def test_a_moments_extra_handle_is_no_growth_and_filling_the_replay_is_no_leak() -> None:
    looks = [
        look._replace(handles=20 + (i == 97), memory=min(500.0, 300 + 20 * i))
        for i, look in enumerate(FLAT)
    ]
    assert not failures(looks, STEADY)


def test_what_was_not_seen_does_not_pass() -> None:
    assert failures(FLAT[:5], STEADY) == {"memory"}, "the replay was never full"
    assert len(failures(FLAT, STEADY[:1])) == 2


def test_a_run_is_told_to_stop_when_the_time_is_up(tmp_path: Path) -> None:
    given = Arguments(minutes=0.02, num_envs=2, every=0.2, options=TINY)
    before = {*psutil.Process().children()}
    looks, ended = watch(given, tmp_path / "run")
    assert ended == "time was up"
    assert looks[-1].memory > 1
    assert looks[-1].handles >= 3
    assert {*psutil.Process().children()} <= before, "it left a process"


def test_ctrl_c_leaves_what_there_is_and_no_process(tmp_path: Path) -> None:
    bench = subprocess.Popen(command(tmp_path), cwd=ROOT, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline and not _reports(tmp_path, 12):  # looks lag behind
        time.sleep(0.1)
    os.kill(bench.pid, signal.SIGINT)
    said, _ = bench.communicate(timeout=60)
    assert "interrupted" in said
    results = json.loads((tmp_path / "long_run.json").read_text())["results"]
    assert results["verdicts"]["ended as asked"] == {"passed": True, "how": "interrupted"}
    last = results["looks"][-1]
    assert last["memory"] > 100, "torch alone takes more"
    assert last["threads"] >= 1
    assert last["steps"] >= 300
    assert all(each["wall"] > 0 and each["processor"] > 0 for each in results["stretches"])
    assert imread(tmp_path / "long_run.png").std() > 0
    assert bench.returncode == int(not all(v["passed"] for v in results["verdicts"].values()))
    (folder,) = (path for path in (tmp_path / "runs").iterdir() if path.is_dir())
    assert "stopped. Go on with" in folder.with_suffix(".log").read_text()


def test_what_was_seen_can_be_judged_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    looks = [look._replace(steps=GUIDE * (look.steps > 2000))._asdict() for look in FLAT]
    verdicts = {"memory, MiB": {"passed": False}, "ended as asked": {"passed": True, "how": "so"}}
    stretches = [each._asdict() for each in STEADY]
    results = {"verdicts": verdicts, "looks": looks, "stretches": stretches}
    out = tmp_path / "long_run.json"
    out.write_text(json.dumps({"settings": {"capacity": 200}, "results": results, "provenance": 1}))
    monkeypatch.setattr(sys, "argv", ["long_run", "--again", "--out", str(out)])
    assert main() == 0
    assert "pass  ended as asked" in capsys.readouterr().out
    judged = json.loads(out.read_text())
    assert judged["results"]["verdicts"]["memory, MiB"]["passed"]
    assert (judged["results"]["looks"], judged["provenance"]) == (looks, 1)
    assert imread(out.with_suffix(".png")).std() > 0


def _reports(folder: Path, count: int) -> bool:
    files = list((folder / "runs").glob(f"*/{TIMINGS}"))
    return bool(files) and len(files[0].read_text().splitlines()) >= count


@pytest.mark.parametrize("option", ["--minutes=0", "--every=-1"])
def test_no_time_at_all_is_refused(
    option: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["long_run", option])
    assert main() == 2
    assert capsys.readouterr().out.strip() == "--minutes and --every must be more than 0"
