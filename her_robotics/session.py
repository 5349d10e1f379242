"""One run from start to finish: folder, trackers, training, and what is left behind."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from .building import MakeEnv, build
from .checkpoint import CHECKPOINT
from .config import Config
from .console import Bar, StopRequest, duration, listening_for_stop
from .distributed import RankError, check_alike, floats, gather, has_restarted, rank, size
from .encoders.files import encoder_checksums
from .errors import UserError
from .evaluate import Evaluation
from .files import replacing
from .plots import plot_runs
from .rank_checkpoints import RankCheckpoints, how_to_go_on
from .replay import Replay
from .rollout import DIED, Divergence, NonFiniteError, episode_seeds
from .run_folder import CURVE, DIVERGED, VIDEO, create, extend, is_of, provenance
from .saved_policy import SavedPolicy, save_policy
from .strict import to_mapping
from .tracking import Tracker, start_trackers
from .train import FINAL, Report, train
from .video import VideoError, film, write_video

MOST_KEPT = 20
"""Diverged episodes that are kept for inspection."""


class Session:
    """A run in its folder. Of several ranks, the first alone tracks, films and writes the policy.

    Args:
        config: resolved configuration.
        folder: the run folder.
        make_env: builds the task's vector env.
        resume: whether to go on from the folder's checkpoint.
        weights: of the policy named by ``train.start_from``.
        teacher: the policy named by ``train.teacher``.
        trackers: told the run's figures beside those that keep them.

    Raises:
        UserError: if the folder, the checkpoint or the configuration cannot be used.
    """

    def __init__(
        self,
        config: Config,
        folder: Path,
        make_env: MakeEnv,
        resume: bool = False,
        weights: dict[str, torch.Tensor] | None = None,
        teacher: SavedPolicy | None = None,
        trackers: Sequence[Tracker] = (),
    ):
        self.config, self.folder, self._make_env = config, folder, make_env
        self._first, self._checkpoints = rank() == 0, RankCheckpoints(folder)
        if config.video.enabled and self._first:
            _check_rendering(make_env)
        again = any(gather("restarts", has_restarted()))
        resume = resume or (again and is_of(folder, config) and self._checkpoints.exist())
        state = self._checkpoints.load() if resume else None
        self.learner = build(config, make_env, weights, teacher)
        if state is None:
            if self._first:
                create(folder, config, again)
        else:
            try:
                self.learner.load_state_dict(state)
            except UserError as error:
                raise UserError(f"cannot resume from {folder / CHECKPOINT}: {error}") from error
            if self._first:
                extend(folder, config.train.steps)
        settings = {"configuration": to_mapping(config), "cycle": self.learner.progress.steps}
        check_alike({**settings, **self.learner.shared()}, "at the start")
        self.learner.keep = self._keep
        self._watching, self._trackers = tuple(trackers), list[Tracker]()
        self._checkpointed = time.monotonic()
        self._resume_at = self.learner.progress.tested_at if resume else None

    def run(self) -> int:
        """Train, then test, film and plot; returns the process's exit code.

        A first Ctrl-C or SIGTERM ends the cycle, saves, and says how to resume.

        Raises:
            NonFiniteError: after saving, if an action is not finite, or most episodes diverge.
        """
        self._encoders = encoder_checksums(self.folder)
        self._announce()
        settings = {**to_mapping(self.config), "provenance": provenance()}
        if self._first:
            kept = start_trackers(
                self.folder, settings, self.config.wandb, self.config.wandb_project, self._resume_at
            )
            self._trackers = [*kept, *self._watching]
        try:
            with listening_for_stop() as stop:
                self._train(stop)
            result = None if stop() else self._leave_behind()
        finally:
            for tracker in self._trackers:
                tracker.finish()
            self.learner.close()
        if result is None:
            if self._first:
                print(f"stopped. Go on with: {how_to_go_on(self.folder)}")
            return stop.exit_code
        if self._first:
            self._say_where(result)
        return 0

    def _train(self, stop: StopRequest) -> None:
        progress, budget = self.learner.progress, self.config.train.steps
        bar = Bar(budget, progress, shown=self._first)

        def on_report(report: Report) -> None:
            if self._first:
                bar.report(report)
            try:
                for tracker in self._trackers:
                    tracker.log(report.metrics, report.timings)
            except UserError as error:
                raise UserError(f"{error}: the run stops{self._how_to_go_on()}") from error

        def on_cycle() -> None:
            bar.advance()
            little = self._checkpoints.write_ahead(self.learner.state_dict())
            since = time.monotonic() - self._checkpointed
            due = little and since > self.config.train.checkpoint_seconds
            if all(gather("whether to save", due)) or progress.steps >= budget:
                self._save()

        def agreed() -> bool:
            stop.signal = next(filter(None, gather("whether to stop", stop.signal)), None)
            return stop()

        try:
            train(self.learner, on_cycle, on_report, agreed)
        except NonFiniteError:
            self._save_if_sound()
            raise
        except RankError as error:
            raise RankError(f"{error}{self._how_to_go_on()}") from error
        finally:
            bar.close()
        if progress.steps < budget:  # it was stopped; at its end it is saved by the last cycle
            self._save()

    def _save(self) -> None:
        """Write the checkpoint; a disk that refuses costs the checkpoint, not the run."""
        try:
            self._checkpoints.save(self.learner.state_dict())
        except (OSError, RuntimeError) as error:
            text = f"warning: no checkpoint was written ({error}); the previous one stays"
            print(text, file=sys.stderr)
        self._checkpointed = time.monotonic()

    def _save_if_sound(self) -> None:
        """Save what was learnt before something was not finite, unless that is it."""
        said = "weights are not finite, so nothing more is saved"
        if all(tensor.isfinite().all() for _, tensor in floats(self.learner.shared())):
            self._save()
            said = f"what was learnt before it is saved: {how_to_go_on(self.folder)}"
        if self._first:
            print(said)

    def _how_to_go_on(self) -> str:
        # Others are elsewhere when the first fails to write, so they cannot be asked what they have.
        if size() == 1 and not self._checkpoints.exist():
            return ""
        return f". Once that is mended: {how_to_go_on(self.folder)}"

    def _keep(self, divergence: Divergence) -> None:
        """Write an episode that diverged; of very many the first ones will do."""
        number = self.learner.progress.diverged
        if number > MOST_KEPT:
            return
        path = self._checkpoints.own / DIVERGED / f"{number:04d}.npz"
        if number == 1:
            whose = "process" if divergence.cause == DIED else "simulation"
            tqdm.write(
                f"warning: the {whose} of env {divergence.env} {divergence.cause} at step {divergence.step}: "
                f"the episode is dropped, what led to it is in {path}, and training goes on",
                file=sys.stderr,
            )
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as aside, aside.open("wb") as file:
                np.savez(file, **divergence._asdict())
        except OSError as error:
            print(f"warning: {path} was not written ({error.strerror})", file=sys.stderr)

    def _leave_behind(self) -> Evaluation:
        """Test the best policy on fresh episodes, save it, plot and film."""
        learner, progress = self.learner, self.learner.progress
        learner.agent.averaged.load_state_dict(learner.best_policy)
        result = learner.evaluate(FINAL)
        if not self._first:
            return result
        ranks = {"ranks": size()} if size() > 1 else {}
        teacher = self.config.train.teacher
        save_policy(
            self.folder,
            learner.best_policy,
            learner.task.shape,
            self.config.env,
            self.config.agent,
            {
                "trained": {
                    "seed": self.config.seed,
                    "steps": progress.steps,
                    "chosen_at_step": progress.best_step,
                    "seconds": round(progress.seconds, 1),
                    **({"teacher": teacher} if teacher else {}),
                    **ranks,
                },
                "test": result.metrics(""),
                "encoders": self._encoders,
                "provenance": provenance(),
            },
        )
        plot_runs([self.folder], self.folder / CURVE)
        if self.config.video.enabled:
            try:
                self._film()
            except (
                VideoError,
                NonFiniteError,
            ) as error:  # the policy is what matters, and it is saved
                print(f"warning: {error}", file=sys.stderr)
        return result

    def _film(self) -> None:
        video = self.config.video
        env = self._make_env(
            video.episodes, test=True, render_mode="rgb_array", width=video.size, height=video.size
        )
        seeds = episode_seeds(self.config.seed, FINAL, 0, video.episodes)
        title = self.config.env.task
        frames = film(env, self.learner.task, self.learner.agent.averaged.act, seeds, title)
        env.close()
        write_video(self.folder / VIDEO, frames)

    def _announce(self) -> None:
        if not self._first:
            return
        shape, progress = self.learner.task.shape, self.learner.progress
        memory = Replay.memory(shape, self.config.replay.capacity) / 2**20
        kept = self.learner.episode_bytes / 2**20
        start = f"from step {progress.steps:,d} " if progress.steps else ""
        each = f" in each of {size()} ranks" if size() > 1 else ""
        print(
            f"{self.config.env.task}: training {start}to {self.config.train.steps:,d} steps in "
            f"{self.folder}\nreplay takes {memory:,.0f} MiB{each} for {self.config.replay.capacity:,d} "
            f"transitions (reserved now, filled as they come)\n"
            f"checkpoints write what is new, and come to {kept:,.0f} MiB of episodes when that is full",
            flush=True,
        )
        if frames := self.learner.frames:
            print(f"frames of goals take up to {frames.bytes / 2**20:,.0f} MiB", flush=True)

    def _say_where(self, result: Evaluation) -> None:
        low, high = result.interval
        progress = self.learner.progress
        print(
            f"success {result.success_rate:.2f} [{low:.2f}, {high:.2f}] on {result.episodes} fresh "
            f"episodes, after {progress.steps:,d} steps and {duration(progress.seconds)} of training"
        )
        print(
            f"policy   {self.folder / 'policy.safetensors'} (best test, step {progress.best_step:,d})"
        )
        print(f"curve    {self.folder / CURVE}")
        if (self.folder / VIDEO).exists():
            print(f"watch    {self.folder / VIDEO} (any browser plays it)")
        print(f"again    her-robotics eval {self.folder}")


def _check_rendering(make_env: MakeEnv) -> None:
    """Draw one frame, so that a machine that cannot fails before training rather than after."""
    try:
        env: Any = make_env(1, render_mode="rgb_array", width=64, height=64)
        env.reset(seed=0)
        frames = env.render()
        env.close()
        if frames is None or any(frame is None for frame in frames):
            raise UserError("the env draws no pictures")
    except (UserError, ValueError) as error:
        raise UserError(f"{error}. Without a film: --video.enabled false") from error
