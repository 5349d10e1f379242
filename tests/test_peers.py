"""Stable-Baselines3 peers: a real run that stops, goes on and is put beside ours."""

import itertools
import json
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sb3_contrib")

from benchmarks import peer_model, peer_run, peers
from benchmarks.peer_table import cross, format_table
from her_robotics.config import EvalConfig

TINY = {
    **peers.ZOO,
    "algorithm": "ddpg",
    "noise": 0.2,
    "normalize": True,
    "buffer_size": 2000,
    "batch_size": 8,
    "policy_kwargs": {"net_arch": [8]},
}
STEPS = 300


def run(monkeypatch: pytest.MonkeyPatch, folder: Path, *options: str) -> int:
    """The command line, with results and runs in ``folder``."""
    where = ["--out", str(folder / "peers.json"), "--runs", str(folder / "runs")]
    monkeypatch.setattr(sys, "argv", ["peers", *options, *where])
    return peers.main()


def result(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "peers.json").read_text())


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """A peer that learns nothing, fast, and the options of its run."""
    monkeypatch.setitem(peers.PEERS, "tiny", TINY)
    # A clock of its own makes the budget one of steps: each episode takes a second.
    for clock in ("perf_counter", "process_time"):
        ticks = itertools.count()
        monkeypatch.setattr(peer_run, clock, lambda ticks=ticks: float(next(ticks)))
    tests = EvalConfig(episodes=40, num_envs=40)
    monkeypatch.setattr(peer_run, "EvalConfig", lambda: tests)
    return ("fetch_push", "--peer", "tiny", "--every", "120")


def hours(steps: int) -> tuple[str, str]:
    """A budget of whole episodes, by the clock of ``tiny``."""
    return "--hours", str(steps / 50 / 3600)


def test_a_run_publishes_its_curve_and_goes_on_to_a_larger_budget(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny: tuple[str, ...]
) -> None:
    assert run(monkeypatch, tmp_path, *tiny, *hours(STEPS)) == 0
    first = result(tmp_path)
    seed = first["results"]["seeds"]["0"]
    # Tests fall after whole episodes; the last one is when the budget is spent.
    assert [point["step"] for point in seed["curve"]] == [150, 300]
    assert [point["seconds"] for point in seed["curve"]] == [3.0, 6.0]
    for point in seed["curve"]:
        assert 0 <= point["low"] <= point["success"] <= point["high"] <= 1
    assert (seed["steps"], seed["seconds"]) == (STEPS, 6.0)
    assert seed["steps_to_target"] is None
    assert seed["seconds_to_target"] is None
    assert first["results"]["peer"]["batch_size"] == TINY["batch_size"]
    assert first["results"]["peer"]["policy_kwargs"]["net_arch"] == [8]
    assert {"stable-baselines3", "sb3-contrib", "torch"} <= first["provenance"]["versions"].keys()

    assert run(monkeypatch, tmp_path, *tiny, *hours(450)) == 0
    longer = result(tmp_path)["results"]["seeds"]["0"]
    assert longer["curve"][:2] == seed["curve"]
    assert [point["step"] for point in longer["curve"]] == [150, 300, 450]
    assert (longer["steps"], longer["seconds"]) == (450, 9.0)
    assert len(longer["loads"]) == 2


def test_ctrl_c_keeps_what_was_done(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny: tuple[str, ...]
) -> None:
    test, played = peer_run.evaluate, []

    def interrupted(*args: Any) -> Any:
        played.append(args)
        signal.raise_signal(signal.SIGINT)
        return test(*args)

    with monkeypatch.context() as during:
        during.setattr(peer_run, "evaluate", interrupted)
        assert run(monkeypatch, tmp_path, *tiny, *hours(STEPS)) == 130
    assert len(played) == 1
    assert not (tmp_path / "peers.json").exists()
    assert run(monkeypatch, tmp_path, *tiny, *hours(STEPS)) == 0
    assert [point["step"] for point in result(tmp_path)["results"]["seeds"]["0"]["curve"]] == [
        150,
        300,
    ]


def test_a_run_ends_at_the_target(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny: tuple[str, ...]
) -> None:
    """Some goals lie where the block stands already, so a target this low is met at once."""
    options = (*tiny, *hours(10 * STEPS), "--target", "0.01")
    assert run(monkeypatch, tmp_path, *options) == 0
    seed = result(tmp_path)["results"]["seeds"]["0"]
    assert seed["steps_to_target"] == seed["steps"] == 150
    assert seed["seconds_to_target"] == seed["seconds"] == 3.0


def test_the_replay_comes_back_as_it_was(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny: tuple[str, ...]
) -> None:
    where = peers.machine()

    def peer() -> peer_run.PeerRun:
        return peer_run.PeerRun(
            "HerRobotics/FetchReach-v1", {**TINY, "algorithm": "tqc"}, 0, tmp_path, where
        )

    limits = peer_run.Limits(seconds=4.0, target=1.1, every=1000, checkpoint_seconds=1e9)
    run, stop = peer(), lambda: False
    run.train(limits, stop, "tiny")
    again = peer()
    before, after = peer_model.replay(run.model), peer_model.replay(again.model)
    assert before.size() == after.size() == 200
    assert (before._current_ep_start == after._current_ep_start).all()
    for name, ring in peer_model.rings(before).items():
        assert (ring == peer_model.rings(after)[name]).all(), name
    for one, other in zip(
        run.model.policy.parameters(), again.model.policy.parameters(), strict=True
    ):
        assert (one == other).all()
    moments = [peer.model.get_vec_normalize_env().obs_rms["observation"] for peer in (run, again)]
    assert moments[0].count == moments[1].count > 200
    assert (moments[0].mean == moments[1].mean).all()
    run.close()
    again.close()


