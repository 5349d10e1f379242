"""Grids of trainings: an ablation and HER's figure in seconds, and what is made of made-up runs."""

import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import ablation, her_figure
from benchmarks.cells import Cell
from benchmarks.grid import estimate, format_table, list_cells, over_seeds, trainings
from benchmarks.trainings import _config
from her_robotics.config import Config
from her_robotics.errors import UserError
from her_robotics.run_folder import METRICS
from her_robotics.strict import to_mapping

from .runs import command, rows
from .test_plots import amount, pixels

TINY = (
    "--env.num-envs 1 --agent.hidden 8 --replay.capacity 10000 --train.updates-per-step 0.1 "
    "--train.batch-size 16 --exploration.guide.updates 5 --eval.every 50 --eval.episodes 2"
)


def run(module: Any, folder: Path, trained: tuple[int, ...], **given: Any) -> int:
    """A grid of which some seeds are trained, by its own command lines, in this process."""
    where = {"runs": folder / "runs", "out": str(folder / "out" / "grid.json")}
    arguments = module.Arguments(steps=100, options=TINY, finished=True, **where, **given)
    work = trainings(arguments, module.VARIANTS)
    for cell in list_cells(arguments, arguments.tasks, module.VARIANTS):
        if cell.seed in trained:
            assert command("train", *work.next_arguments(cell)).code == 0
    return module.run(arguments)


def test_an_ablation_is_summed_up_drawn_and_told_what_it_lacks(tmp_path: Path) -> None:
    variants = ("full", "no-hindsight")
    given = {"tasks": ("fetch_push",), "seeds": (3, 2), "variants": variants}
    assert run(ablation, tmp_path, trained=(3,), **given) == 0
    result = json.loads((tmp_path / "out" / "grid.json").read_text())
    summary = result["results"]
    assert summary["missing"] == [f"fetch_push-{variant}-s2" for variant in variants]
    assert list(summary["tasks"]["fetch_push"]) == list(variants)
    for variant, row in summary["tasks"]["fetch_push"].items():
        tests = rows(tmp_path / "runs" / f"fetch_push-{variant}-s3" / METRICS)
        success = [test["test/success_rate"] for test in tests]
        assert row["seeds"]["3"]["curve"] == success
        assert row["last_success"]["mean"] == success[-1]
        assert row["mean_success"]["mean"] == pytest.approx(np.mean(success))
        assert [point["step"] for point in row["curve"]] == [50, 100]
        assert row["options"].startswith(ablation.LEVERS[variant])
    table = (tmp_path / "out" / "grid.md").read_text()
    assert table.splitlines()[0].startswith("| fetch_push | last test |")
    assert "Not trained yet: fetch_push-full-s2, fetch_push-no-hindsight-s2." in table
    assert amount(pixels(tmp_path / "out" / "grid.png"), "C1") > 100
    assert result["benchmark"] == "ablation"
    assert result["provenance"]["machine"]["cores"] >= 1


def test_the_figure_draws_a_variant_in_every_panel_that_it_is_of(tmp_path: Path) -> None:
    variants = ("sparse-ddpg-counts", "sparse-her-future", "shaped-her-final")
    given = {"tasks": ("fetch_slide",), "seeds": (0,), "variants": variants}
    assert run(her_figure, tmp_path, trained=(0,), **given) == 0
    summary = json.loads((tmp_path / "out" / "grid.json").read_text())["results"]
    assert summary["missing"] == []
    counted = rows(tmp_path / "runs" / "fetch_slide-sparse-ddpg-counts-s0" / METRICS)
    assert 0.0 < counted[-1]["train/bonus"] < 1.0
    tall, wide, _ = np.shape(pixels(tmp_path / "out" / "grid.png"))
    assert wide > 3 * tall, "three panels side by side"
    for row in summary["tasks"]["fetch_slide"].values():
        assert row["last_success"]["interval"] is None, "one seed says nothing of others"


def settings(config: Config) -> dict[str, Any]:
    return {
        f"{section}.{name}": value
        for section, values in to_mapping(config).items()
        if isinstance(values, dict)
        for name, value in values.items()
    }


@pytest.mark.parametrize("task", ablation.VARIANTS)
def test_a_lever_changes_what_it_says_and_nothing_else(task: str) -> None:
    variants = ablation.VARIANTS[task]
    configs = {name: settings(_config(task, options)) for name, options in variants.items()}
    full = configs.pop(ablation.FULL)
    for name, config in configs.items():
        changed = [setting for setting in full if config[setting] != full[setting]]
        named = {
            word.split(".")[1].replace("-", "_")
            for word in variants[name].split()
            if "." in word[2:]
        }
        assert changed, f"{name} is full"
        assert {setting.split(".")[1] for setting in changed} <= named
    assert len({json.dumps(config) for config in configs.values()}) == len(configs)


