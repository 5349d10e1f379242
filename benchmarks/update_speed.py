"""How long learning takes per update: drawing a relabelled batch, and updating on it.

Stable-Baselines3 updates the same networks on the same replayed episodes in the same process, in
rounds that alternate with ours. Its observations are float32 here, as ours are stored; the float64
of the Fetch envs would slow it down. What an update cannot be faster than are its matrix products: they
are timed beside it, each alone, by the faster of torch's two ways to multiply.

Run from the repository's root on a quiet machine: ``python -m benchmarks.update_speed``.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import torch
import tyro
from stable_baselines3 import DDPG as BaselineDDPG
from stable_baselines3.common.logger import Logger
from stable_baselines3.her.her_replay_buffer import HerReplayBuffer
from torch import nn
from tqdm import tqdm

from benchmarks.report import at_least, machine, publish, spread
from envs import HORIZON, find_task
from her_robotics.agents import DDPG
from her_robotics.backprop import ONEDNN, product
from her_robotics.building import read_task
from her_robotics.config import AgentConfig
from her_robotics.relabel import STRATEGIES
from her_robotics.replay import Replay
from her_robotics.rollout import play
from her_robotics.types import Episodes, EpisodeShape, RewardFunction, Task

TASK, STRATEGY, K = "fetch_push", "future", 4
PLAYED = 64
"""Episodes really played; the replay is filled with copies of them."""
AGENT = AgentConfig(hidden=(256, 256, 256), num_critics=1)
TARGETS = {"sample_milliseconds": 0.5}


@dataclass(frozen=True)
class Arguments:
    """Milliseconds per sampled batch and per DDPG update, beside Stable-Baselines3."""

    rounds: int = 21
    """Rounds of each measurement, in turn; the first one warms up and is dropped."""
    calls: int = 50
    """Calls in a round."""
    batch_size: int = 256
    """Transitions in an update."""
    capacity: int = 1_000_000
    """Transitions in the replay, which is full."""
    torch_threads: int = 0
    """Threads of the updates, of ours and of Stable-Baselines3's; 0 leaves the choice to torch."""
    seed: int = 0
    """Seed of episodes, networks and sampling."""
    out: str | None = None
    """File to write; without it, update_speed.json in the results folder beside this script."""
    json: bool = False
    """Print one JSON object."""


class FetchShaped(gym.Env[Any, np.ndarray]):
    """What Stable-Baselines3 asks of an env that it is never to step: spaces and a reward.

    Args:
        shape: sizes of the task.
        reward: the task's reward function.
    """

    def __init__(self, shape: EpisodeShape, reward: RewardFunction):
        def box(size: int) -> gym.spaces.Box:
            return gym.spaces.Box(-np.inf, np.inf, (size,), np.float32)

        goal = {name: box(shape.goal) for name in ("achieved_goal", "desired_goal")}
        spaces: Any = gym.spaces.Dict({"observation": box(shape.observation), **goal})
        self.observation_space = spaces
        self.action_space = gym.spaces.Box(-1.0, 1.0, (shape.action,), np.float32)
        self._reward = reward

    def compute_reward(self, achieved: np.ndarray, desired: np.ndarray, info: Any) -> np.ndarray:
        """The task's reward."""
        return self._reward(achieved, desired)


class ReadyBatch:
    """A replay buffer that always gives the batch it was made with."""

    def __init__(self, batch: Any):
        self._batch = batch

    def sample(self, batch_size: int, env: Any = None) -> Any:
        """The batch."""
        return self._batch


def play_randomly(seed: int) -> tuple[Task, Episodes]:
    """What there is to know of the task, and some random episodes of it."""
    env = gym.make_vec(find_task(TASK).id, num_envs=PLAYED)
    task, generator = read_task(env), np.random.default_rng(seed)
    size = (PLAYED, task.shape.action)
    seeds = list(range(seed, seed + PLAYED))
    episodes = play(env, task.shape.horizon, seeds, lambda obs: generator.uniform(-1.0, 1.0, size))
    env.close()
    return task, episodes


