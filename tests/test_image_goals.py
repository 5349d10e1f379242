"""Goals as images, on real physics and real pictures, from an encoder to a film."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from envs.shipped import trained_encoders, trained_policies
from her_robotics.building import build, read_task
from her_robotics.cli.making import env_maker
from her_robotics.config import EnvConfig
from her_robotics.encoders import ENCODERS
from her_robotics.encoders.files import CARD, WEIGHTS, copy_encoder, load_encoder, save_encoder
from her_robotics.errors import UserError
from her_robotics.evaluate import evaluate
from her_robotics.image_goals import ImageGoals
from her_robotics.rollout import play
from her_robotics.run_folder import METRICS
from her_robotics.saved_policy import WEIGHTS as POLICY_WEIGHTS
from her_robotics.saved_policy import load_policy
from her_robotics.session import Session
from her_robotics.types import GoalObs

from .runs import (
    REACH,
    Exploding,
    command,
    names_in,
    reports_of,
    rows,
    same,
    signal_at,
    start,
    the_one_line,
    tiny,
    watched,
)

IMAGE = {"task": "fetch_reach", "goal": "image", "goal_images": 10, "num_threads": 1}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The folder of an encoder that has learnt next to nothing."""
    folder = tmp_path_factory.mktemp("encoder")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        size = ("--episodes", 32, "--goals", 10, "--updates", 20, "--size", 32)
        outcome = command("encode", "fetch_reach", *size, "--out", folder / "one")
        assert outcome.code == 0, outcome.err
        assert "held-out goal images" in outcome.out
        expected = {"encoder.json", "encoder.safetensors", "encoder.png"}
        assert names_in(folder / "one") == expected
        yield str(folder / "one")


def made(own: str, count: int = 2, test: bool = False, **changes: Any) -> Any:
    config = EnvConfig(**{**IMAGE, "encoder": own, **changes})
    return env_maker(config)(count, test=test)


def rest(obs: GoalObs) -> np.ndarray:
    return np.zeros((len(obs.observation), 4), np.float32)


def test_an_episodes_goal_image_is_decided_by_its_seed_alone(encoder: str) -> None:
    env, other = made(encoder, 3), made(encoder, 2)
    shown, _ = env.reset(seed=[5, 6, 7])
    again, _ = other.reset(seed=[7, 5])
    np.testing.assert_array_equal(shown["desired_goal"][[2, 0]], again["desired_goal"])
    np.testing.assert_array_equal(env.goal_pictures[[2, 0]], other.goal_pictures)
    many = {bytes(made_goal) for made_goal in _goals(other, range(20))}
    assert len(many) > 4


def _goals(env: ImageGoals, seeds: range) -> Iterator[np.ndarray]:
    for seed in seeds:
        yield env.reset(seed=[seed, seed])[0]["desired_goal"][0]


def test_tests_draw_from_images_that_training_does_not(encoder: str) -> None:
    training, test = made(encoder), made(encoder, test=True)
    seen = {bytes(goal) for goal in _goals(training, range(40))}
    assert not seen & {bytes(goal) for goal in _goals(test, range(40))}


def test_goals_are_embeddings_of_frames_beside_what_the_simulator_achieves(encoder: str) -> None:
    env = made(encoder)
    task = read_task(env)
    assert (task.shape.embedding, task.shape.goal) == (3, 6)
    shown, _ = env.reset(seed=[0, 1])
    action = np.tile(np.float32([1.0, 0.5, -0.5, 0.0]), (2, 1))
    for _ in range(3):
        shown, reward, *_ = env.step(action)
    pictures = env._base.pictures(camera=env._camera, size=32)
    np.testing.assert_array_equal(shown["achieved_goal"][:, :3], env._encoder.embed(pictures))
    gripper = shown["observation"][:, :3]
    np.testing.assert_allclose(shown["achieved_goal"][:, 3:], gripper)
    np.testing.assert_array_equal(env._base.goals, shown["desired_goal"][:, 3:])
    expected = env._base.compute_reward(gripper, shown["desired_goal"][:, 3:], {})
    np.testing.assert_array_equal(reward, expected)