def test_another_peer_is_not_gone_on_with(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    tiny: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(monkeypatch, tmp_path, *tiny, *hours(50)) == 0
    monkeypatch.setitem(peers.PEERS, "tiny", {**TINY, "gamma": 0.5})
    capsys.readouterr()
    assert run(monkeypatch, tmp_path, *tiny, *hours(100)) == 2
    assert "settings" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["fetch_push", "--peer", "sb4"], "sb3-tqc-cpu"),
        (["fetch_pull"], "fetch_push"),
        ([], "fetch_push"),
        (["fetch_push", "--hours", "0"], "--hours"),
        (["fetch_push", "--hours", "nan"], "--hours"),
        (["fetch_push", "--every", "0"], "--every"),
        (["fetch_push", "--target", "95"], "--target"),
        (["fetch_push", "--seeds", "1", "1"], "--seeds"),
        (["fetch_push", "--torch-threads", "-1"], "--torch-threads"),
        (["fetch_push", "--checkpoint-minutes", "-1"], "--checkpoint-minutes"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    named: str,
) -> None:
    assert run(monkeypatch, tmp_path, *options) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert named in error
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", peers.PEERS)
def test_every_peer_can_be_made(name: str) -> None:
    settings = {**peers.PEERS[name], "buffer_size": 100}
    env = peer_model.make_env("HerRobotics/FetchReach-v1", settings)
    model: Any = peer_model.new_model(settings, env, seed=0)
    assert model.policy.net_arch == settings["policy_kwargs"]["net_arch"]
    assert (model.action_noise is not None) == ("noise" in settings)
    assert (model.get_vec_normalize_env() is not None) == ("normalize" in settings)
    assert peers.PEERS[name]["policy_kwargs"].keys() == {"net_arch"}, "the table was added to"
    env.close()


def curve(*successes: float) -> dict[str, Any]:
    points = enumerate(successes, start=1)
    return {"curve": [{"step": 100 * i, "seconds": 10.0 * i, "success": s} for i, s in points]}


def test_a_median_needs_more_than_half_of_the_seeds() -> None:
    there, not_there = curve(0.2, 1.0), curve(0.2, 0.3, 0.4)
    assert cross([there, there, not_there], 0.95)[:2] == (200, 20.0)
    assert cross([there, not_there, not_there], 0.95) == (None, None, 30.0, 1)


def write(
    path: Path, benchmark: str, settings: dict[str, Any], *seeds: dict[str, Any], cpu: str = "CPU"
) -> None:
    machine = {"cpu": cpu, "cores": 2, "load": 0.1}
    rows = {str(seed): row for seed, row in enumerate(seeds)}
    content = {
        "benchmark": benchmark,
        "settings": {"task": "fetch_push", **settings},
        "results": {"seeds": rows},
        "provenance": {"machine": machine},
    }
    path.write_text(json.dumps(content))


def test_the_table_says_who_got_there_and_who_did_not(tmp_path: Path) -> None:
    ours = {"variant": "default", "options": "", "workers": 2}
    write(tmp_path / "learning-fetch_push-default.json", "learning", ours, curve(0.1, 0.96))
    joints = {"variant": "joints", "options": "--env.goal joints", "workers": 1}
    write(tmp_path / "learning-fetch_push-joints.json", "learning", joints, curve(1.0))
    write(tmp_path / "peers-a.json", "peers", {"peer": "slow"}, curve(0, 0, 0, 0, 0.97))
    write(
        tmp_path / "peers-b.json", "peers", {"peer": "never"}, {**curve(0, 0.5, 0.4), "loads": [3]}
    )
    lines = [line for line in format_table(tmp_path, 0.95).splitlines() if "fetch_push |" in line]
    assert [line.split(" | ")[1:6] for line in lines] == [
        ["ours, default", "200", "20.0", "1.00", "1 of 1"],
        ["slow", "500", "50.0", "2.50", "1 of 1"],
        ["never", "–", "not in 30 s: 0.40 at the end, 0.50 at best", "> 1.50", "0 of 1"],
    ]
    assert "load 0.1, 2 runs at once" in lines[0]
    assert "load 3" in lines[2]


def test_systems_are_held_against_ours_on_the_same_processor_alone(tmp_path: Path) -> None:
    default = {"variant": "default", "options": "", "workers": 1}
    again = {**default, "variant": "again"}
    write(tmp_path / "learning-fetch_push-a.json", "learning", default, curve(0.96), cpu="fast")
    write(tmp_path / "learning-fetch_push-b.json", "learning", again, curve(0, 0.96), cpu="slow")
    for cpu in ("fast", "slow", "unknown"):
        write(tmp_path / f"peers-{cpu}.json", "peers", {"peer": cpu}, curve(0, 0, 0, 1.0), cpu=cpu)
    text = format_table(tmp_path, 0.95)
    ratios = [line.split(" | ")[4] for line in text.splitlines() if "fetch_push |" in line]
    assert ratios == ["1.00", "1.00", "4.00", "2.00", "–"]
    assert "ours, default on fetch_push; ours, again on fetch_push, on the same processor" in text


def test_the_table_needs_results(tmp_path: Path) -> None:
    assert "no results" in format_table(tmp_path, 0.95)
