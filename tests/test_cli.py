import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import her_robotics
from her_robotics.checkpoint import CHECKPOINT
from her_robotics.cli.making import env_maker
from her_robotics.config import Config, EnvConfig
from her_robotics.errors import UserError
from her_robotics.run_folder import read_config
from her_robotics.saved_policy import CARD, WEIGHTS
from her_robotics.shipped import load_task_config, shipped_tasks
from her_robotics.statistics import wilson_interval

from .runs import DEBUG_FILES, command, debug_run, names_in, offline_run, the_one_line

PLAIN = ("--video.enabled", "false", "--wandb", "disabled")


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ("fly", "'fly' train eval record plot"),
        ("--fly", "'--fly' train eval record plot"),
        ("train fetch_fly", "'fetch_fly' fetch_reach fetch_push debug"),
        ("train debug --agent.gama 0.9", "--agent.gama --agent.gamma"),
        ("train debug --fly", "--fly"),
        ("train debug more", "more"),
        ("train debug --replay.strategy past", "--replay.strategy 'past' final future episode"),
        ("train debug --wandb perhaps", "--wandb 'perhaps' online offline disabled"),
        ("train debug --video.enabled perhaps", "--video.enabled 'perhaps' True False"),
        ("train debug --agent.gamma high", "--agent.gamma 'high' float"),
        ("train debug --seed 1.5", "--seed '1.5' int"),
        ("train debug --agent.gamma", "--agent.gamma"),
        ("train debug --agent.gamma 1.0", "agent.gamma 1.0 [0, 1)"),
        ("train debug --agent.gamma nan", "agent.gamma nan [0, 1)"),
        ("train debug --seed -1", "seed -1 [0, 4294967295]"),
        (f"train debug --seed {2**64}", f"seed {2**64}"),
        ("train debug --train.batch-size 1", "train.batch_size 1 at least 2"),
        ("train debug --agent.hidden 16 0", "agent.hidden 0 at least 1"),
        ("train debug --video.size 9999", "video.size 9999 [64, 1024]"),
        ("train debug --exploration.guide.stretch 0.5", "exploration.guide.stretch 0.5 at least 1"),
        ("train debug --exploration.guide.name dog", "--exploration.guide.name 'dog' mover relay"),
        ("train debug --env.goal object", "'object' gripper joints"),
        ("train debug --env.task fetch_push", "train fetch_push"),
        ("train debug --replay.capacity 50", "replay.capacity 50 env.num_envs"),
        ("train debug --exploration.guide.name relay", "exploration.guide.name relay mover none"),
        ("train debug --out", "--out"),
        ("train debug --out=", "--out"),
        ("train --out --seed 1", "--out"),
        ("train --resume", "--resume"),
        ("train --resume nothing", "nothing config.yaml"),
        ("train --resume nothing --seed 1", "nothing config.yaml"),
        ("train debug --resume nothing", "--resume"),
        ("train --resume nothing --out other", "--resume"),
        ("eval", "RUN"),
        ("eval nothing", "nothing neither run policy that ships"),
        ("eval nothing --episodes 0", "--episodes 0 at least 1"),
        ("eval nothing --episodes many", "--episodes 'many' int"),
        ("record nothing", "nothing neither run policy that ships"),
        ("play nothing", "nothing neither run policy that ships"),
        ("record nothing --size 0", "--size 0 at least 1"),
        ("plot", "run"),
        ("plot nothing", "nothing config.yaml"),
    ],
)
def test_a_mistake_is_told_in_one_line_that_names_it_and_what_is_allowed(
    arguments: str, named: str, nowhere: Path
) -> None:
    message = the_one_line(command(*arguments.split()))
    assert message.startswith("her-robotics: error: ")
    for part in named.split(" "):
        assert part in message
    assert not re.search(r"[│╭─]|---", message), "no frames"
    assert names_in(nowhere) == set()


@pytest.mark.parametrize("name", ["eval", "record"])
def test_a_seed_below_zero_is_told_in_one_line(name: str) -> None:
    message = the_one_line(command(name, debug_run().folder, "--seed", "-1"))
    assert "seed -1" in message
    assert names_in(debug_run().folder) == DEBUG_FILES


def test_without_a_command_the_usage_is_shown() -> None:
    bare, asked = command(), command("--help")
    assert (bare.code, asked.code) == (2, 0)
    assert bare.out == asked.out
    for word in (
        "train",
        "eval",
        "play",
        "record",
        "plot",
        "goals",
        "encode",
        "--resume",
        *shipped_tasks(),
    ):
        assert word in asked.out


def fields(kind: Any, prefix: str = "") -> Iterator[str]:
    """Dotted names of all settings."""
    for field in dataclasses.fields(kind):
        if dataclasses.is_dataclass(inner := getattr(kind(), field.name)):
            yield from fields(type(inner), f"{prefix}{field.name}.")
        else:
            yield prefix + field.name


