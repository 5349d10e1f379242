"""Observations as images, on real physics and real pictures, from frames to a film."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from gymnasium.vector import VectorEnv, VectorWrapper

from envs.shipped import trained_policies
from her_robotics.building import build, read_task
from her_robotics.checkpoint import load_checkpoint, save_checkpoint
from her_robotics.cli.making import env_maker
from her_robotics.config import Config, EnvConfig
from her_robotics.encoders import Keypoint
from her_robotics.encoders.files import save_encoder
from her_robotics.errors import UserError
from her_robotics.guides import relay
from her_robotics.learner import Learner
from her_robotics.rollout import play
from her_robotics.saved_policy import load_policy
from her_robotics.strict import to_mapping
from her_robotics.types import GoalObs

from .runs import EXPLOSIVE, REACH, after, command, reports_of, same, tiny

STATE = 10
"""Width of the simulator's state in FetchReach."""


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The folder of an encoder that has learnt nothing: its embeddings are any function of pictures."""
    folder = tmp_path_factory.mktemp("encoder")
    torch.manual_seed(0)
    untaught = Keypoint(32, 3)
    with torch.no_grad():
        untaught.features[-1].weight.mul_(300.0)  # ty: ignore[call-non-callable]
    (folder / "one").mkdir()
    save_encoder(folder / "one", untaught, {"task": "fetch_reach", "camera": "her:air"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        yield str(folder / "one")


def settings(own: str, observation: str, **changes: Any) -> dict[str, Any]:
    shared = {"task": "fetch_reach", "num_threads": 1, "goal": "image", "goal_images": 5}
    seen = {"encoder": own, "observation": observation, "observer": own}
    return {**shared, **seen, **changes}


def made(own: str, observation: str = "asymmetric", **changes: Any) -> Any:
    return env_maker(EnvConfig(**settings(own, observation, **changes)))(2)


def looked(env: Any) -> np.ndarray:
    return env._encoder.embed(env.unwrapped._base.pictures(camera="her:air", size=32))


def test_an_observation_is_the_newest_embedding_its_changes_and_the_state(encoder: str) -> None:
    env = made(encoder, frames=3)
    assert read_task(env).shape.sight == 9
    plain = env_maker(EnvConfig(task="fetch_reach", num_threads=1))(2)
    shown, expected = env.reset(seed=[3, 4])[0], plain.reset(seed=[3, 4])[0]
    seen = [looked(env)] * 3
    action = np.tile(np.float32([1.0, 0.5, -0.5, 0.0]), (2, 1))
    for _ in range(4):
        head, state = np.split(shown["observation"], [9], axis=1)
        np.testing.assert_array_equal(state, expected["observation"])
        changes = np.concatenate([seen[0], seen[0] - seen[1], seen[1] - seen[2]], axis=1)
        np.testing.assert_allclose(head, changes, atol=1e-6)
        assert env.single_observation_space["observation"].shape == (9 + STATE,)
        shown, expected = env.step(action)[0], plain.step(action)[0]
        seen = [looked(env), *seen[:2]]
    assert np.abs(seen[0] - seen[1]).max() > 1e-3
    image = made(encoder, "image", frames=3)
    only = image.reset(seed=[3, 4])[0]["observation"]
    np.testing.assert_array_equal(only, env.reset(seed=[3, 4])[0]["observation"][:, :9])
    assert (read_task(image).shape.sight, read_task(image).shape.observation) == (0, 9)


def test_goals_and_observations_share_what_is_drawn(
    encoder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    env, drawn = made(encoder), []
    base = env.unwrapped._base
    draw = base.pictures
    monkeypatch.setattr(base, "pictures", lambda **given: drawn.append(given) or draw(**given))
    env.reset(seed=[0, 1])
    for _ in range(3):
        env.step(np.ones((2, 4), np.float32))
    assert len(drawn) == 4


class Scrambled(VectorWrapper):
    """Spoils what the simulator calls achieved and desired, behind the embeddings of images."""

    def reset(self, **given: Any) -> Any:
        shown, info = self.env.reset(**given)
        return self._spoil(shown), info

    def step(self, actions: Any) -> Any:
        shown, *rest = self.env.step(actions)
        return self._spoil(shown), *rest

    def _spoil(self, shown: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        for name in ("achieved_goal", "desired_goal"):
            shown[name][:, 3:] = np.sin(1e3 * shown[name][:, 3:])
        return shown


@pytest.mark.parametrize("reward", ["latent_sparse", "state"])
def test_from_pictures_only_the_simulators_goals_teach_nothing(reward: str, encoder: str) -> None:
    latent = {"goal_reward": reward, "latent_threshold": 0.003} if reward != "state" else {}
    exploration = {"guide": {"name": "mover"}, "count_bonus": 0.1, "count_cell": 0.001}
    config = tiny(REACH, env=settings(encoder, "image", **latent), exploration=exploration)

    def spoiling(num_envs: int, **options: Any) -> VectorEnv:
        return Scrambled(env_maker(config.env)(num_envs, **options))

    honest, spoilt = learnt(config, env_maker(config.env)), learnt(config, spoiling)
    rewarded = float((honest.replay.sample(256).reward >= 0.0).float().mean())
    assert 0.0 < rewarded < 1.0
    assert same(honest.agent.state_dict(), spoilt.agent.state_dict()) == (reward != "state")
    guides = [learner.guide.state_dict() for learner in (honest, spoilt) if learner.guide]
    assert same(*guides) == (reward != "state")


PUSH = {
    "env": {
        "task": "fetch_push",
        "num_envs": 2,
        "num_threads": 1,
        "goal": "image",
        "encoder": "fetch_push",
        "goal_images": 5,
        "observation": "image",
        "observer": "fetch_push_gripper",
        "goal_reward": "latent_sparse",
        "latent_threshold": 0.05,
    },
    "exploration": {"guide": {"name": "relay"}},
}


def test_a_relay_leads_to_where_pictures_show_the_object_to_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(relay, "HOLD", np.inf)
    config = tiny(PUSH)
    env = env_maker(config.env)(2)
    task = read_task(env)
    assert task.gripper == slice(3, 6)
    plain = env_maker(EnvConfig(task="fetch_push", num_threads=1))(2)
    shown, truth = env.reset(seed=[3, 4])[0], plain.reset(seed=[3, 4])[0]
    offset = shown["observation"][:, task.gripper] - truth["observation"][:, :3]
    assert np.linalg.norm(offset, axis=1).max() < 0.06
    behind = env_maker(replace(config.env, observation="asymmetric"))(2)
    exact = behind.reset(seed=[3, 4])[0]["observation"][:, read_task(behind).gripper]
    np.testing.assert_array_equal(exact, truth["observation"][:, :3])
    honest = learnt(config, env_maker(config.env))
    spoilt = learnt(config, lambda count, **given: Scrambled(env_maker(config.env)(count, **given)))
    assert isinstance(honest.guide, relay.Relay)
    assert isinstance(spoilt.guide, relay.Relay)
    assert honest.guide.agent.updates == 100
    assert same(honest.guide.state_dict(), spoilt.guide.state_dict())
    obs = GoalObs(shown["observation"], shown["achieved_goal"], shown["desired_goal"])
    honest.guide.start(2)
    moved = np.repeat(obs.achieved_goal[None], 2, axis=0)
    moved[0, :, 3:] += 0.1
    moved[1, :, :3] += 0.1
    as_before, truly, seen = (
        honest.guide.lead(obs._replace(achieved_goal=x)) for x in (obs[1], *moved)
    )
    np.testing.assert_array_equal(truly, as_before)
    assert (seen != as_before).any(axis=1).all()


@pytest.mark.parametrize(
    "changes",
    [
        {"goal_reward": "state", "latent_threshold": None},
        {"observer": "fetch_push"},
    ],
    ids=["rewarded by the simulator", "no gripper seen"],
)
def test_a_relay_that_cannot_know_where_to_is_refused(changes: dict[str, Any]) -> None:
    config = tiny(PUSH, env={**PUSH["env"], **changes})
    with pytest.raises(UserError, match="needs goals that are positions"):
        build(config, env_maker(config.env))


def learnt(config: Config, make_env: Callable[..., VectorEnv]) -> Learner:
    """A learner after two random episodes and a few updates."""
    learner, generator = build(config, make_env), np.random.default_rng(0)
    episodes = play(learner.env, 50, [0, 1], lambda obs: generator.uniform(-1.0, 1.0, (2, 4)))
    learner.replay.add(episodes)
    learner.agent.observe(episodes)
    if learner.guide:
        learner.guide.learn(episodes)
    if learner.counts:
        learner.counts.observe(episodes)
    for _ in range(5):
        learner.agent.update(learner.replay.sample(64))
    return learner


@pytest.mark.parametrize("agent", ["ddpg", "dagger"])
def test_a_resumed_run_equals_one_that_never_stopped(
    agent: str, encoder: str, tmp_path: Path
) -> None:
    train = {"steps": 200, "teacher": "fetch_reach" if agent == "dagger" else None}
    config = tiny(
        REACH,
        env=settings(encoder, "asymmetric"),
        agent={"name": agent},
        train=train,
        eval={"every": 100, "episodes": 2},
    )

    def start() -> Learner:
        teacher = load_policy(trained_policies()["fetch_reach"]) if agent == "dagger" else None
        return build(config, env_maker(config.env), teacher=teacher)

    whole, stopped, resumed = start(), start(), start()
    reports = [report.metrics for report in reports_of(whole)]
    first = [report.metrics for report in reports_of(stopped, after(1))]
    save_checkpoint(tmp_path, stopped.state_dict())
    resumed.load_state_dict(load_checkpoint(tmp_path))
    assert first + [report.metrics for report in reports_of(resumed)] == reports
    assert same(whole.state_dict()["agent"], resumed.state_dict()["agent"])


def test_a_runs_folder_is_all_that_its_policy_needs(encoder: str, tmp_path: Path) -> None:
    run, film = tmp_path / "run", tmp_path / "film.mp4"
    given = {
        **{"env.goal": "image", "env.encoder": encoder, "env.goal-images": 5},
        **{"env.observation": "asymmetric", "env.observer": encoder, "wandb": "disabled"},
        **{"agent.name": "dagger", "train.teacher": "fetch_reach", "train.steps": 100},
        **{"eval.episodes": 2, "video.enabled": "false"},
    }
    options = [part for name, value in given.items() for part in (f"--{name}", value)]
    outcome = command("train", "debug", *options, "--out", run)
    assert outcome.code == 0, outcome.err
    saved = load_policy(run)
    assert saved.shape.sight == 6
    assert saved.card["trained"]["teacher"] == "fetch_reach"
    outcome = command("train", "--resume", run)
    assert outcome.code == 0, outcome.err
    hidden = Path(encoder).rename(tmp_path / "elsewhere")
    try:
        assert command("eval", run, "--episodes", 2).code == 0
        assert command("record", run, "--episodes", 1, "--size", 32, "--out", film).code == 0
        assert cv2.VideoCapture(str(film)).get(cv2.CAP_PROP_FRAME_COUNT) > 50
        assert command("play", run, "--episodes", 1, "--size", 32).code == 0
    finally:
        hidden.rename(encoder)


def test_a_simulation_that_diverges_costs_its_episode_also_where_only_pictures_are_seen(
    encoder: str,
) -> None:
    env, lost, steps = made(encoder, "image"), [], iter(range(50))
    base = env.unwrapped._base

    def act(obs: GoalObs) -> np.ndarray:
        if next(steps) == 5:
            state = base.get_state()
            state["simulations"]["physics"][1, 1:] = EXPLOSIVE
            base.set_state(state)
        return np.zeros((2, 4), np.float32)

    played = play(env, 50, [0, 1], act, lost.append)
    assert [(each.env, each.step) for each in lost] == [(1, 6)]
    whole = play(made(encoder, "image"), 50, [0, 1], lambda obs: np.zeros((2, 4), np.float32))
    np.testing.assert_array_equal(played.observation[0], whole.observation[0])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"observer": None}, "needs env.observer"),
        ({"observer": "fetch_push"}, "knows pictures of fetch_push, not of fetch_reach"),
        ({"observation": "state"}, "env.observer is a setting of observations as images"),
        ({"observation": "state", "observer": None, "frames": 3}, "env.frames is a setting of"),
        ({"task": "bit_flip", "goal": None, "encoder": None}, "our own Fetch tasks"),
    ],
)
def test_senseless_settings_are_refused_in_a_line(
    encoder: str, changes: dict[str, Any], said: str
) -> None:
    given = settings(encoder, "asymmetric")
    if changes.get("task") == "bit_flip":
        given = {"num_envs": 2, "observation": "image", "observer": encoder}
    with pytest.raises(UserError) as error:
        env_maker(EnvConfig(**{**given, **changes}))(2)
    assert said in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_a_goal_of_numbers_must_not_tell_the_actor_what_is_achieved(encoder: str) -> None:
    numbers = {"goal": None, "encoder": None, "goal_images": EnvConfig().goal_images}
    config = tiny(REACH, env=settings(encoder, "asymmetric", **numbers))
    with pytest.raises(UserError, match="relative_goal"):
        build(config, env_maker(config.env))
    config = tiny(to_mapping(config), agent={"relative_goal": False})
    learner = build(config, env_maker(config.env))
    episodes = play(learner.env, 50, [0, 1], lambda obs: np.zeros((2, 4), np.float32))
    learner.agent.observe(episodes)
    obs = GoalObs(*(part[:, 3] for part in episodes[:2]), episodes.desired_goal)
    actions = learner.agent.act(obs)
    moved = obs._replace(achieved_goal=obs.achieved_goal + 0.3)
    np.testing.assert_array_equal(learner.agent.act(moved), actions)
    other = obs._replace(desired_goal=obs.desired_goal + 0.3)
    assert not np.array_equal(learner.agent.act(other), actions)
