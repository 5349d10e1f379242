"""Stable-Baselines3 models of ``benchmarks.peers``: how they are made, saved and brought back."""

import copy
import io
from typing import Any

import gymnasium as gym
import numpy as np
from sb3_contrib import TQC
from stable_baselines3 import DDPG, SAC
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecNormalize
from stable_baselines3.her.her_replay_buffer import HerReplayBuffer

ALGORITHMS: dict[str, Any] = {"ddpg": DDPG, "sac": SAC, "tqc": TQC}
OURS = ("algorithm", "noise", "normalize", "torch_threads")
"""Settings that a model's constructor does not know."""


def make_env(env_id: str, settings: dict[str, Any], saved: dict[str, Any] | None = None) -> VecEnv:
    """The single env that a peer learns in, which shows normalised observations if it is to.

    Args:
        env_id: what Gymnasium calls it.
        settings: of the peer.
        saved: what ``saved_model`` gave, for the moments seen so far.
    """
    # Gymnasium's look at every step would be counted as the peer's time.
    env = DummyVecEnv([lambda: Monitor(gym.make(env_id, disable_env_checker=True))])
    if not settings.get("normalize"):
        return env
    if not saved:
        return VecNormalize(env, norm_reward=False)
    normalizer = saved["normalizer"]
    normalizer.set_venv(env)
    return normalizer


def new_model(settings: dict[str, Any], env: VecEnv, seed: int) -> OffPolicyAlgorithm:
    """A peer that has seen nothing yet."""
    options = {name: value for name, value in settings.items() if name not in OURS}
    options = copy.deepcopy(options)  # policy_kwargs are added to
    if settings.get("noise"):
        zeros = np.zeros(env.action_space.shape or ())
        options["action_noise"] = NormalActionNoise(zeros, zeros + settings["noise"])
    options |= {"replay_buffer_class": HerReplayBuffer, "device": "cpu", "seed": seed}
    return ALGORITHMS[settings["algorithm"]]("MultiInputPolicy", env, **options)


def saved_model(model: OffPolicyAlgorithm) -> dict[str, Any]:
    """What ``load_model`` needs; the replay's own pickle would also write its many empty rows."""
    networks, buffer = io.BytesIO(), replay(model)
    model.save(networks)
    return {
        "networks": networks.getvalue(),
        "normalizer": model.get_vec_normalize_env(),
        "rings": {name: ring[: buffer.size()] for name, ring in rings(buffer).items()},
        "marks": {name: getattr(buffer, name) for name in ("pos", "full", "_current_ep_start")},
    }


def load_model(saved: dict[str, Any], settings: dict[str, Any], env: VecEnv) -> OffPolicyAlgorithm:
    """A peer as ``saved_model`` saw it, with its replay; its next step begins an episode."""
    algorithm = ALGORITHMS[settings["algorithm"]]
    model = algorithm.load(io.BytesIO(saved["networks"]), env, device="cpu")
    buffer = replay(model)
    for name, ring in rings(buffer).items():
        ring[: len(saved["rings"][name])] = saved["rings"][name]
    for name, value in saved["marks"].items():
        setattr(buffer, name, value)
    return model


def replay(model: OffPolicyAlgorithm) -> HerReplayBuffer:
    """The hindsight replay of a model."""
    assert isinstance(model.replay_buffer, HerReplayBuffer)
    return model.replay_buffer


def rings(buffer: HerReplayBuffer) -> dict[str, np.ndarray]:
    """Every array with a row for each transition, but that of the infos, which stay empty."""
    names = ("actions", "rewards", "dones", "timeouts", "ep_start", "ep_length")
    found = {name: getattr(buffer, name) for name in names}
    for name in ("observations", "next_observations"):
        found |= {f"{name}/{part}": ring for part, ring in getattr(buffer, name).items()}
    return found