def test_the_help_of_train_names_every_setting_and_task() -> None:
    outcome = command("train", "--help")
    assert outcome.code == 0
    shown = outcome.out.replace("-", "_")
    names = list(fields(Config))
    assert "exploration.guide.share" in names
    assert [name for name in names if f"__{name}" not in shown] == []
    for word in (*shipped_tasks(), "debug", "--out", "--resume"):
        assert word in outcome.out


def test_the_help_of_train_shows_the_values_of_the_task() -> None:
    for task in ("fetch_reach", "fetch_push"):
        steps = load_task_config(task).train.steps
        assert f"(default: {steps})" in " ".join(command("train", task, "--help").out.split())


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("eval", ("RUN", "--episodes", "--seed", "--json")),
        ("record", ("RUN", "--out", "--episodes", "--size", "--seed")),
        ("plot", ("RUN", "--out")),
        ("sweep", ("NAME|FILE", "--trials", "--out", "--seed", "--json")),
    ],
)
def test_every_command_has_help(name: str, options: tuple[str, ...]) -> None:
    outcome = command(name, "--help")
    assert outcome.code == 0
    assert [option for option in options if option not in outcome.out] == []


@pytest.mark.parametrize("argument", ["--version", "--help"])
def test_the_module_is_the_command(argument: str) -> None:
    clone = Path(her_robotics.__file__).parent.parent
    result = subprocess.run(
        [sys.executable, "-m", "her_robotics", argument], capture_output=True, text=True, cwd=clone
    )
    assert result.returncode == 0
    assert result.stdout == command(argument).out != ""


def test_a_debug_run_leaves_these_files_and_no_others() -> None:
    assert names_in(debug_run().folder) == DEBUG_FILES
    assert names_in(offline_run().folder) == DEBUG_FILES | {"wandb"}


def test_the_last_lines_say_how_good_and_where_everything_is() -> None:
    folder, outcome = debug_run()
    *_, success, policy, curve, watch, again = outcome.out.splitlines()
    card = json.loads((folder / CARD).read_text())["test"]
    low, high = card["success_low"], card["success_high"]
    assert success.startswith(f"success {card['success_rate']:.2f} [{low:.2f}, {high:.2f}]")
    assert str(folder / WEIGHTS) in policy
    assert str(folder / "learning_curve.png") in curve
    assert str(folder / "policy.mp4") in watch
    assert again.endswith(f"her-robotics eval {folder}")
    assert len(outcome.err.splitlines()) == 3, "a line for every test"


def test_settings_are_taken_in_every_form(nowhere: Path) -> None:
    outcome = command(
        "train",
        "debug",
        "--out=here",
        *PLAIN,
        "--agent.gamma=0.9",
        "--train.steps",
        "100",
        "--train.batch_size",
        "16",
        "--agent.hidden",
        "8",
        "9",
        "--agent.clip-target=false",
        "--env.goal",
        "joints",
        "--seed",
        "5",
    )
    assert outcome.code == 0, outcome.err
    config = read_config(nowhere / "here")
    assert (config.agent.gamma, config.agent.hidden, config.agent.clip_target) == (
        0.9,
        (8, 9),
        False,
    )
    assert (config.env.goal, config.seed, config.train.batch_size) == ("joints", 5, 16)
    assert not config.video.enabled
    assert config.replay == load_task_config("debug").replay, "what is not named stays"
    assert names_in(nowhere / "here") == DEBUG_FILES - {"policy.mp4"}
    assert "watch" not in outcome.out


def test_without_out_the_folder_is_named_by_task_time_and_seed(nowhere: Path) -> None:
    assert command("train", "debug", *PLAIN, "--train.steps", "100", "--seed", "3").code == 0
    (name,) = names_in(nowhere / "runs")
    assert re.fullmatch(r"fetch_reach-\d{8}-\d{6}-s3", name)


def test_eval_prints_one_json_object() -> None:
    arguments = ("eval", debug_run().folder, "--json", "--episodes", "7", "--seed", "3")
    outcome = command(*arguments)
    assert outcome.code == 0
    assert outcome.err == ""
    result = json.loads(outcome.out)
    assert len(outcome.out.splitlines()) == 1
    assert result["episodes"] == 7
    assert 0.0 <= result["success_rate"] <= result["success_any"] <= 1.0
    successes = round(7 * result["success_rate"])
    assert result["interval"] == list(wilson_interval(successes, 7))
    assert result["final_distance"] > 0.0
    assert (result["task"], result["seed"]) == ("fetch_reach", 3)
    assert command(*arguments).out == outcome.out
    assert json.loads(command(*arguments[:-1], "4").out) != result


def test_eval_on_the_seed_of_the_run_repeats_its_last_test() -> None:
    run = debug_run().folder
    result = json.loads(command("eval", run, "--json", "--episodes", "4", "--seed", "0").out)
    card = json.loads((run / CARD).read_text())["test"]
    assert {name: result[name] for name in card if name in result} == {
        name: value for name, value in card.items() if name in result
    }