def test_the_figures_variants_differ_in_reward_goals_and_counts_alone() -> None:
    allowed = {"env.reward", "replay.strategy", "replay.k", "exploration.count_bonus"}
    configs = [
        settings(_config("fetch_slide", each))
        for each in her_figure.VARIANTS["fetch_slide"].values()
    ]
    differing = {name for config in configs for name in config if config[name] != configs[0][name]}
    assert differing == allowed
    assert len(configs) == 4 * 2 + 4
    assert configs[0]["env.distance_threshold"] == 0.2


def test_the_figures_settings_do_not_depend_on_the_task() -> None:
    configs = [
        settings(_config(task, variants["sparse-her-future"]))
        for task, variants in her_figure.VARIANTS.items()
    ]
    parts = ("agent", "replay", "exploration", "train")
    for name in configs[0]:
        if name.startswith(parts):
            assert all(config[name] == configs[0][name] for config in configs), name
    assert configs[0]["exploration.guide"]["name"] == "mover", "a relay is a prior on the task"


def test_every_variant_of_the_figure_has_its_place_once_and_k_four_has_two() -> None:
    names = list(her_figure.VARIANTS["fetch_push"])
    placed = {name: her_figure.places(name, names) for name in names}
    spots = [spot for each in placed.values() for spot in each]
    assert len(spots) == len(set(spots)) == 4 * 2 + 5
    assert placed["sparse-her-future"] == [
        ("sparse reward", "her-future"),
        ("HER future, k", "k = 4"),
    ]


def made(success: list[float], reached: int | None) -> dict[str, Any]:
    curve = [{"step": 10 * i, "success": s} for i, s in enumerate(success)]
    return {"curve": curve, "steps_to_target": reached, "final_success": 1.0, "seconds": 60.0}


def test_figures_over_seeds_are_those_of_the_middle_half() -> None:
    seeds = {str(i): made([0.0, 0.1 * i], 10 * i if i < 3 else None) for i in range(5)}
    row = over_seeds(seeds)
    assert row["last_success"]["interquartile_mean"] == pytest.approx(0.2)
    low, high = row["last_success"]["interval"]
    assert 0.0 <= low < 0.2 < high <= 0.4
    assert row["steps_to_target"] == 20
    assert row["reached_target"] == 3
    assert row["curve"][0]["interval"] == [0.0, 0.0]
    outlier = estimate(np.array([0.9, 0.9, 0.9, 0.1]))
    assert outlier["interquartile_mean"] == pytest.approx(0.9)
    assert outlier["mean"] == pytest.approx(0.7)
    del seeds["0"]
    assert over_seeds(seeds)["steps_to_target"] is None, "half of them did not get there"
    text = format_table({"tasks": {"t": {"v": row}}, "missing": []}, 0.95)
    assert text.splitlines()[2].endswith("| 20 (3 of 5) | 1.0 |")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"tasks": ("fetch_fly",)},
            "unknown task 'fetch_fly': choose among fetch_push, fetch_pick",
        ),
        ({"variants": ("no-luck",)}, "unknown variant 'no-luck': choose among full, no-guide"),
        ({"tasks": ("fetch_push",), "variants": ("no-drift",)}, "unknown variant 'no-drift'"),
        ({"seeds": (1, 1)}, r"--seeds must be different .*, not \[1, 1\]"),
        ({"target": 0.0}, "--target must be above 0"),
    ],
)
def test_nonsense_is_refused(changes: dict[str, Any], said: str) -> None:
    given = ablation.Arguments(**changes)
    with pytest.raises(UserError, match=said):
        list_cells(given, given.tasks, ablation.VARIANTS)


def test_without_a_finished_run_there_is_nothing_to_sum_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(ablation, tmp_path, trained=(), tasks=("fetch_push",), variants=("full",)) == 2
    assert "none of these runs has finished yet" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_whole_tables_of_fewer_seeds_come_first() -> None:
    given = ablation.Arguments(seeds=(5, 6), variants=("full", "relay"))
    cells = list_cells(given, given.tasks, ablation.VARIANTS)
    push, lift = ablation.VARIANTS
    some = [(push, "full"), (push, "relay"), (lift, "full")]
    assert cells == [Cell(*each, seed) for seed, each in product((5, 6), some)]
