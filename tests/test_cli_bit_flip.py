"""Bit flipping from the command line: train, be stopped, go on, test, film."""

import json
from pathlib import Path

from her_robotics.cli.making import env_maker
from her_robotics.run_folder import METRICS, VIDEO
from her_robotics.saved_policy import CARD, load_policy
from her_robotics.session import Session

from .runs import FLIP, command, signal_at, the_one_line, tiny, watched

SETTINGS = (
    "--env.bits 4 --env.num-envs 4 --train.steps 2400 --eval.every 800 --train.updates-per-step 0.5 "
    "--video.size 64 --video.episodes 2 --wandb disabled"
)
SMALL = ("train", "bit_flip", *SETTINGS.split(), "--out")


def test_a_run_leaves_a_policy_that_is_tested_and_filmed(tmp_path: Path) -> None:
    run = tmp_path / "run"
    outcome = command(*SMALL, run)
    assert outcome.code == 0, outcome.err
    card = json.loads((run / CARD).read_text())
    assert (card["shape"]["action"], card["shape"]["choices"]) == (1, 5)
    assert card["test"]["success_rate"] >= 0.95
    assert (run / VIDEO).stat().st_size > 1000
    tested = json.loads(command("eval", run, "--episodes", 50, "--json").out)
    assert (tested["task"], tested["episodes"]) == ("bit_flip", 50)
    assert tested["success_rate"] >= 0.9
    film = tmp_path / "ones.mp4"
    assert command("record", run, "--goal", 1, 1, 1, 1, "--size", 64, "--out", film).code == 0
    assert film.stat().st_size > 1000


def test_a_stopped_run_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    config = tiny(FLIP)
    whole, half = tmp_path / "whole", tmp_path / "half"
    assert Session(config, whole, env_maker(config.env)).run() == 0
    stopping = watched(env_maker(config.env), signal_at(127), 2)
    assert Session(config, half, stopping).run() == 130
    assert (half / METRICS).read_bytes() != (whole / METRICS).read_bytes()
    assert command("train", "--resume", half).code == 0
    assert (half / METRICS).read_bytes() == (whole / METRICS).read_bytes()
    same = [load_policy(folder).policy.state_dict() for folder in (whole, half)]
    assert all(value.equal(same[1][name]) for name, value in same[0].items())


def test_what_does_not_fit_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    message = the_one_line(command(*SMALL, tmp_path / "run", "--env.goal", "joints"))
    assert "env.goal" in message
    assert not (tmp_path / "run").exists()
    assert "ddpg does not fit bit_flip" in the_one_line(
        command(*SMALL, tmp_path / "run", "--agent.name", "ddpg")
    )
    assert not (tmp_path / "run").exists()
