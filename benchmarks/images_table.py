"""What the benchmark of images sums up: what each config is to reach, and what its runs came to."""

import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import trainings
from envs.shipped import trained_policies
from her_robotics import saved_policy
from her_robotics.encoders import files as encoder_files
from her_robotics.shipped import load_task_config


class Row(NamedTuple):
    """A config to train, and what it is to reach.

    Attributes:
        sees: what policy and training are given to see.
        target: success at the last step.
        steps: env steps within which to reach it, those of the policy it starts from or learns from included;
            None for any.
        minutes: the same for time, encoder included, tests left out.
    """

    sees: str
    target: float
    steps: int | None = None
    minutes: float | None = None


ROWS = {
    "fetch_reach_image": Row("state, goal image", 0.98, 20_000, 5.0),
    "fetch_reach_cnn": Row("state, goal image end to end", 0.98, 20_000, 5.0),
    "fetch_push_image": Row("state, goal image", 0.90, None, 45.0),
    "fetch_reach_pixels": Row("images alone; critic the state", 0.95, 50_000),
    "fetch_push_pixels": Row("images alone; teacher the state", 0.80, 500_000),
    "fetch_reach_pixels_only": Row("images alone, also in training", 0.90),
    "fetch_push_pixels_only": Row("images alone, also in training", 0.90),
}
"""By the name of the config."""


@dataclass(frozen=True)
class Run:
    """One config trained with one seed.

    Attributes:
        config: its name.
        seed: of encoder and policy.
        folder: where it goes.
        encoder: where its own encoder goes, if it is to train one; configs of one seed share it.
    """

    config: str
    seed: int
    folder: Path
    encoder: Path | None


def walls(folder: Path) -> Path:
    """The file beside a folder that notes the seconds of each try at what is in it."""
    return folder.with_suffix(".seconds")


def sum_up(runs: list[Run]) -> dict[str, Any]:
    """Every run's figures, and those over its seeds, by config."""
    seeds: dict[str, dict[str, dict[str, Any]]] = {}
    for run in runs:
        seeds.setdefault(run.config, {})[str(run.seed)] = figures(run)
    return {
        "success": "share of the test episodes of a run whose last step is within the threshold of "
        "the simulator's goal that the image shows",
        "steps and seconds": "those of the policy that training starts from, or learns from, and of the "
        "encoders included, tests left out",
        "wall_seconds": "of all commands of a run, start-up and tests included; a bank of goal images that "
        "was cached is not counted",
        "configs": {name: over_seeds(name, of_config) for name, of_config in seeds.items()},
    }


def figures(run: Run) -> dict[str, Any]:
    """One run: its curve, what came before it, when it first reached the target, and its last test."""
    found = trainings.figures(run.folder, ROWS[run.config].target)
    found["encoder_seconds"] = _encoder_seconds(run.folder)
    before = {"steps": 0, "seconds": found["encoder_seconds"]}
    settings = load_task_config(run.config).train
    for origin in filter(None, (settings.start_from, settings.teacher)):
        trained = saved_policy.FILES.read_card(trained_policies()[origin])["trained"]
        before = {name: before[name] + trained[name] for name in before}
    found["before"] = before
    for name, earlier in before.items():
        found[name] += earlier
        reached = found[f"{name}_to_target"]
        found[f"{name}_to_target"] = None if reached is None else reached + earlier
    folders = [run.folder, *([run.encoder] if run.encoder else [])]
    tries = " ".join(walls(folder).read_text() for folder in folders).split()
    found["wall_seconds"] = round(sum(map(float, tries)), 1)
    return found


def _encoder_seconds(folder: Path) -> float:
    """What it took to train the encoders in a run's folder, each counted once."""
    files = (encoder_files.FILES, encoder_files.OBSERVER_FILES)
    cards = [each.read_card(folder) for each in files if (folder / each.card).exists()]
    trained = {card["sha256"]: card["trained"]["seconds"] for card in cards}
    return sum(trained.values(), 0.0)


def over_seeds(config: str, seeds: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What the runs of one config come to; the median exists if more than half of them have the figure."""
    medians: dict[str, float | None] = {}
    for name in (
        "final_success",
        "steps_to_target",
        "seconds_to_target",
        "seconds",
        "wall_seconds",
    ):
        known = sorted(each[name] for each in seeds.values() if each[name] is not None)
        if len(known) == len(seeds):
            medians[name] = statistics.median(known)
        else:
            medians[name] = known[len(seeds) // 2] if len(known) > len(seeds) // 2 else None
    chosen = load_task_config(config)
    return {
        "wanted": ROWS[config]._asdict(),
        "starts_from": chosen.train.start_from,
        "teacher": chosen.train.teacher,
        "encoder": chosen.env.encoder,
        "median": medians,
        "seeds": seeds,
    }


def table(configs: dict[str, dict[str, Any]]) -> str:
    """The summary as a Markdown table."""
    lines = [
        "| config | sees | wanted | success on fresh episodes, median (all seeds) | steps to it | minutes "
        "to it, encoder included | wall-clock of a run, minutes |",
        "|---|---|---|---|--:|--:|--:|",
    ]
    for name, row in configs.items():
        wanted, median = row["wanted"], row["median"]
        bounds = [f"≥ {wanted['target']:.2f}"]
        bounds += [f"{wanted['steps']:,d} steps"] if wanted["steps"] else []
        bounds += [f"{wanted['minutes']:.0f} min"] if wanted["minutes"] else []
        every = ", ".join(f"{each['final_success']:.2f}" for each in row["seeds"].values())
        steps = median["steps_to_target"]
        cells = [
            f"`{name}`"
            + "".join(f", from `{row[o]}`" for o in ("starts_from", "teacher") if row[o]),
            wanted["sees"],
            " within ".join(bounds[:2]) + "".join(f", {bound}" for bound in bounds[2:]),
            f"{median['final_success']:.2f} ({every})",
            "not reached" if steps is None else f"{steps:,.0f}",
            *(_minutes(median[which]) for which in ("seconds_to_target", "wall_seconds")),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _minutes(seconds: float | None) -> str:
    return "not reached" if seconds is None else f"{seconds / 60.0:.1f}"
