"""Training elsewhere than on the CPU: that nothing stays behind is seen on the meta device, which computes
nothing and refuses to mix; what needs a GPU is marked cuda."""

import functools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from her_robotics import building
from her_robotics.agents import AGENTS, Agent
from her_robotics.agents.ddpg import ActorPolicy
from her_robotics.building import read_task
from her_robotics.cli import main
from her_robotics.config import AgentConfig
from her_robotics.device_replay import DeviceReplay, DistanceReward, make_replay
from her_robotics.devices import choose_device, no_gpu
from her_robotics.errors import UserError
from her_robotics.goals.cnn import EMBEDDING, CNNGoal, shifted
from her_robotics.goals.frames import FRAMES, FrameStore
from her_robotics.health import machine
from her_robotics.relabel import STRATEGIES
from her_robotics.replay import Replay
from her_robotics.sealed import read_sealed, write_sealed
from her_robotics.strict import merge
from her_robotics.tracking import read_lines
from her_robotics.types import Batch, Episodes, EpisodeShape

from .conftest import MakeEnv
from .helpers import GoalPoints
from .runs import FLIP, PUSH, after, reports_of, start, tiny

CPU, META = torch.device("cpu"), torch.device("meta")
SHAPE = EpisodeShape(horizon=6, observation=5, goal=4, action=2, parts=2)
SIGHTED = replace(SHAPE, sight=2)
CHOICES = replace(SHAPE, action=1, choices=3)
SMALL = AgentConfig(hidden=(8, 8), lookahead=3)
FULL = replace(SMALL, name="svg", covariance="full", td_lambda=0.5)
AGENTS_TRIED = {
    "ddpg": SMALL,
    "averaged critics": replace(SMALL, num_critics=2, average=0.1, critic_norm="layer"),
    "batch norm": replace(SMALL, batch_norm=True),
    "svg": FULL,
    "dqn": replace(SMALL, name="dqn", double_q=True),
    "sighted": SMALL,
    "dagger": AgentConfig(name="dagger", hidden=(8, 8), average=0.1),
}
SHAPES = {"dqn": CHOICES, "sighted": SIGHTED, "dagger": SIGHTED}
BITS = ["train", "bit_flip", "--env.bits", "4", "--env.num-envs", "2", "--agent.hidden", "8"]
BITS += ["--train.batch-size", "8", "--train.steps", "32", "--eval.every", "8", "--wandb=disabled"]
BITS += ["--eval.episodes", "2", "--replay.capacity", "1000", "--video.enabled", "false"]


def made(name: str, device: torch.device) -> Agent:
    """An agent of ``AGENTS_TRIED``."""
    config, shape = AGENTS_TRIED[name], SHAPES.get(name, SHAPE)
    more = {}
    if config.name == "dagger":
        seen = replace(shape, observation=shape.observation - shape.sight, sight=0)
        more["teacher"] = ActorPolicy(seen, SMALL).requires_grad_(False)
    return AGENTS[config.name](shape, config, (-1.0, 0.0), device=device, **more)


def share_beyond(achieved: np.ndarray, desired: np.ndarray) -> np.ndarray:
    difference = (achieved - desired).reshape(*achieved.shape[:-1], 2, 2)
    return -(np.linalg.norm(difference, axis=-1) > 1.0).mean(axis=-1, dtype=np.float32)


KNOWN = DistanceReward(share_beyond, parts=2, threshold=1.0, dense=False)
"""What a device can compute; ``share_beyond`` itself is asked on the host."""


def episodes(count: int, seed: int, shape: EpisodeShape = SHAPE) -> Episodes:
    generator = np.random.default_rng(seed)
    steps, choices = shape.horizon, shape.choices

    def normal(*sizes: int) -> np.ndarray:
        return generator.normal(size=(count, *sizes)).astype(np.float32)

    action = normal(steps, shape.action).clip(-1, 1)
    if choices:
        action = generator.integers(0, choices, (count, steps, 1)).astype(np.float32)
    return Episodes(
        normal(steps + 1, shape.observation),
        normal(steps + 1, shape.goal),
        normal(shape.goal),
        action,
    )


def settings(
    strategy: str = "future", shape: EpisodeShape = SHAPE, reward: Any = KNOWN, **ahead: Any
) -> tuple[Any, ...]:
    given = {"lookahead": 3, "td_lambda": 0.0, "blur": 0.2, "scatter": 0.0, "rings": 1}
    given |= {"rings_after": 0, "k_end": 0.0, "k_until": None, **ahead}
    return shape, 60, STRATEGIES[strategy], 4.0, reward, 7, *given.values()


def flat(batch: Batch) -> list[torch.Tensor]:
    ahead = [] if batch.ahead is None else list(batch.ahead)
    return [each for each in (*batch[:-1], *ahead) if isinstance(each, torch.Tensor)]


