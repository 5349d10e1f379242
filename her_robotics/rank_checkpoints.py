"""The checkpoints of all ranks of a run, from which they go on at the same cycle."""

from pathlib import Path
from typing import Any

from .checkpoint import Checkpoints, has_checkpoint
from .distributed import gather, launcher, rank, size
from .errors import UserError, first_line


class RankCheckpoints:
    """A run's last two checkpoints, or the last two of every rank in ``rank-<number>-of-<size>/``.

    None takes its place before all ranks have written theirs, so wherever they are killed there is a
    cycle of which all have one.

    Args:
        folder: the run folder, which all ranks see.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self.own = folder if size() == 1 else folder / f"rank-{rank()}-of-{size()}"
        """Where this rank keeps what is its own."""
        self._kept = Checkpoints(self.own)

    def save(self, state: dict[str, Any]) -> None:
        """Write this rank's, at the same time as the others.

        Raises:
            OSError: if any rank's cannot be written; the previous ones then stay.
            RuntimeError: alike.
        """
        told = False

        def agree() -> None:
            nonlocal told
            told = True
            _refuse_failures("")

        try:
            self.own.mkdir(parents=True, exist_ok=True)
            self._kept.save(state, agree)
        except (OSError, RuntimeError) as error:
            if size() > 1 and not told:
                _refuse_failures(first_line(error))
            raise

    def write_ahead(self, state: dict[str, Any]) -> bool:
        """Write some of what this rank's next checkpoint needs, if it is much; whether little is left.

        What the disk does not take is left, too: the checkpoint is to tell.
        """
        try:
            self.own.mkdir(parents=True, exist_ok=True)
            return self._kept.write_ahead(state)
        except OSError:
            return True

    def exist(self) -> bool:
        """Whether there are any to go on from."""
        return has_checkpoint(self._folder) if size() == 1 else self._latest() is not None

    def load(self) -> dict[str, Any]:
        """Read this rank's, of the latest cycle of which all have one.

        Raises:
            UserError: if there is none, it is damaged, or the run is one of another number of ranks.
        """
        if not self.exist():
            self._refuse_others()
        return self._kept.load(self._latest() if size() > 1 else None)

    def _latest(self) -> int | None:
        """Env steps of the latest that all ranks have."""
        common = set.intersection(*gather("checkpoints held", self._kept.held()))
        return max(common, default=None)

    def _refuse_others(self) -> None:
        """Refuse to go on by another number of processes: replays and seeds are those of so many.

        Raises:
            UserError: if there is one to go on by.
        """
        kinds = {path.name.partition("-of-")[2] for path in self._folder.glob("rank-*-of-*")}
        if has_checkpoint(self._folder):
            kinds.add("1")
        others = sorted(kind for kind in kinds if kind.isdecimal() and kind != str(size()))
        if others:
            raise UserError(
                f"{self._folder} is a run of {others[0]} ranks, not of {size()}: go on with it by as many, "
                f"torchrun --nproc-per-node {others[0]} -m her_robotics train --resume {self._folder}"
            )
        if size() > 1:
            raise UserError(
                f"{self._folder} holds no checkpoints of all {size()} ranks to go on from"
            )


def how_to_go_on(folder: Path) -> str:
    """The command that goes on with a run, by as many processes as there are now."""
    return f"{launcher()} train --resume {folder}"


def _refuse_failures(error: str) -> None:
    """Tell the others how this rank's writing went; no rank's counts if one has failed.

    Raises:
        OSError: naming those that have.
    """
    errors = gather("checkpoints", error)
    failed = [f"rank {number}: {each}" for number, each in enumerate(errors) if each]
    if failed:
        raise OSError("; ".join(failed))