def test_eval_says_the_same_to_a_person() -> None:
    run = debug_run().folder
    result = json.loads(command("eval", run, "--json", "--episodes", "5").out)
    (line,) = command("eval", run, "--episodes", "5").out.splitlines()
    assert f"success {result['success_rate']:.2f} [" in line
    assert f"final distance {result['final_distance']:.3f}" in line


def test_record_makes_a_film(tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    size = ("--episodes", "1", "--size", "65")
    outcome = command("record", debug_run().folder, "--out", film, *size)
    assert outcome.code == 0, outcome.err
    assert str(film) in outcome.out
    assert film.read_bytes()[4:8] == b"ftyp"
    assert names_in(tmp_path) == {"film.mp4"}
    assert names_in(debug_run().folder) == DEBUG_FILES


def test_plot_makes_a_picture_of_several_runs(nowhere: Path) -> None:
    outcome = command("plot", debug_run().folder, offline_run().folder)
    assert outcome.code == 0, outcome.err
    assert outcome.out == "learning_curve.png\n"
    assert (nowhere / "learning_curve.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["record", "plot"])
@pytest.mark.parametrize("path", ["missing/file.out", "folder", "."])
def test_a_file_that_cannot_be_written_is_told_in_one_line(
    name: str, path: str, nowhere: Path
) -> None:
    (nowhere / "folder").mkdir()
    size = ("--episodes", "1", "--size", "64") if name == "record" else ()
    outcome = command(name, debug_run().folder, "--out", path, *size)
    assert outcome.code in (1, 2)
    assert len(outcome.err.splitlines()) == 1, outcome.err
    assert names_in(nowhere) == {"folder"}


@pytest.mark.parametrize("name", [CHECKPOINT, WEIGHTS, CARD, "config.yaml"])
@pytest.mark.parametrize("damaged", [b"", b"\x80\x04junk", b"[1, 2"])
def test_a_damaged_file_is_refused_in_one_line(tmp_path: Path, name: str, damaged: bytes) -> None:
    run = tmp_path / "run"
    shutil.copytree(debug_run().folder, run)
    (run / name).write_bytes(damaged)
    resuming = name in (CHECKPOINT, "config.yaml")
    message = the_one_line(command(*(("train", "--resume", run) if resuming else ("eval", run))))
    assert name in message
    assert names_in(run) == DEBUG_FILES


def test_a_policy_for_other_sizes_than_its_task_has_is_refused(tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(debug_run().folder, run)
    card = json.loads((run / CARD).read_text())
    card["env"]["task"] = "fetch_push"
    (run / CARD).write_text(json.dumps(card))
    assert CARD in the_one_line(command("eval", run))
    card["env"]["task"] = "fetch_fly"
    (run / CARD).write_text(json.dumps(card))
    said = the_one_line(command("eval", run))
    assert "fetch_fly" in said
    assert "fetch_push" in said


def test_the_env_is_the_configured_one() -> None:
    make = env_maker(EnvConfig(task="fetch_push", goal="joints", reward="dense"))
    env = make(3)
    shown, _ = env.reset(seed=[1, 2, 3])
    assert shown["achieved_goal"].shape[1] > 3
    rewards = env.step(np.zeros((3, 4)))[1]
    distance = np.linalg.norm(shown["achieved_goal"] - shown["desired_goal"], axis=1)
    np.testing.assert_allclose(rewards, -distance, rtol=0.1)
    env.close()


def test_an_env_that_there_is_not_is_refused_by_its_name() -> None:
    with pytest.raises(UserError, match="nowhere:Fly-v0"):
        env_maker(EnvConfig(task="nowhere:Fly-v0"))(1)


@pytest.mark.parametrize("unread", ["stdout", "stderr"])
@pytest.mark.parametrize(
    "arguments", [("--help",), ("eval", "nothing"), ("doctor", "--only", "python", "scratch")]
)
def test_where_nobody_reads_any_more_a_command_ends_quietly_as_by_sigpipe(
    unread: str, arguments: tuple[str, ...]
) -> None:
    read, write = os.pipe()
    os.close(read)
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, unread: write}
    run = subprocess.run([sys.executable, "-m", "her_robotics", *arguments], **streams)
    os.close(write)
    said = run.stderr if unread == "stdout" else run.stdout
    if (unread == "stderr") == (arguments[0] == "eval"):
        assert (run.returncode, said) == (141, b"")
    else:
        assert run.returncode in (0, 2), "it has nothing to say there"
        assert said


def test_a_run_whose_last_lines_nobody_reads_is_whole(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    small = (
        "--env.bits",
        "4",
        "--agent.hidden",
        "8",
        "--train.steps",
        "32",
        "--eval.episodes",
        "2",
    )
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "her_robotics",
            "train",
            "bit_flip",
            "--out",
            folder,
            *small,
            *PLAIN,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    for begins in (b"bit_flip: training", b"replay takes", b"checkpoints write"):
        assert process.stdout.readline().startswith(begins)
    process.stdout.close()
    said = process.stderr.read()
    assert process.wait() == 141
    assert b"success" in said
    assert b"error" not in said.lower()
    assert names_in(folder) == DEBUG_FILES - {"policy.mp4"}