@pytest.mark.parametrize(
    "ahead",
    [
        {"lookahead": 0},
        {},
        {"td_lambda": 0.5},
        {"blur": 0.0},
        {"scatter": 0.3},
        {"rings": 3},
        {"rings": 3, "rings_after": 20},
        {"k_end": 0.5, "k_until": 60},
        {"rings": 3, "reward": share_beyond},
        {"reward": share_beyond},
    ],
)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_batches_for_a_device_are_those_of_the_host_to_the_last_bit(
    strategy: str, ahead: dict[str, Any]
) -> None:
    compare(Replay(*settings(strategy, **ahead)), DeviceReplay(CPU, *settings(strategy, **ahead)))


def compare(host: Replay, other: Replay) -> None:
    """The same batches, while the ring fills, after it has turned over, and from a saved state."""
    for seed, count in enumerate((3, 6, 4)):
        for replay in (host, other):
            replay.add(episodes(count, seed))
        for ours, theirs in zip(flat(host.sample(32)), flat(other.sample(32)), strict=True):
            assert torch.equal(ours, theirs.cpu())
    other.add(episodes(2, 9))
    other.load_state_dict(host.state_dict())
    for ours, theirs in zip(flat(host.sample(32)), flat(other.sample(32)), strict=True):
        assert torch.equal(ours, theirs.cpu())


