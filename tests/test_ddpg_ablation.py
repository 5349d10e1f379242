"""The ablation of DDPG: that its variants are what they are called, and how the verdict comes about."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.cells import Cell
from benchmarks.ddpg_ablation import (
    PAIRS,
    PIXELS,
    RANDOM,
    VARIANTS,
    Ablation,
    Arguments,
    cells_of,
    conclude,
    draw,
    format_verdict,
    judge,
    late,
    refuse_nonsense,
)
from benchmarks.methods import TASKS, format_results, run_cell, sum_up
from her_robotics.agents import DDPG
from her_robotics.config import AgentConfig
from her_robotics.errors import UserError
from her_robotics.methods import Problem
from her_robotics.types import Batch, EpisodeShape

SHAPE = EpisodeShape(horizon=5, observation=3, goal=2, action=2)


def arguments(folder: Path, **options: Any) -> Arguments:
    small = {"tasks": ("point_robot",), "seeds": (0, 1), "budget": 160, "tests": 2, "episodes": 4}
    return Arguments(**{**small, "hidden": (8, 8), "runs": folder, **options})


def test_an_ablation_from_its_cells_to_its_verdict(tmp_path: Path) -> None:
    work = Ablation(arguments(tmp_path))
    cells = cells_of(work.given)
    assert len(cells) == 2 * len(VARIANTS), "random actions too, but no pixels of a point robot"
    for cell in cells:
        run_cell(work, cell)
        assert work.is_done(cell)
    results = sum_up(work, cells)
    found = results["tasks"]["point_robot"]
    ends = {name: figures["return"]["mean"] for name, figures in found.items()}
    assert len(set(ends.values())) == len(ends), "no two variants are the same"
    verdict = judge(results["tasks"])
    assert [each["pair"] for each in verdict["losses"]] == [list(pair) for pair in PAIRS.items()]
    assert sum(verdict["counts"].values()) == len(PAIRS)
    assert [line.split()[0] for line in format_results(results).splitlines()[1:]] == list(found)
    assert format_verdict(verdict).splitlines()[-1].startswith('"Target networks are crucial": ')
    draw(tmp_path / "drawn.png", results["tasks"])
    assert (tmp_path / "drawn.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(UserError, match=r"was run with updates = 1.0, not 2.0"):
        Ablation(replace(work.given, updates=2.0)).is_done(Cell("point_robot", "target", 0))


@pytest.mark.parametrize(("variant", "follows"), [("no_target", True), ("target", False)])
def test_without_target_networks_targets_are_the_networks(variant: str, follows: bool) -> None:
    torch.manual_seed(0)
    config = AgentConfig(hidden=(8, 8), **{"tau": 0.01, **VARIANTS[variant]})
    agent = DDPG(SHAPE, config, (-np.inf, np.inf))
    agent.update(
        Batch(
            torch.randn(2, 16, 3),
            torch.randn(2, 16, 2),
            torch.randn(16, 2),
            torch.randn(16, 2),
            torch.randn(16),
        )
    )
    networks = [(agent.critics, agent.target_critics), (agent.policy.actor, agent.target_actor)]
    for network, target in networks:
        same = [
            torch.equal(one, other)
            for one, other in zip(
                network.state_dict().values(), target.state_dict().values(), strict=True
            )
        ]
        assert all(same) is follows


def test_pixels_are_all_that_is_seen_of_the_arm(tmp_path: Path) -> None:
    given = arguments(tmp_path, tasks=("fetch_reach", "pendulum"), methods=("target", PIXELS))
    work, cells = Ablation(given), cells_of(given)
    assert {cell.task for cell in cells if cell.variant == PIXELS} == {"fetch_reach"}
    learning = work.method(cells[1])(replace(work.problem(cells[1]), budget=200))
    step = next(learning)
    learning.close()  # type: ignore[attr-defined]
    policy = step.act.__self__  # type: ignore[attr-defined]
    sight, goal = 6, 3  # an embedding of 3 numbers, and its change from one frame to the next
    assert step.steps == 200
    assert policy.state_goal_size == sight + goal


@pytest.mark.parametrize("variant", [each for each in VARIANTS if each != PIXELS])
def test_variants_batch_normalise_where_they_are_called_so(tmp_path: Path, variant: str) -> None:
    method = Ablation(arguments(tmp_path)).method(Cell("point_robot", variant, 0))
    learning = method(Problem(TASKS["point_robot"].make_env, 80, hidden=(8, 8)))
    policy = next(learning).act.__self__  # type: ignore[attr-defined]
    learning.close()  # type: ignore[attr-defined]
    layers = [isinstance(each, torch.nn.BatchNorm1d) for each in policy.actor.modules()]
    assert any(layers) is ("batch_norm" in variant)


def test_the_last_half_of_the_tests_counts() -> None:
    run = {"curve": [{"success": each, "return": 0.0} for each in (0.0, 1.0, 0.2, 0.8)]}
    assert late("fetch_reach", run) == pytest.approx(0.5)
    assert late("pendulum", run) == 0.0


def made(task: str, **scores: list[float]) -> dict[str, Any]:
    """Results of a task whose variants have these late scores, a seed each."""
    return {
        task: {
            name: {"runs": [{"curve": [{"success": each, "return": each}]} for each in values]}
            for name, values in scores.items()
        }
    }


@pytest.mark.parametrize(
    ("having", "lacking", "verdict", "share"),
    [
        ([1.0, 1.0, 0.9], [0.1, 0.0, 0.2], "crucial", 2.6 / 2.9),
        ([1.0, 1.0, 0.9], [0.9, 1.0, 1.0], "not crucial", 0.0),
        ([1.0, 1.0, 1.0], [1.0, 0.0, 0.5], "open", 0.5),
        ([0.0, 0.1, 0.0], [0.0, 0.0, 0.0], "nothing learnt", None),
    ],
)
def test_verdicts_by_hand(
    having: list[float], lacking: list[float], verdict: str, share: float | None
) -> None:
    scores = {"target": having, "no_target": lacking, RANDOM: [0.0, 0.0, 0.0]}
    (found,) = judge(made("fetch_reach", **scores))["losses"]
    assert found["verdict"] == verdict
    assert found["share"] == (share if share is None else pytest.approx(share))
    if share is not None:
        low, high = found["interval"]
        assert low <= share <= high


def test_returns_are_measured_from_those_of_random_actions() -> None:
    scores = {"target": [-200.0, -200.0], "no_target": [-500.0, -500.0], RANDOM: [-1200.0, -1200.0]}
    (found,) = judge(made("pendulum", **scores))["losses"]
    assert found["share"] == pytest.approx(0.3)
    assert found["interval"] == pytest.approx([0.3, 0.3])
    assert "-500.00" in format_verdict(judge(made("pendulum", **scores)))


def test_one_seed_decides_nothing_and_pairs_that_are_not_whole_are_left_out() -> None:
    scores = {"target": [1.0], "no_target": [0.0], "batch_norm": [0.0], RANDOM: [0.0]}
    verdict = judge(made("fetch_reach", **scores))
    assert [each["verdict"] for each in verdict["losses"]] == ["open"]
    assert verdict["crucial"] == "open"
    assert format_verdict(verdict).splitlines()[1].split()[-2:] == ["-", "open"]


@pytest.mark.parametrize(
    ("counts", "conclusion"),
    [
        ((3, 0, 0, 1), "confirmed"),
        ((0, 3, 0, 1), "refuted"),
        ((2, 1, 1, 0), "confirmed in part"),
        ((2, 0, 1, 0), "open"),
        ((0, 0, 0, 4), "open"),
    ],
)
def test_conclusions(counts: tuple[int, ...], conclusion: str) -> None:
    names = ("crucial", "not crucial", "open", "nothing learnt")
    assert conclude(dict(zip(names, counts, strict=True))) == conclusion


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"methods": ("ddpg",)}, "unknown method 'ddpg': choose among random, no_target"),
        ({"updates": 0.0}, r"--updates must be above 0, not 0\.0"),
        ({"updates": float("nan")}, r"--updates must be above 0, not nan"),
        ({"budget": 0}, "--budget must be at least 1, not 0"),
        ({"hidden": (8,)}, r"--hidden must be two or more widths, not \(8,\)"),
    ],
)
def test_nonsense_is_refused(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(SystemExit, match=words):
        refuse_nonsense(arguments(tmp_path, **options))
