"""Goal images that the agent learns to embed, on real physics and pictures, from a run to a film."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from benchmarks.rank_processes import as_ranks
from her_robotics import end_to_end
from her_robotics.checkpoint import CHECKPOINT, Checkpoints
from her_robotics.errors import UserError
from her_robotics.goals.frames import FRAMES, FrameStore
from her_robotics.learner import Learner
from her_robotics.rollout import play
from her_robotics.train import train
from her_robotics.types import GoalObs

from . import rank_work
from .runs import after, command, names_in, reports_of, same, start, the_one_line, tiny

ENV = {"task": "fetch_reach", "goal": "image", "goal_images": 10, "num_threads": 1}
ENV |= {"encoder": "end_to_end", "picture_size": 16}
AGENT = {"goal_encoder": "cnn", "relative_goal": False, "hidden": [16, 16]}


@pytest.fixture(autouse=True, scope="module")
def _bank(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


def learner_of(**changes: Any) -> Learner:
    return start(tiny(**{"env": ENV, "agent": AGENT, **changes}))


def frames_of(learner: Learner) -> FrameStore:
    assert learner.frames is not None
    return learner.frames


def test_hindsight_goals_are_frames_of_the_episode_and_each_is_kept_once() -> None:
    learner = learner_of(replay={"k": 1e9})
    store, seen = frames_of(learner), []
    base: Any = learner.env.unwrapped

    def act(obs: GoalObs) -> np.ndarray:
        seen.append(base._base.pictures(camera=base._camera, size=16))
        return np.random.default_rng(len(seen)).uniform(-1, 1, (2, 4))

    episodes = play(learner.env, 50, [0, 1], act)
    learner.replay.add(episodes)
    assert store.state_dict()["added"] == 2 * 51
    numbers = episodes.achieved_goal[:, :50, 0].astype(int)
    for step, pictures in enumerate(seen):
        np.testing.assert_array_equal(store.draw(numbers[:, step]), pictures)
    batch = learner.replay.sample(64)
    assert set(batch.goal[:, 0].tolist()) <= set(episodes.achieved_goal[..., 0].ravel().tolist())
    assert batch.goal.dtype == batch.achieved_goal.dtype
    desired = store.draw(episodes.desired_goal[:, 0].astype(int))
    np.testing.assert_array_equal(desired, base.goal_pictures)


def test_room_is_made_for_what_replay_holds() -> None:
    learner = learner_of(train={"steps": 400})
    assert 400 * 51 / 50 <= frames_of(learner).room(FRAMES) < 600
    small = learner_of(train={"steps": 10**6}, replay={"capacity": 1000})
    assert 1000 * 51 / 50 <= frames_of(small).room(FRAMES) < 1300


def test_a_resumed_run_equals_one_that_never_stopped(tmp_path: Path) -> None:
    # Of 408 frames the first make room for the last.
    changes = {"train": {"steps": 400}, "eval": {"every": 200}, "replay": {"capacity": 200}}
    whole = learner_of(**changes)
    reports = [report.metrics for report in reports_of(whole)]
    assert frames_of(whole).room(FRAMES) < 4 * 2 * 51
    stopped = learner_of(**changes)  # which seeds torch, for all
    first = [report.metrics for report in reports_of(stopped, after(2))]
    Checkpoints(tmp_path).save(stopped.state_dict())
    resumed = learner_of(**changes)
    resumed.load_state_dict(Checkpoints(tmp_path).load())
    assert first + [report.metrics for report in reports_of(resumed)] == reports
    assert same(*(each.state_dict()["agent"] for each in (whole, resumed)))
    assert same(*(each.state_dict()["frames"] for each in (whole, resumed)))
    assert reports[-1]["encoder_loss"] != reports[0]["encoder_loss"]


def test_a_checkpoint_writes_the_frames_that_are_new_and_none_of_them_into_itself(
    tmp_path: Path,
) -> None:
    learner, checkpoints, sizes = learner_of(), Checkpoints(tmp_path), []

    def save() -> None:
        written = checkpoints.save(learner.state_dict())
        own = (tmp_path / CHECKPOINT).stat().st_size
        sizes.append((own, written - own))

    train(learner, save, lambda report: None, lambda: False)
    assert len(sizes) == 6
    frames, episode = 51 * 16 * 16 * 3, 4 * learner.task.shape.floats
    assert {written for _, written in sizes} == {2 * (frames + episode)}
    assert sizes[-1][0] - sizes[1][0] < frames / 10
    assert same(checkpoints.load(), learner.state_dict())


def test_ranks_that_see_other_pictures_learn_the_same_encoder(tmp_path: Path) -> None:
    settings = tiny(env=ENV, agent=AGENT, train={"steps": 400}, eval={"episodes": 2})
    first, second = as_ranks(2, rank_work.trained_on_pictures, settings, tmp_path)
    assert first.given == second.given
    before, after_training = first.given
    assert before != after_training


def test_a_run_leaves_all_that_its_policy_needs(tmp_path: Path) -> None:
    settings = (
        *("--env.goal", "image", "--env.encoder", "end_to_end", "--env.goal-images", "10"),
        *("--env.picture-size", "16", "--agent.goal-encoder", "cnn", "--wandb", "disabled"),
        *("--train.steps", "100", "--eval.episodes", "2"),
    )
    run, film, picture = tmp_path / "run", tmp_path / "film.mp4", tmp_path / "goal.png"
    outcome = command("train", "debug", *settings, "--out", run)
    assert outcome.code == 0, outcome.err
    assert "frames of goals take up to" in outcome.out
    assert not {"encoder.json", "encoder.safetensors"} & names_in(run)
    assert command("eval", run, "--episodes", 2).code == 0
    cv2.imwrite(str(picture), np.full((70, 50, 3), 128, np.uint8))
    for more in ((), ("--goal-image", picture)):
        small = ("--episodes", 1, "--size", 32, "--out", film)
        outcome = command("record", run, *small, *more)
        assert outcome.code == 0, outcome.err
        assert cv2.VideoCapture(str(film)).get(cv2.CAP_PROP_FRAME_WIDTH) == 2 * 32 + 8


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"agent": {}}, "goal_encoder = manual with env.encoder = end_to_end"),
        ({"env": {"task": "fetch_reach"}}, "goal_encoder = cnn with env.encoder = None"),
        ({"agent": {**AGENT, "name": "svg"}}, "goal_encoder = cnn means nothing to svg"),
        ({"agent": {**AGENT, "name": "dagger"}}, "goal_encoder = cnn means nothing to dagger"),
        (
            {"env": {"task": "fetch_reach"}, "agent": {"encoder_lr": 0.1}},
            "encoder_lr = 0.1 means nothing to agent.goal_encoder = manual",
        ),
        ({"env": {**ENV, "goal_reward": "latent_distance"}}, "trained beforehand"),
        ({"env": {**ENV, "observation": "image"}}, "env.observation = image needs"),
        (
            {"env": {**ENV, "encoder": "fetch_reach"}},
            "picture_size is a setting of env.encoder = end_to_end alone",
        ),
    ],
)
def test_what_does_not_fit_is_refused_in_a_line(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as error:
        learner_of(**changes)
    assert said in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_more_frames_than_memory_is_free_for_are_refused_before_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(end_to_end, "free_memory", lambda: 10**5)
    with pytest.raises(UserError, match=r"are free; choose a smaller replay\.capacity"):
        learner_of()


def test_the_command_says_the_same() -> None:
    given = ("--agent.goal-encoder", "cnn")
    assert "cnn and end_to_end need each other" in the_one_line(command("train", "debug", *given))