def our_learner(arguments: Arguments, task: Task, episodes: Episodes) -> tuple[Replay, DDPG]:
    """A full replay, and an agent that has seen the episodes in it."""
    replay = Replay(
        task.shape, arguments.capacity, STRATEGIES[STRATEGY], K, task.reward, arguments.seed
    )
    while replay.added < replay.max_episodes:
        replay.add(episodes)
    agent = DDPG(task.shape, AGENT)
    agent.observe(episodes)
    return replay, agent


def baseline(arguments: Arguments, task: Task, episodes: Episodes) -> BaselineDDPG:
    """Stable-Baselines3's DDPG of the same size, with a full hindsight replay."""
    capacity = arguments.capacity // task.shape.horizon * task.shape.horizon
    model = BaselineDDPG(
        "MultiInputPolicy",
        FetchShaped(task.shape, task.reward),
        learning_rate=AGENT.critic_lr,
        buffer_size=capacity,
        tau=AGENT.tau,
        gamma=AGENT.gamma,
        replay_buffer_class=HerReplayBuffer,
        replay_buffer_kwargs={"n_sampled_goal": K, "goal_selection_strategy": STRATEGY},
        policy_kwargs={"net_arch": list(AGENT.hidden)},
        seed=arguments.seed,
        device="cpu",
    )
    model.set_logger(Logger(None, []))
    assert isinstance(model.replay_buffer, HerReplayBuffer)
    fill(model.replay_buffer, task, episodes)
    return model


def fill(buffer: HerReplayBuffer, task: Task, episodes: Episodes) -> None:
    """Fill a baseline buffer with copies of ``episodes``; its own ``add`` takes minutes."""
    horizon = task.shape.horizon
    goal = np.repeat(episodes.desired_goal[:, None], horizon, axis=1)
    for rings, steps in (
        (buffer.observations, slice(0, horizon)),
        (buffer.next_observations, slice(1, horizon + 1)),
    ):
        _repeat_into(rings["observation"], episodes.observation[:, steps])
        _repeat_into(rings["achieved_goal"], episodes.achieved_goal[:, steps])
        _repeat_into(rings["desired_goal"], goal)
    _repeat_into(buffer.actions, episodes.action)
    _repeat_into(buffer.rewards, task.reward(episodes.achieved_goal[:, 1:], goal))
    first = np.arange(buffer.buffer_size) // horizon * horizon
    buffer.ep_start[:, 0], buffer.ep_length[:] = first, horizon
    # Episodes end by their time limit, which is no terminal state.
    buffer.dones[horizon - 1 :: horizon] = buffer.timeouts[horizon - 1 :: horizon] = 1.0
    buffer.full = True


def _repeat_into(ring: np.ndarray, values: np.ndarray) -> None:
    """Fill ``ring`` ``(capacity, 1, ...)`` with repeated ``values`` ``(episodes, steps, ...)``."""
    flat = values.reshape(-1, *ring.shape[1:])
    ring[:] = np.resize(flat, ring.shape)


def subjects(arguments: Arguments) -> dict[str, Callable[[], Any]]:
    """What is timed, by name."""
    torch.manual_seed(arguments.seed)
    task, episodes = play_randomly(arguments.seed)
    replay, agent = our_learner(arguments, task, episodes)
    theirs = baseline(arguments, task, episodes)
    size, buffer = arguments.batch_size, theirs.replay_buffer
    assert buffer is not None
    batch, ready = replay.sample(size), ReadyBatch(buffer.sample(size))

    def train_theirs(source: Any) -> None:
        theirs.replay_buffer = source
        theirs.train(1, size)

    return {
        "ours_sample": lambda: replay.sample(size),
        "ours_update": lambda: agent.update(batch),
        "ours_products": products(agent, size),
        "ours_sample_and_update": lambda: agent.update(replay.sample(size)),
        "sb3_sample": lambda: buffer.sample(size),
        "sb3_update": lambda: train_theirs(ready),
        "sb3_sample_and_update": lambda: train_theirs(buffer),
    }


