import errno
import platform
import re
import shutil
import subprocess
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from her_robotics import files
from her_robotics.checkpoint import CHECKPOINT
from her_robotics.config import Config
from her_robotics.errors import UserError
from her_robotics.run_folder import (
    CONFIG,
    create,
    default_folder,
    git_commit,
    provenance,
    read_config,
    versions,
)
from her_robotics.shipped import load_task_config, shipped_tasks
from her_robotics.strict import ConfigError, from_mapping, merge

from .runs import command, debug_run, names_in, the_one_line, tiny

CLONE = Path(__file__).parent.parent
SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "seed": st.integers(0, 2**31),
        "wandb": st.sampled_from([None, "offline", "disabled"]),
        "wandb_project": st.text(max_size=10).filter(lambda text: text.isprintable()),
        "agent": st.fixed_dictionaries(
            {
                "gamma": st.floats(0.0, 1.0, exclude_max=True),
                "hidden": st.lists(st.integers(1, 1000), min_size=1, max_size=4),
                "batch_norm": st.booleans(),
            }
        ),
        "exploration": st.fixed_dictionaries(
            {
                "guide": st.fixed_dictionaries(
                    {
                        "name": st.sampled_from(["none", "mover", "relay"]),
                        "share": st.floats(0.0, 1.0),
                    }
                )
            }
        ),
        "train": st.fixed_dictionaries({"checkpoint_seconds": st.floats(0.0, 1e9)}),
    },
)


@settings(deadline=None, max_examples=50)
@given(values=SETTINGS)
@example(values={"wandb_project": "0E0"})  # a number, if it were not in quotes
def test_a_configuration_is_read_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, Any]
) -> None:
    folder, config = tmp_path_factory.mktemp("runs") / "run", from_mapping(Config, values)
    create(folder, config)
    assert read_config(folder) == config


@pytest.mark.parametrize("task", [*shipped_tasks(), "debug"])
def test_every_shipped_configuration_is_read_back_as_it_was(tmp_path: Path, task: str) -> None:
    config = load_task_config(task)
    create(tmp_path / "run", config)
    assert read_config(tmp_path / "run") == config


def test_the_folder_says_what_a_result_depends_on(tmp_path: Path) -> None:
    create(tmp_path / "run", tiny())
    written = yaml.safe_load((tmp_path / "run" / CONFIG).read_text())["provenance"]
    assert written == provenance()
    assert written["python"] == platform.python_version()
    for package in ("torch", "mujoco", "gymnasium", "numpy", "wandb"):
        assert written["versions"][package] == metadata.version(package)


@pytest.mark.skipif(not (CLONE / ".git").exists(), reason="this is not a clone")
def test_the_commit_is_that_of_the_clone() -> None:
    arguments = ["git", "-C", str(CLONE), "rev-parse", "HEAD"]
    head = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout.strip()
    found = re.fullmatch(r"(?:.*-g)?([0-9a-f]{12,})(-dirty)?", git_commit())
    assert found
    assert head.startswith(found[1])


def test_the_command_that_made_a_run_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["anything", "train", "fetch_push", "--seed", "3"])
    assert provenance()["command"] == "her-robotics train fetch_push --seed 3"


def test_without_git_the_commit_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_commit() == "unknown"


def test_a_package_that_is_missing_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("her_robotics.run_folder.PACKAGES", ("numpy", "no-such-package"))
    assert versions() == {
        "numpy": metadata.version("numpy"),
        "no-such-package": "not installed",
    }


def test_the_default_name_tells_task_time_and_seed() -> None:
    before = datetime.now().replace(microsecond=0)
    folder = default_folder("fetch_push", 7)
    name = re.fullmatch(r"fetch_push-(\d{8}-\d{6})-s7", folder.name)
    assert name
    assert folder.parent == Path("runs")
    assert before <= datetime.strptime(name[1], "%Y%m%d-%H%M%S") <= datetime.now()


@pytest.mark.parametrize("resumable", [True, False])
def test_a_folder_that_holds_a_run_is_left_alone(tmp_path: Path, resumable: bool) -> None:
    create(tmp_path, tiny(seed=1))
    if resumable:
        (tmp_path / CHECKPOINT).touch()
    before = (tmp_path / CONFIG).read_bytes()
    with pytest.raises(UserError, match="--out") as caught:
        create(tmp_path, tiny(seed=2))
    assert (f"--resume {tmp_path}" in str(caught.value)) is resumable
    assert (tmp_path / CONFIG).read_bytes() == before


def test_the_command_refuses_a_folder_that_holds_a_run() -> None:
    run = debug_run().folder
    before = {path: path.stat().st_mtime_ns for path in run.iterdir()}
    message = the_one_line(command("train", "debug", "--out", run))
    assert f"--resume {run}" in message
    assert "--out" in message
    assert {path: path.stat().st_mtime_ns for path in run.iterdir()} == before


def test_a_folder_that_cannot_be_made_is_refused_before_training(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    folder = tmp_path / "file" / "deep" / "run"
    message = the_one_line(command("train", "debug", "--out", folder, "--video.enabled", "false"))
    assert str(folder) in message
    assert names_in(tmp_path) == {"file"}


def test_a_folder_that_cannot_be_written_is_refused_and_not_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(files.os, "fsync", refuse)
    folder = tmp_path / "deep" / "run"
    with pytest.raises(UserError, match="Read-only file system") as caught:
        create(folder, tiny())
    assert str(folder) in str(caught.value)
    assert names_in(tmp_path) == set()


def test_a_folder_without_a_run_is_told_from_one_with(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=CONFIG):
        read_config(tmp_path)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("agent: {gamma: 2.0}", "agent.gamma = 2.0"),
        ("agent: {gama: 0.9}", "agent.gama"),
        ("seed: [1", "not valid YAML"),
        ("- 1", "mapping"),
        ("provenance: {command: x}\nseed: -1", "seed = -1"),
    ],
)
def test_a_configuration_that_was_spoilt_is_refused_by_file_and_setting(
    tmp_path: Path, text: str, named: str
) -> None:
    (tmp_path / CONFIG).write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_config(tmp_path)
    message = str(caught.value)
    assert named in message
    assert str(tmp_path / CONFIG) in message
    assert len(message.splitlines()) == 1


IMAGES = {"env": {"task": "fetch_reach", "goal": "image"}}


@pytest.mark.parametrize("path", ["/etc", "/dev/zero", "../..", "~"])
@pytest.mark.parametrize(
    ("section", "name", "changes"),
    [
        ("train", "teacher", {}),
        ("env", "encoder", IMAGES),
        ("env", "observer", {"env": {"task": "fetch_reach", "observation": "image"}}),
    ],
)
def test_a_configuration_that_leads_out_of_the_run_to_what_is_not_ours_is_refused(
    section: str, name: str, changes: dict[str, Any], path: str, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    shutil.copy(debug_run().folder / CHECKPOINT, folder)
    told = yaml.safe_load((debug_run().folder / CONFIG).read_text())
    told = merge(merge(told, changes), {section: {name: path}})
    (folder / CONFIG).write_text(yaml.safe_dump(told))
    line = the_one_line(command("train", "--resume", folder))
    assert path in line
    assert names_in(folder) == {CHECKPOINT, CONFIG}
