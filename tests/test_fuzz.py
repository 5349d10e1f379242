"""Files of a run, as a stranger, a bad disk or an enemy may leave them: read, or refused in one line.

Each property tries a few hundred cases, the same ones every time. ``HER_FUZZ=10000 pytest
tests/test_fuzz.py`` tries as many, and others each time.
"""

import hashlib
import io
import json
import math
import os
import pickle
import resource
import shutil
import struct
import zipfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from her_robotics.checkpoint import CHECKPOINT, EPISODES, load_checkpoint
from her_robotics.config import Config
from her_robotics.errors import UserError
from her_robotics.learner import Learner
from her_robotics.plots import plot_runs, read_curve
from her_robotics.run_folder import CONFIG, METRICS, TIMINGS, read_config
from her_robotics.saved_policy import CARD, WEIGHTS, load_policy
from her_robotics.sealed import read_sealed
from her_robotics.strict import ConfigError, from_mapping, to_mapping, validate
from her_robotics.tracking import JsonLines, read_lines
from her_robotics.types import GoalObs

from .runs import command, debug_run, same, start, the_one_line

ASKED = os.environ.get("HER_FUZZ")
FUZZ = settings(
    max_examples=int(ASKED or 200),
    derandomize=ASKED is None,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
NASTY = (
    *("&a", "*a", "<<: *a", "&a [*a]", "!!python/object:os.system {}", "!!timestamp x", "!!bool x"),
    *(
        "!!int ''",
        "!!binary x",
        "!!set {a}",
        "!!omap [a: 1]",
        "? [a]",
        "0x" + "f" * 5000,
        "1" * 5000,
    ),
    *(".nan", ".inf", "-.inf", "1e999", "[" * 3000, "{a: " * 2000, "- " * 500, "\0", "\t", "\x85"),
    *("1:2:3", "2001-99-99", "~", "|", ">", "%YAML 9", "---", "...", "'", '"', "\ud7ff", "../../x"),
    *(
        "NaN",
        "Infinity",
        "-0",
        "1e400",
        '{"a":' * 3000,
        "null",
        "true",
        "[[1],[2]]",
        '"0.5"',
        "10e11",
    ),
    *("/etc/passwd", "~/.netrc", "os:system", "-1", "0", "18446744073709551616", "task: a\nb"),
)
"""What parsers and readers stumble over."""
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(
        [10**18, 10**30, 10**400, 2**63, -1, 0, math.inf, math.nan, "", "../x", "a\nb"]
    )
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
LARGEST_PROCESS = 12 * 2**30
"""Bytes of address space: several times what these tests need."""
Change = Callable[[bytes], bytes]


@st.composite
def changes(draw: st.DrawFn) -> Change:
    """Ways to spoil bytes: cut, flip, insert, repeat, drop, or replace all."""
    kind = draw(st.sampled_from(["cut", "flip", "insert", "repeat", "drop", "other", "line"]))
    where, long = draw(st.floats(0, 1, exclude_max=True)), draw(st.integers(1, 40))
    nasty = st.sampled_from(NASTY).map(str.encode) | st.binary(max_size=20)
    piece = draw(nasty)

    def change(whole: bytes) -> bytes:
        at = int(where * len(whole))
        flipped = bytes(byte ^ (1 << long % 8) for byte in whole[at : at + 1])
        lines = whole.split(b"\n")
        row = int(where * len(lines))
        head = lines[row].split(b":")[0]
        return {
            "cut": whole[:at],
            "flip": whole[:at] + flipped + whole[at + 1 :],
            "insert": whole[:at] + piece + whole[at:],
            "repeat": whole[: at + long] + whole[at:],
            "drop": whole[:at] + whole[at + long :],
            "other": piece,
            "line": b"\n".join([*lines[:row], head + b": " + piece, *lines[row + 1 :]]),
        }[kind]

    return change


@cache
def original(name: str) -> bytes:
    """A file of a finished run."""
    return (debug_run().folder / name).read_bytes()


@pytest.fixture(autouse=True, scope="module")
def _bounded_memory() -> Iterator[None]:
    """What takes all memory is to fail here, and not to take the machine with it."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (LARGEST_PROCESS, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For files that are spoilt again and again."""
    return tmp_path_factory.mktemp("fuzz")


def lay(folder: Path, **files: bytes) -> None:
    """A finished run's small files, but for those given by their stem."""
    for name in (CONFIG, METRICS, TIMINGS, WEIGHTS, CARD):
        (folder / name).write_bytes(files.get(name.replace(".", "_"), original(name)))


def attempt(read: Callable[[], Any]) -> Any:
    """What is read, or None where it is refused in one printable line of bounded length."""
    try:
        return read()
    except UserError as error:
        (line,) = str(error).splitlines()
        assert len(line) < 2000
        return None


def points(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """The way to every part of a nested value."""
    yield path
    if isinstance(value, dict):
        items = list(value.items())
    else:
        items = list(enumerate(value)) if isinstance(value, (list, tuple)) else []
    for key, inner in items:
        yield from points(inner, (*path, key))


def replaced(value: Any, path: tuple, new: Any) -> Any:
    """A nested value with another part at ``path``."""
    if not path:
        return new
    inner = replaced(value[path[0]], path[1:], new)
    if isinstance(value, dict):
        return {**value, path[0]: inner}
    return type(value)(inner if i == path[0] else each for i, each in enumerate(value))


@FUZZ
@given(changed=st.lists(changes(), min_size=1, max_size=3))
def test_a_config_file_of_anything_is_valid_or_refused(folder: Path, changed: list[Change]) -> None:
    text = original(CONFIG)
    for change in changed:
        text = change(text)
    lay(folder, config_yaml=text)
    config = attempt(lambda: read_config(folder))
    assert config is None or validate(config) == from_mapping(Config, to_mapping(config))


@FUZZ
@given(data=st.data(), value=VALUES)
def test_a_setting_of_any_value_is_valid_or_refused(
    folder: Path, data: st.DataObject, value: Any
) -> None:
    settings_ = yaml.safe_load(original(CONFIG))
    path = data.draw(st.sampled_from(list(points(settings_))))
    try:
        text = yaml.safe_dump(replaced(settings_, path, value), sort_keys=False)
    except ValueError:  # whole numbers that Python does not spell out
        assume(False)
    lay(folder, config_yaml=text.encode())
    config = attempt(lambda: read_config(folder))
    assert config is None or validate(config) == from_mapping(Config, to_mapping(config))


@FUZZ
@given(
    changed=st.lists(changes(), min_size=1, max_size=3), name=st.sampled_from([METRICS, TIMINGS])
)
def test_figures_of_anything_are_read_or_refused_and_never_stop_a_resumed_run(
    folder: Path, changed: list[Change], name: str
) -> None:
    text = original(name)
    for change in changed:
        text = change(text)
    lay(folder, **{name.replace(".", "_"): text})
    curve = attempt(lambda: read_curve(folder))
    if curve is not None:
        assert np.isfinite(curve.steps).all()
        assert ((curve.success >= 0) & (curve.success <= 1)).all()
    JsonLines(folder, resume_at=200).log({"step": 300}, {"step": 300})
    assert read_lines(folder / name)[-1] == {"step": 300}


@FUZZ
@given(data=st.data(), value=VALUES, name=st.sampled_from([METRICS, TIMINGS]))
def test_a_figure_of_any_value_is_read_or_refused(
    folder: Path, data: st.DataObject, value: Any, name: str
) -> None:
    rows = [json.loads(line) for line in original(name).splitlines()]
    drawn = ("step", "seconds", "test/success_rate", "test/success_low", "test/success_high")
    paths = [path for path in points(rows) if path and path[-1] in drawn]
    path = data.draw(st.sampled_from(paths))
    lines = replaced(rows, path, value)
    lay(folder, **{name.replace(".", "_"): "\n".join(map(json.dumps, lines)).encode()})
    curve = attempt(lambda: read_curve(folder))
    assert curve is None or np.isfinite(curve.steps).all()


@settings(FUZZ, max_examples=max(10, FUZZ.max_examples // 100))
@given(data=st.data(), value=VALUES)
def test_figures_that_are_read_are_drawn(folder: Path, data: st.DataObject, value: Any) -> None:
    rows = [json.loads(line) for line in original(METRICS).splitlines()]
    path = data.draw(st.sampled_from([path for path in points(rows) if len(path) == 2]))
    lines = "\n".join(map(json.dumps, replaced(rows, path, value))).encode()
    lay(folder, metrics_jsonl=lines)
    attempt(lambda: plot_runs([folder, debug_run().folder], folder / "curve.png"))


def use(saved: Any) -> None:
    """What eval does first with a policy: it acts."""
    shape = saved.shape
    if max(shape.observation, shape.goal, shape.action) > 10_000:
        return
    sizes = (shape.observation, shape.goal, shape.goal)
    actions = saved.policy.act(GoalObs(*(np.zeros((2, size)) for size in sizes)))
    assert actions.shape == (2, shape.action)


def sealed(card: dict[str, Any], weights: bytes) -> bytes:
    """A card that vouches for the weights, as an enemy would write it."""
    return json.dumps({**card, "sha256": hashlib.sha256(weights).hexdigest()}).encode()


@FUZZ
@given(changed=st.lists(changes(), min_size=1, max_size=2), vouched=st.booleans())
def test_weights_of_anything_are_a_policy_or_refused_also_where_the_card_vouches_for_them(
    folder: Path, changed: list[Change], vouched: bool
) -> None:
    weights, card = original(WEIGHTS), original(CARD)
    for change in changed:
        weights = change(weights)
    card = sealed(json.loads(card), weights) if vouched else card
    lay(folder, policy_safetensors=weights, policy_json=card)
    saved = attempt(lambda: load_policy(folder))
    if saved is not None:
        use(saved)


@FUZZ
@given(data=st.data(), value=VALUES)
def test_a_header_with_any_value_is_a_policys_or_refused(
    folder: Path, data: st.DataObject, value: Any
) -> None:
    whole = original(WEIGHTS)
    (size,) = struct.unpack("<Q", whole[:8])
    header = json.loads(whole[8 : 8 + size])
    path = data.draw(st.sampled_from(list(points(header))))
    spoilt = json.dumps(replaced(header, path, value)).encode()
    weights = struct.pack("<Q", len(spoilt)) + spoilt + whole[8 + size :]
    lay(folder, policy_safetensors=weights, policy_json=sealed(json.loads(original(CARD)), weights))
    saved = attempt(lambda: load_policy(folder))
    if saved is not None:
        use(saved)


@FUZZ
@given(changed=st.lists(changes(), min_size=1, max_size=3))
def test_a_card_of_anything_describes_a_policy_or_is_refused(
    folder: Path, changed: list[Change]
) -> None:
    text = original(CARD)
    for change in changed:
        text = change(text)
    lay(folder, policy_json=text)
    saved = attempt(lambda: load_policy(folder))
    if saved is not None:
        use(saved)


@FUZZ
@given(data=st.data(), value=VALUES)
def test_a_card_with_any_value_describes_a_policy_or_is_refused(
    folder: Path, data: st.DataObject, value: Any
) -> None:
    card = json.loads(original(CARD))
    path = data.draw(st.sampled_from(list(points(card))))
    lay(folder, policy_json=json.dumps(replaced(card, path, value)).encode())
    saved = attempt(lambda: load_policy(folder))
    if saved is not None:
        use(saved)


def reseal(body: bytes) -> bytes:
    """A checkpoint's content with the checksum that belongs to it."""
    return body + hashlib.sha256(body).digest()


@cache
def learner() -> Learner:
    """A learner of the finished run's settings, loaded again and again."""
    return start(read_config(debug_run().folder))


@pytest.fixture(scope="module")
def resumable(folder: Path) -> Path:
    """A folder with the episodes of a finished run, for checkpoints that need them."""
    shutil.copytree(debug_run().folder / EPISODES, folder / EPISODES)
    return folder


def resume(folder: Path) -> None:
    """What resuming does first: load all, then an update and the averages of the next test."""
    state = load_checkpoint(folder)
    mine = learner()
    mine.load_state_dict(state)
    if len(mine.replay):
        mine.agent.update(mine.replay.sample(8))
    mine.averages.take()


@FUZZ
@given(changed=st.lists(changes(), min_size=1, max_size=2), vouched=st.booleans())
def test_a_checkpoint_of_anything_is_resumed_or_refused_also_where_its_checksum_is_right(
    resumable: Path, changed: list[Change], vouched: bool
) -> None:
    content = original(CHECKPOINT)
    body = content[:-32] if vouched else content
    for change in changed:
        body = change(body)
    (resumable / CHECKPOINT).write_bytes(reseal(body) if vouched else body)
    attempt(lambda: resume(resumable))


@cache
def states() -> list[dict[str, Any]]:
    """A checkpoint as it lies on the disk, where the episodes are but named; and with them in it."""
    return [read_sealed(debug_run().folder / CHECKPOINT), load_checkpoint(debug_run().folder)]


TENSORS = st.sampled_from(
    [
        torch.zeros(0),
        torch.zeros(3),
        torch.tensor(math.nan),
        torch.full((2, 2), math.inf),
        torch.zeros(1).expand(10**9, 1000),
        torch.zeros(2, dtype=torch.int64),
    ]
)


@FUZZ
@given(data=st.data(), value=VALUES | TENSORS)
def test_a_checkpoint_with_any_value_is_resumed_or_refused(
    resumable: Path, data: st.DataObject, value: Any
) -> None:
    state = data.draw(st.sampled_from(states()))
    path = data.draw(st.sampled_from(list(points(state))))
    file = io.BytesIO()
    torch.save(replaced(state, path, value), file)
    (resumable / CHECKPOINT).write_bytes(reseal(file.getvalue()))
    attempt(lambda: resume(resumable))


@FUZZ
@given(changed=st.lists(changes(), min_size=1, max_size=2))
def test_episodes_of_anything_are_those_of_the_checkpoint_or_refused(
    resumable: Path, changed: list[Change]
) -> None:
    (resumable / CHECKPOINT).write_bytes(original(CHECKPOINT))
    (name,) = (path.relative_to(resumable) for path in resumable.rglob("*.episodes"))
    content = original(str(name))
    for change in changed:
        content = change(content)
    (resumable / name).write_bytes(content)
    read = attempt(lambda: load_checkpoint(resumable))
    (resumable / name).write_bytes(original(str(name)))
    assert read is None or same(read, load_checkpoint(resumable))


def test_a_tensor_that_claims_more_numbers_than_the_file_holds_is_refused(tmp_path: Path) -> None:
    lay(tmp_path)
    averages = {"sums": torch.zeros(1).expand(10**9, 1000), "counts": {}}
    file = io.BytesIO()
    torch.save({**states()[1], "averages": averages}, file)
    (tmp_path / CHECKPOINT).write_bytes(reseal(file.getvalue()))
    assert "claims" in the_one_line(command("train", "--resume", tmp_path))


def test_a_few_references_that_stand_for_gigabytes_are_refused(tmp_path: Path) -> None:
    laughs = "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12))
    (tmp_path / CONFIG).write_text(f"a0: &a0 [ha]\n{laughs}seed: *a11\n")
    with pytest.raises(ConfigError, match="references"):
        read_config(tmp_path)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("seed: 0x" + "f" * 5000, "seed"),
        ("? 0x" + "f" * 5000 + "\n: 1", "unknown setting"),
        ("train: {steps: 0x" + "f" * 500 + "}", "train.steps"),
        ("wandb_project: " + "x" * 100_000, "wandb_project"),
        ("env: {task: ../../../etc/passwd$x$}", "env.task"),
        ("env: {num_envs: 1000000000}", "env.num_envs"),
        ("agent: {hidden: [1000000000]}", "agent.hidden"),
        ("agent: {hidden: [" + "1, " * 5000 + "1]}", "agent.hidden"),
        ("seed: !!timestamp x", "YAML"),
        ("x" * 2**19, "larger"),
    ],
)
def test_a_config_that_asks_too_much_is_refused_by_every_command_that_reads_it(
    tmp_path: Path, text: str, named: str
) -> None:
    (tmp_path / CONFIG).write_text(text)
    for arguments in (
        ("train", "--resume", tmp_path),
        ("plot", tmp_path, "--out", tmp_path / "c.png"),
    ):
        line = the_one_line(command(*arguments))
        assert named in line
        assert len(line) < 1000


class Intruder:
    """Unpickled, this makes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("name", [WEIGHTS, CARD, CHECKPOINT, CONFIG, METRICS])
@pytest.mark.parametrize("kind", ["code", "endless", "folder"])
def test_code_endless_files_and_folders_in_the_place_of_a_file_are_refused_by_every_command(
    tmp_path: Path, name: str, kind: str
) -> None:
    lay(tmp_path)
    (tmp_path / CHECKPOINT).write_bytes(original(CHECKPOINT))
    (tmp_path / name).unlink()
    mark = tmp_path / "mark"
    if kind == "code":
        (tmp_path / name).write_bytes(pickle.dumps(Intruder(mark)))
    elif kind == "folder":
        (tmp_path / name).mkdir()
    else:
        (tmp_path / name).symlink_to("/dev/zero")
    readers = {
        WEIGHTS: ["eval", "play", "record"],
        CARD: ["eval", "play", "record"],
        CHECKPOINT: ["train --resume"],
        CONFIG: ["train --resume", "plot"],
        METRICS: ["plot"],
    }
    for reader in readers[name]:
        assert name in the_one_line(command(*reader.split(), tmp_path))
    assert not mark.exists()


def test_weights_that_are_not_finite_or_of_another_type_are_refused(tmp_path: Path) -> None:
    for change in (lambda value: value.double() * math.nan, lambda value: value.half()):
        tensors = safetensors.torch.load(original(WEIGHTS))
        name = next(name for name, value in tensors.items() if value.dtype == torch.float32)
        weights = safetensors.torch.save({**tensors, name: change(tensors[name])})
        lay(
            tmp_path,
            policy_safetensors=weights,
            policy_json=sealed(json.loads(original(CARD)), weights),
        )
        assert name in the_one_line(command("eval", tmp_path))


def test_an_archive_that_unpacks_to_gigabytes_is_refused(tmp_path: Path) -> None:
    file = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(original(CHECKPOINT)[:-32])) as ours,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as theirs,
    ):
        for part in ours.infolist():
            theirs.writestr(part.filename, ours.read(part))
        theirs.writestr("archive/data/999", bytes(10**8))
    lay(tmp_path)
    (tmp_path / CHECKPOINT).write_bytes(reseal(file.getvalue()))
    assert "compressed" in the_one_line(command("train", "--resume", tmp_path))


def test_a_name_that_leads_out_of_the_run_is_not_followed_when_it_is_resumed(
    tmp_path: Path,
) -> None:
    run, other = tmp_path / "run", tmp_path / "precious"
    run.mkdir()
    other.write_text("mine")
    (run / METRICS).symlink_to(other)
    JsonLines(run, resume_at=0).log({"step": 1}, {"step": 1})
    assert other.read_text() == "mine"
    assert read_lines(run / METRICS) == [{"step": 1}]