def test_rewards_look_at_one_half_of_a_goal_and_tests_always_at_the_truth(encoder: str) -> None:
    generator = np.random.default_rng(0)
    achieved = generator.normal(0.0, 0.03, (200, 6))
    desired, other_embedding, other_state = np.zeros((3, 200, 6))
    other_embedding[:, :3] = other_state[:, 3:] = 9.0
    latent = ({"goal_reward": "latent_distance"}, {"goal_reward": "latent_sparse"})
    latent[1]["latent_threshold"] = 0.05
    for changes, ignored, heeded in (
        ({}, other_embedding, other_state),
        (latent[0], other_state, other_embedding),
        (latent[1], other_state, other_embedding),
    ):
        env = made(encoder, **changes)
        rewards = env.compute_reward(achieved, desired, {})
        np.testing.assert_array_equal(env.compute_reward(achieved, ignored, {}), rewards)
        assert not np.array_equal(env.compute_reward(achieved, heeded, {}), rewards)
        assert len(np.unique(rewards)) > 1
        reached = env.reached(achieved, desired)
        np.testing.assert_array_equal(env.reached(achieved, other_embedding), reached)
        assert 0 < reached.mean() < 1
        assert not env.reached(achieved, other_state).any()


@pytest.mark.parametrize("reward", ["state", "latent_distance", "latent_sparse"])
def test_a_policy_learns_from_every_reward_behind_an_encoder_without_labels(
    reward: str, encoder: str, tmp_path: Path
) -> None:
    facts = {"task": "fetch_reach", "camera": load_encoder(Path(encoder)).camera}
    save_encoder(tmp_path, ENCODERS["vae"](32, 3), facts)
    env = {**IMAGE, "encoder": str(tmp_path), "goal_reward": reward}
    if reward == "latent_sparse":
        env["latent_threshold"] = 0.002
    learner = start(tiny(env=env, train={"steps": 100}, eval={"every": 100, "episodes": 2}))
    (report,) = reports_of(learner)
    assert np.isfinite(report.metrics["critic_loss"])
    batch = learner.replay.sample(64)
    judged = slice(16, 19) if reward == "state" else slice(0, 16)
    offset = (batch.goal - batch.achieved_goal[1])[:, judged].norm(dim=1)
    expected = {
        "state": -(offset > 0.05).float(),
        "latent_distance": -offset,
        "latent_sparse": -(offset > 0.002).float(),
    }[reward]
    np.testing.assert_allclose(batch.reward.numpy(), expected.numpy(), atol=1e-5)
    assert len(batch.reward.unique()) > 1


def test_the_truth_behind_an_image_never_reaches_the_networks(encoder: str) -> None:
    learner = start(tiny(env={**IMAGE, "encoder": encoder}))
    episodes = play(learner.env, 50, [0, 1], rest)
    learner.agent.observe(episodes)
    obs = GoalObs(*(part[:, 3] for part in episodes[:2]), episodes.desired_goal)
    actions = learner.agent.act(obs)
    blind = [goal.copy() for goal in obs[1:]]
    for goal in blind:
        goal[:, 3:] += 7.0
    np.testing.assert_array_equal(learner.agent.act(GoalObs(obs.observation, *blind)), actions)
    blind[1][:, :3] += 0.5
    assert not np.array_equal(learner.agent.act(GoalObs(obs.observation, *blind)), actions)
    moments = learner.agent.policy.encoder.normalizer.mean
    np.testing.assert_allclose(moments.numpy(), episodes.desired_goal[:, :3].mean(0), atol=1e-5)


def test_an_episode_that_diverges_is_missed_and_the_others_keep_their_goals(encoder: str) -> None:
    env = made(encoder)
    task = read_task(env)
    whole = play(env, 50, [0, 1], rest)
    told: list[Any] = []
    env._env = Exploding(env._env, {20, 50 + 30}, (1,))
    kept = play(env, 50, [0, 1], rest, told.append)
    assert [(each.env, each.step) for each in told] == [(1, 20)]
    for name, part in kept._asdict().items():
        np.testing.assert_array_equal(part, getattr(whole, name)[:1])
    result = evaluate(env, task, rest, 2, seed=0, stream=0)
    assert (result.episodes, result.diverged) == (2, 1)


def test_hindsight_goals_are_frames_seen_in_the_episode(encoder: str) -> None:
    learner = start(tiny(env={**IMAGE, "encoder": encoder}, replay={"k": 1e9}))
    generator = np.random.default_rng(0)
    episodes = play(learner.env, 50, [0, 1], lambda obs: generator.uniform(-1, 1, (2, 4)))
    learner.replay.add(episodes)
    seen = {bytes(goal) for goal in episodes.achieved_goal.reshape(-1, 6)}
    assert {bytes(goal) for goal in learner.replay.sample(64).goal.numpy()} <= seen


