import errno
import json
import os
import pickle
import shutil
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError

from her_robotics.agents import DDPG
from her_robotics.checkpoint import (
    CHECKPOINT,
    EPISODES,
    CheckpointError,
    load_checkpoint,
    save_checkpoint,
)
from her_robotics.config import AgentConfig, EnvConfig
from her_robotics.saved_policy import CARD, WEIGHTS, load_policy, save_policy
from her_robotics.types import EpisodeShape, GoalObs

from .helpers import random_episodes
from .runs import debug_run, disk_full_after, names_in, same

SHAPE = EpisodeShape(horizon=4, observation=7, goal=3, action=2)
AGENT = AgentConfig(hidden=(8, 8))
ENV = EnvConfig(task="fetch_push", num_envs=3)
STATE = {"progress": {"steps": 1}, "numbers": torch.arange(1000.0), "text": "ä"}
Load = Callable[[Path], object]


class Intruder:
    """Unpickled carelessly, this makes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple:
        return Path.touch, (self.mark,)


def trained_agent(config: AgentConfig = AGENT) -> DDPG:
    agent = DDPG(SHAPE, config)
    agent.observe(random_episodes(SHAPE, 20))
    return agent


def saved(folder: Path, config: AgentConfig = AGENT) -> DDPG:
    """Save a policy and return its agent."""
    agent = trained_agent(config)
    save_policy(folder, agent.policy.state_dict(), SHAPE, ENV, config, {"note": "kept"})
    return agent


def refused(load: Load, folder: Path) -> str:
    """The message with which a folder's files are refused."""
    with pytest.raises(CheckpointError) as caught:
        load(folder)
    message = str(caught.value)
    assert len(message.splitlines()) == 1, message
    return message


def attempt(load: Load, folder: Path) -> Any:
    """What was loaded, or None if it was refused in one line."""
    try:
        return load(folder)
    except CheckpointError:
        refused(load, folder)
        return None


def test_a_checkpoint_is_read_back_to_the_last_bit(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, STATE)
    assert same(load_checkpoint(tmp_path), STATE)
    assert names_in(tmp_path) == {CHECKPOINT}


def test_a_disk_that_fills_up_leaves_the_previous_checkpoint(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, STATE)
    larger = STATE | {"numbers": torch.zeros(100_000)}
    with disk_full_after(20_000), pytest.raises((OSError, RuntimeError)):
        save_checkpoint(tmp_path, larger)
    assert same(load_checkpoint(tmp_path), STATE)
    assert names_in(tmp_path) == {CHECKPOINT}