@pytest.mark.parametrize("base", [PUSH, FLIP])
def test_a_run_by_a_devices_replay_is_the_run_by_the_hosts(
    base: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny(merge(base, {"replay": {"blur": 0.1}}), agent={"lookahead": 4}, eval={"every": 1})
    host = [report.metrics for report in reports_of(start(config), after(2))]
    assert host
    monkeypatch.setattr(building, "make_replay", lambda _, *given: DeviceReplay(CPU, *given))
    other = start(config)
    assert isinstance(other.replay, DeviceReplay)
    assert [report.metrics for report in reports_of(other, after(2))] == host


@pytest.mark.parametrize("reward_type", ["sparse", "dense"])
@pytest.mark.parametrize(
    ("task", "goal"),
    [("fetch_push", "object"), ("fetch_push", "joints"), ("fetch_push_two", "object")],
)
def test_a_device_rewards_as_the_env_does(
    task: str, goal: str, reward_type: str, make_env: MakeEnv
) -> None:
    env = make_env(task, goal=goal, reward_type=reward_type)
    read = read_task(env)
    assert isinstance(read.reward, DistanceReward)
    generator = np.random.default_rng(0)
    desired = generator.normal(size=(400, 3, read.shape.goal)).astype(np.float32)
    reach = 2 * env.distance_threshold / np.sqrt(read.shape.goal / read.shape.parts)
    achieved = desired + generator.uniform(-reach, reach, desired.shape).astype(np.float32)
    expected = env.compute_reward(achieved, desired, {})
    there = read.reward.on_device(torch.from_numpy(achieved), torch.from_numpy(desired))
    assert there.dtype == torch.float32
    np.testing.assert_allclose(there.numpy(), expected, rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(read.reward(achieved, desired), expected)
    assert reward_type == "dense" or set(np.unique(expected)) >= {-1.0, 0.0}


def test_what_other_rewards_look_at_is_asked_on_the_host() -> None:
    assert not isinstance(read_task(GoalPoints(1)).reward, DistanceReward)


def test_on_the_cpu_there_is_no_second_copy() -> None:
    assert type(make_replay(CPU, *settings())) is Replay
    assert type(make_replay(META, *settings())) is DeviceReplay


@pytest.mark.parametrize("name", AGENTS_TRIED)
def test_an_update_leaves_nothing_on_the_cpu(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Its fused step has no kernel that computes nothing.
    unfused = functools.partial(torch.optim.Adam, fused=None)
    monkeypatch.setattr(torch.optim, "Adam", lambda each, rate, fused: unfused(each, rate))
    agent, shape = made(name, META), SHAPES.get(name, SHAPE)
    replay = DeviceReplay(META, *settings(shape=shape, td_lambda=AGENTS_TRIED[name].td_lambda))
    replay.add(episodes(4, 0, shape))
    agent.observe(episodes(4, 0, shape))
    for _ in range(2):
        batch = replay.sample(16)
        assert {each.device.type for each in flat(batch)} == {"meta"}
        figures = agent.update(batch)
        assert {figure.device.type for figure in figures.values()} == {"meta"}
    held = [*agent.policy.state_dict().values(), *agent.averaged.state_dict().values()]
    assert {each.device.type for each in held} == {"meta"}


@pytest.mark.parametrize("name", AGENTS_TRIED)
def test_a_seed_has_the_same_weights_wherever_they_are(name: str) -> None:
    states = []
    for device in (CPU, META):
        torch.manual_seed(3)
        made(name, device)
        states.append(torch.get_rng_state())
    assert torch.equal(*states), "as many numbers are drawn on the CPU"


def test_what_a_gpu_has_saved_is_read_without_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state.pt"
    with monkeypatch.context() as patched:
        patched.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
        write_sealed(path, {"weights": torch.arange(3.0)})
    assert b"cuda:0" in path.read_bytes()
    state = read_sealed(path)
    assert state["weights"].device == CPU
    assert state["weights"].tolist() == [0.0, 1.0, 2.0]


@pytest.mark.skipif(no_gpu() is None, reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused_before_anything_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert choose_device("auto") == choose_device("cpu") == CPU
    with pytest.raises(UserError, match=r"train\.device = cuda cannot be had: "):
        choose_device("cuda")
    run = tmp_path / "run"
    assert main([*BITS, "--device", "cuda", "--out", str(run)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "train.device = cuda cannot be had" in line
    assert line.endswith("choose cpu, or auto")
    assert not run.exists()


def test_doctor_says_what_training_can_compute_on() -> None:
    finding, reason = machine.device(), no_gpu()
    assert finding.status == "pass"
    assert finding.figures["device"] == ("cpu" if reason else "cuda")
    assert (reason or "train --device cuda") in finding.says


def test_a_run_goes_on_where_it_is_told_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert main([*BITS, "--device=auto", "--out", str(run)]) == 0
    told = yaml.safe_load((run / "config.yaml").read_text())
    assert told["train"]["device"] == "auto"
    told["train"]["device"] = "cuda"
    told["train"]["steps"] = 64
    (run / "config.yaml").write_text(yaml.safe_dump(told))
    if no_gpu():
        assert main(["train", "--resume", str(run)]) == 2
        assert "choose cpu, or auto" in capsys.readouterr().err
    assert main(["train", "--resume", str(run), "--device", "tpu"]) == 2
    assert "'tpu' for argument '--train.device'" in capsys.readouterr().err
    assert main(["train", "--resume", str(run), "--device", "cpu"]) == 0
    assert [row["step"] for row in read_lines(run / "metrics.jsonl")] == list(range(8, 65, 8))


@pytest.mark.cuda
def test_a_gpus_batches_are_those_of_the_host() -> None:
    gpu = torch.device("cuda")
    compare(Replay(*settings("future_actual")), DeviceReplay(gpu, *settings("future_actual")))


@pytest.mark.cuda
@pytest.mark.parametrize("name", AGENTS_TRIED)
def test_a_gpu_learns_what_the_cpu_learns(name: str) -> None:
    shape, weights = SHAPES.get(name, SHAPE), []
    for device in (CPU, torch.device("cuda")):
        torch.manual_seed(3)
        agent = made(name, device)
        replay = make_replay(device, *settings(shape=shape, td_lambda=AGENTS_TRIED[name].td_lambda))
        replay.add(episodes(8, 0, shape))
        agent.observe(episodes(8, 0, shape))
        for _ in range(20):
            agent.update(replay.sample(64))
        weights.append({key: each.cpu() for key, each in agent.policy.state_dict().items()})
    for key, ours in weights[0].items():
        torch.testing.assert_close(weights[1][key], ours, rtol=1e-2, atol=1e-4)


def test_goal_images_are_embedded_where_the_network_is() -> None:
    pictures = torch.zeros(3, 16, 16, 3, dtype=torch.uint8, device=META)
    assert CNNGoal(1).to(META).network(shifted(pictures)).device == META


@pytest.mark.cuda
@pytest.mark.parametrize("learning", [False, True])
def test_a_gpu_embeds_goal_images_as_the_cpu_does(learning: bool) -> None:
    frames = FrameStore(16, EMBEDDING)
    frames.reserve(FRAMES, 8)
    pictures = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), dtype=np.uint8)
    numbers = torch.from_numpy(frames.add(FRAMES, pictures)).float()[:, None]
    encoder = CNNGoal(1)
    made = []
    for device in (CPU, torch.device("cuda")):
        encoder.to(device).frames = frames
        frames.forget()
        torch.manual_seed(0)
        with torch.set_grad_enabled(learning):
            made.append(encoder(numbers.to(device), numbers.flip(0).to(device)).detach().cpu())
    torch.testing.assert_close(*made, rtol=1e-3, atol=1e-3)


@pytest.mark.cuda
def test_a_run_crosses_from_one_device_to_the_other(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert main([*BITS, "--device=cuda", "--out", str(run)]) == 0
    for steps, device in (("64", "cpu"), ("96", "cuda")):
        longer = ["--train.steps", steps, "--device", device]
        assert main(["train", "--resume", str(run), *longer]) == 0
    assert [row["step"] for row in read_lines(run / "metrics.jsonl")] == list(range(8, 97, 8))