def test_a_resumed_run_equals_one_that_never_stopped(encoder: str, tmp_path: Path) -> None:
    config = tiny(env={**IMAGE, "encoder": encoder}, train={"steps": 400}, eval={"every": 100})
    make_env = env_maker(config.env)
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert Session(config, whole, make_env).run() == 0
    assert Session(config, stopped, watched(make_env, signal_at(120), 2)).run() == 130
    assert len(rows(stopped / METRICS)) == 3
    assert Session(config, stopped, make_env, resume=True).run() == 0
    assert (stopped / METRICS).read_bytes() == (whole / METRICS).read_bytes()
    assert (stopped / POLICY_WEIGHTS).read_bytes() == (whole / POLICY_WEIGHTS).read_bytes()


def test_a_runs_folder_is_all_that_its_policy_needs(encoder: str, tmp_path: Path) -> None:
    settings = (
        *("--env.goal", "image", "--env.encoder", encoder, "--env.goal-images", "10"),
        *("--wandb", "disabled", "--train.steps", "100", "--eval.episodes", "2"),
    )
    run, film = tmp_path / "run", tmp_path / "film.mp4"
    assert command("train", "debug", *settings, "--out", run).code == 0
    saved = load_policy(run)
    assert saved.shape.embedding == 3
    hidden = Path(encoder).rename(tmp_path / "elsewhere")
    try:
        assert command("eval", run, "--episodes", 2).code == 0
        small = ("--episodes", 1, "--size", 32)
        picture = tmp_path / "goal.png"
        cv2.imwrite(str(picture), np.full((70, 50, 3), 128, np.uint8))
        for more in ((), ("--goal-image", picture)):
            outcome = command("record", run, *small, "--out", film, *more)
            assert outcome.code == 0, outcome.err
            capture = cv2.VideoCapture(str(film))
            assert capture.get(cv2.CAP_PROP_FRAME_WIDTH) == 2 * 32 + 8
        assert "--goal-image FILE" in the_one_line(command("play", run, "--goal", 1, 1, 1))
        missing = ("--goal-image", tmp_path / "none.png")
        assert "none.png" in the_one_line(command("play", run, *missing))
    finally:
        hidden.rename(encoder)
    weights, kept = run / WEIGHTS, (run / WEIGHTS).read_bytes()
    weights.write_bytes(kept[:-4] + bytes(4))
    assert "checksum" in the_one_line(command("eval", run, "--episodes", 2))
    weights.write_bytes(kept)
    card, own = run / CARD, (run / CARD).read_text()
    copy_encoder(trained_encoders()["fetch_reach"], run)
    for verb in ("eval", "play", "record"):
        line = the_one_line(command(verb, run, "--episodes", 1))
        assert (
            f"encoder.json of {json.loads(own)['sha256'][:12]} and acts behind that alone" in line
        )
    card.unlink()
    assert the_one_line(command("eval", run)).endswith("but the folder holds no encoder")
    line = the_one_line(command("play", "fetch_reach", "--goal-image", picture))
    assert "no images" in line


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"encoder": None}, "needs env.encoder"),
        ({"encoder": "nobody"}, "neither the folder of an encoder nor one that ships"),
        ({"task": "fetch_push"}, "pictures of fetch_reach"),
        ({"task": "bit_flip"}, "env.goal"),
        ({"goal": None}, "env.encoder is a setting of image goals"),
        ({"goal_reward": "latent_sparse"}, "latent_threshold = None"),
        ({"latent_threshold": 0.1}, "latent_threshold = 0.1"),
        ({"goal_reward": "latent_distance", "reward": "dense"}, "env.reward = dense"),
    ],
)
def test_senseless_settings_are_refused_in_a_line(
    encoder: str, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError) as error:
        made(encoder, **changes)
    assert said in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_training_may_start_from_a_policy_and_keeps_it_if_it_learns_nothing_better(
    encoder: str, tmp_path: Path
) -> None:
    agent = {"hidden": [128, 128], "gamma": 0.98, "actor_after": 10**6}
    env = {**IMAGE, "encoder": encoder}
    config = tiny(env=env, agent=agent, train={"steps": 100, "start_from": "fetch_reach"})
    with pytest.raises(UserError, match="other sizes"):
        _started(dataclasses.replace(config, agent=tiny(REACH).agent))
    learner = _started(config)
    weights = learner.agent.policy.actor.state_dict()
    before = {name: value.clone() for name, value in weights.items()}
    reports_of(learner)
    assert learner.progress.updates > 0
    assert same(before, weights)


def _started(config: Any) -> Any:
    weights = load_policy(trained_policies()["fetch_reach"]).policy.state_dict()
    return build(config, env_maker(config.env), weights)