def products(agent: DDPG, rows: int) -> Callable[[], None]:
    """All matrix products of an update of ``rows`` transitions, with nothing between them.

    Forward go both targets, critic and actor, and the critic once more at the actor's actions; back, to
    all weights and to the inputs of all layers but the first, and once more through the critic to actions.
    """

    def layers(module: nn.Module) -> list[tuple[int, int]]:
        found = [each for each in module.modules() if isinstance(each, nn.Linear)]
        return [(each.in_features, each.out_features) for each in found]

    actor, critic = layers(agent.policy.actor), layers(agent.critics[0])
    forward = [(rows, i, o) for i, o in 2 * actor + 3 * critic]
    pulled = [(rows, o, i) for i, o in actor[1:] + critic[1:] + critic]
    weights = [(o, rows, i) for i, o in actor + critic]
    pairs = [(torch.randn(n, k), torch.randn(m, k)) for n, k, m in forward + pulled + weights]

    def plain(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return torch.mm(a, b.t())

    def faster(pair: tuple[torch.Tensor, torch.Tensor]) -> Callable[..., torch.Tensor]:
        ways = (plain, product) if ONEDNN else (plain,)
        return min(ways, key=lambda way: milliseconds(lambda: way(*pair), 50))

    fastest = [faster(pair) for pair in pairs]

    def run() -> None:
        for pair, multiply in zip(pairs, fastest, strict=True):
            multiply(*pair)

    return run


def milliseconds(call: Callable[[], Any], calls: int) -> float:
    """Median time of a call."""
    times = []
    for _ in range(calls):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return 1e3 * float(np.median(times))


def measure(arguments: Arguments) -> dict[str, Any]:
    """Time all subjects in turn, round after round."""
    if arguments.torch_threads:
        torch.set_num_threads(arguments.torch_threads)
    timed = subjects(arguments)
    rounds: dict[str, list[float]] = {name: [] for name in timed}
    for index in tqdm(range(arguments.rounds), unit="round", disable=None):
        # The order alternates, so that a drift of the machine's speed favours nobody.
        for name in list(timed)[:: -1 if index % 2 else 1]:
            rounds[name].append(milliseconds(timed[name], arguments.calls))
    return summary({name: np.array(values[1:]) for name, values in rounds.items()})


def summary(rounds: dict[str, np.ndarray]) -> dict[str, Any]:
    """Milliseconds of each subject; how much longer Stable-Baselines3 takes, and ours than its products."""
    pairs = ("sample", "update", "sample_and_update")
    return {
        "milliseconds": {name: spread(values) for name, values in rounds.items()},
        "sb3_over_ours": {
            pair: spread(rounds[f"sb3_{pair}"] / rounds[f"ours_{pair}"]) for pair in pairs
        },
        "update_over_products": spread(rounds["ours_update"] / rounds["ours_products"]),
        "targets": TARGETS,
        "torch_threads": torch.get_num_threads(),
        "rounds": {name: values.round(4).tolist() for name, values in rounds.items()},
    }


def main() -> None:
    """Run the benchmark."""
    arguments = tyro.cli(Arguments, prog="python -m benchmarks.update_speed")
    at_least(2, rounds=arguments.rounds, batch_size=arguments.batch_size)
    at_least(1, calls=arguments.calls)
    at_least(HORIZON, capacity=arguments.capacity)
    where = machine()
    results = measure(arguments)
    publish("update_speed", arguments, where, results, ("stable-baselines3",))
    if not arguments.json:
        for name, times in results["milliseconds"].items():
            print(f"{name:<22}  {times['median']:7.3f} ms")
        for name, ratio in results["sb3_over_ours"].items():
            print(f"{name}: Stable-Baselines3 takes {ratio['median']:.2f} times as long as ours")
        ratio = results["update_over_products"]["median"]
        print(f"our update takes {ratio:.2f} times as long as its matrix products alone")


if __name__ == "__main__":
    main()