def test_a_checkpoint_the_disk_did_not_take_leaves_the_previous_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_checkpoint(tmp_path, STATE)

    def refuse(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(tmp_path, STATE | {"text": "newer"})
    assert same(load_checkpoint(tmp_path), STATE)
    assert names_in(tmp_path) == {CHECKPOINT}


@pytest.mark.parametrize("name", [WEIGHTS, CARD])
def test_a_full_disk_leaves_the_previous_policy(tmp_path: Path, name: str) -> None:
    agent = saved(tmp_path)
    weights = {"actor": torch.zeros(50_000)} if name == WEIGHTS else agent.policy.state_dict()
    facts = {} if name == WEIGHTS else {"note": "x" * 50_000}
    with disk_full_after(20_000), pytest.raises((OSError, SafetensorError)):
        save_policy(tmp_path, weights, SHAPE, ENV, AGENT, facts)
    assert same(dict(load_policy(tmp_path).policy.state_dict()), dict(agent.policy.state_dict()))
    assert names_in(tmp_path) == {WEIGHTS, CARD}


def test_code_in_a_checkpoint_is_refused_and_never_run(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    bare = pickle.dumps({"progress": Intruder(mark)})
    pickle.loads(bare)
    assert mark.is_file(), "the intruder does nothing even when it is let in"
    mark.unlink()
    (tmp_path / CHECKPOINT).write_bytes(bare)
    refused(load_checkpoint, tmp_path)
    torch.save({"progress": Intruder(mark)}, tmp_path / CHECKPOINT)
    refused(load_checkpoint, tmp_path)
    save_checkpoint(tmp_path, {"progress": Intruder(mark)})
    refused(load_checkpoint, tmp_path)
    assert not mark.exists()


@pytest.mark.parametrize("content", [[1, 2], {"weights": torch.zeros(3)}, "text", None])
def test_a_file_of_torch_that_is_not_a_checkpoint_is_refused(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / CHECKPOINT)
    assert CHECKPOINT in refused(load_checkpoint, tmp_path)
    save_checkpoint(tmp_path, content)
    assert CHECKPOINT in refused(load_checkpoint, tmp_path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For the files of a finished run, to be damaged again and again."""
    return tmp_path_factory.mktemp("damaged")


def damage(folder: Path, name: str, change: Callable[[bytes], bytes]) -> None:
    """Put all files of a finished run into ``folder``, one of them changed."""
    for each in (CHECKPOINT, WEIGHTS, CARD):
        shutil.copy(debug_run().folder / each, folder)
    shutil.copytree(debug_run().folder / EPISODES, folder / EPISODES, dirs_exist_ok=True)
    (folder / name).write_bytes(change((folder / name).read_bytes().rstrip(b"\n")))


FILES = pytest.mark.parametrize(
    ("name", "load"), [(CHECKPOINT, load_checkpoint), (WEIGHTS, load_policy), (CARD, load_policy)]
)


@FILES
@settings(deadline=None, max_examples=30)
@given(cut=st.floats(0.0, 1.0, exclude_max=True))
def test_a_truncated_file_is_refused(folder: Path, name: str, load: Load, cut: float) -> None:
    damage(folder, name, lambda whole: whole[: int(cut * len(whole))])
    assert name in refused(load, folder)


@FILES
@settings(deadline=None, max_examples=40)
@given(where=st.floats(0.0, 1.0, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_is_refused_unless_it_leaves_the_content_alone(
    folder: Path, name: str, load: Load, where: float, bit: int
) -> None:
    def flip(whole: bytes) -> bytes:
        index = int(where * len(whole))
        return whole[:index] + bytes([whole[index] ^ (1 << bit)]) + whole[index + 1 :]

    damage(folder, name, flip)
    loaded = attempt(load, folder)
    assert loaded is None or same(content(loaded), content(load(debug_run().folder)))


def content(loaded: Any) -> Any:
    """All of a checkpoint; the weights of a policy."""
    return loaded if isinstance(loaded, dict) else dict(loaded.policy.state_dict())


@pytest.mark.parametrize("size", [10 * 2**30, 2**63 - 1])
def test_a_header_that_claims_gigabytes_is_refused(tmp_path: Path, size: int) -> None:
    saved(tmp_path)
    (tmp_path / WEIGHTS).write_bytes(struct.pack("<Q", size) + b"{}")
    refused(load_policy, tmp_path)


def test_tensors_that_claim_gigabytes_are_refused(tmp_path: Path) -> None:
    saved(tmp_path)
    entry = {"dtype": "F32", "shape": [10 * 2**28], "data_offsets": [0, 10 * 2**30]}
    header = json.dumps({"actor": entry}).encode()
    (tmp_path / WEIGHTS).write_bytes(struct.pack("<Q", len(header)) + header + bytes(64))
    refused(load_policy, tmp_path)


def test_weights_of_another_policy_are_refused(tmp_path: Path) -> None:
    saved(tmp_path)
    card = (tmp_path / CARD).read_bytes()
    saved(tmp_path, AgentConfig(hidden=(9, 9)))
    (tmp_path / CARD).write_bytes(card)
    assert WEIGHTS in refused(load_policy, tmp_path)


def test_who_may_read_the_card_may_read_the_policy(tmp_path: Path) -> None:
    saved(tmp_path)
    card, policy = ((tmp_path / name).stat().st_mode for name in (CARD, WEIGHTS))
    assert policy == card


@pytest.mark.parametrize("name", [CARD, WEIGHTS])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    saved(tmp_path)
    (tmp_path / name).unlink()
    assert name in refused(load_policy, tmp_path)
    assert CHECKPOINT in refused(load_checkpoint, tmp_path)


@FILES
def test_a_folder_in_the_place_of_a_file_is_refused(tmp_path: Path, name: str, load: Load) -> None:
    saved(tmp_path)
    (tmp_path / name).unlink(missing_ok=True)
    (tmp_path / name).mkdir()
    assert name in refused(load, tmp_path)


NUMBERS = st.integers(-300, 300) | st.floats(-300, 300)
"""Not larger: a policy of gigabytes can be asked for in earnest."""
ODD = st.sampled_from([10**18, 10**30, float("inf"), float("nan"), 1e300, "a\nb", "fetch_push"])
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | ODD | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=5,
)
FIELDS = (
    ["format"],
    ["shape"],
    *(["shape", name] for name in ("horizon", "observation", "goal", "action", "a\nb")),
    ["env"],
    *(["env", name] for name in ("task", "goal", "num_envs", "a\nb")),
    ["agent"],
    *(["agent", name] for name in ("name", "goal_encoder", "hidden", "gamma", "batch_norm", "x")),
)


@settings(deadline=None, max_examples=150)
@given(field=st.sampled_from(FIELDS), value=JSON)
@example(field=["shape", "horizon"], value=float("inf"))
@example(field=["shape", "observation"], value=10**30)
@example(field=["agent", "hidden"], value=[10**30])
def test_a_card_with_anything_in_any_field_describes_a_policy_or_is_refused(
    folder: Path, field: list[str], value: Any
) -> None:
    def change(whole: bytes) -> bytes:
        card = json.loads(whole)
        inner = card if len(field) == 1 else card[field[0]]
        inner[field[-1]] = value
        return json.dumps(card).encode()

    damage(folder, CARD, change)
    loaded = attempt(load_policy, folder)
    if loaded is not None:
        actions = loaded.policy.act(observations(loaded.shape, 2))
        assert actions.shape == (2, loaded.shape.action)


@settings(deadline=None, max_examples=60)
@given(junk=st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()))
def test_a_card_of_anything_is_refused(folder: Path, junk: bytes) -> None:
    damage(folder, CARD, lambda whole: junk)
    assert CARD in refused(load_policy, folder)


def observations(shape: EpisodeShape, count: int) -> GoalObs:
    generator = np.random.default_rng(1)
    sizes = (shape.observation, shape.goal, shape.goal)
    return GoalObs(*(generator.normal(size=(count, size)) for size in sizes))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"batch_norm": True},
        {"relative_goal": False},
        {"near_scale": 0.01},
        {"near_scale": 0.01, "near_waves": True},
    ],
)
def test_a_policy_acts_after_a_round_trip_as_before_to_the_last_bit(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    config = replace(AGENT, **changes)
    agent = saved(tmp_path, config)
    loaded = load_policy(tmp_path)
    obs = observations(SHAPE, 50)
    np.testing.assert_array_equal(loaded.policy.act(obs), agent.act(obs))
    assert (agent.act(obs) != trained_agent(config).act(obs)).any(), "any policy would pass"
    assert (loaded.shape, loaded.env, loaded.card["note"]) == (SHAPE, ENV, "kept")
