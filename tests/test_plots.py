import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgb

from her_robotics.errors import UserError
from her_robotics.plots import (
    picture,
    plot_against,
    plot_groups,
    plot_panels,
    plot_runs,
    read_curve,
)
from her_robotics.run_folder import CURVE, METRICS, TIMINGS, create

from .runs import debug_run, names_in, rows, tiny


def made_run(
    folder: Path, success: Sequence[float], task: str = "fetch_reach", every: int = 100
) -> Path:
    """A run folder whose tests had these success rates."""
    create(folder, tiny(env={"task": task}))
    steps = [every * (index + 1) for index in range(len(success))]
    tests = [
        {
            "step": step,
            "test/success_rate": rate,
            "test/success_low": max(0.0, rate - 0.1),
            "test/success_high": min(1.0, rate + 0.1),
        }
        for step, rate in zip(steps, success, strict=True)
    ]
    times = [{"step": step, "seconds": 0.01 * step} for step in steps]
    for name, lines in ((METRICS, tests), (TIMINGS, times)):
        (folder / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def pixels(path: Path) -> np.ndarray:
    """``(height, width, 3)`` RGB of a picture file, in [0, 1]."""
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    assert picture is not None, f"{path} is no picture"
    return picture[..., ::-1] / 255.0


def amount(picture: np.ndarray, colour: str) -> int:
    """How many pixels have a colour of matplotlib's cycle."""
    return int((np.abs(picture - to_rgb(colour)).max(axis=-1) < 0.03).sum())


def heights(picture: np.ndarray, colour: str, left: float, right: float) -> np.ndarray:
    """Rows of the pixels of a colour between two shares of the picture's width."""
    width = picture.shape[1]
    part = picture[:, int(left * width) : int(right * width)]
    return np.nonzero(np.abs(part - to_rgb(colour)).max(axis=-1) < 0.03)[0]


def test_a_curve_is_read_as_the_run_wrote_it() -> None:
    run = debug_run().folder
    curve, tests = read_curve(run), rows(run / METRICS)
    assert curve.label == "fetch_reach"
    np.testing.assert_array_equal(curve.steps, [row["step"] for row in tests])
    np.testing.assert_array_equal(curve.success, [row["test/success_rate"] for row in tests])
    np.testing.assert_array_equal(curve.low, [row["test/success_low"] for row in tests])
    np.testing.assert_array_equal(curve.high, [row["test/success_high"] for row in tests])
    np.testing.assert_array_equal(curve.seconds, [row["seconds"] for row in rows(run / TIMINGS)])


def test_the_picture_of_a_run_holds_a_curve_in_both_panels() -> None:
    picture = pixels(debug_run().folder / CURVE)
    middle = picture.shape[1] // 2
    for panel in (picture[:, :middle], picture[:, middle:]):
        assert amount(panel, "C0") > 100


def test_the_curve_rises_where_success_does(tmp_path: Path) -> None:
    plot_runs([made_run(tmp_path / "run", [0.0, 0.0, 0.5, 1.0, 1.0])], tmp_path / "curve.png")
    picture = pixels(tmp_path / "curve.png")
    start, end = (heights(picture, "C0", *span).mean() for span in ((0.08, 0.12), (0.4, 0.45)))
    assert start > 2 * end, "rows are counted from the top"


def test_a_run_with_a_single_test_can_be_drawn(tmp_path: Path) -> None:
    plot_runs([made_run(tmp_path / "run", [0.5])], tmp_path / "curve.png")
    assert pixels(tmp_path / "curve.png").std() > 0


def test_runs_of_one_task_share_a_colour_and_tasks_do_not(tmp_path: Path) -> None:
    reach = [made_run(tmp_path / f"r{i}", [0.1 * i, 0.9, 1.0]) for i in range(3)]
    push = [made_run(tmp_path / f"p{i}", [0.0, 0.1 * i], "fetch_push") for i in range(2)]
    plot_runs(reach, tmp_path / "one.png")
    plot_runs([*reach, *push], tmp_path / "two.png")
    one, two = pixels(tmp_path / "one.png"), pixels(tmp_path / "two.png")
    assert amount(one, "C0") > 100
    assert amount(one, "C1") == 0
    assert amount(two, "C0") > 100
    assert amount(two, "C1") > 100
    assert amount(two, "C2") == 0


def test_several_runs_are_drawn_as_their_middle(tmp_path: Path) -> None:
    runs = [made_run(tmp_path / f"r{rate}", [rate] * 3) for rate in (0.0, 0.5, 1.0)]
    plot_runs(runs, tmp_path / "all.png")
    plot_runs(runs[1:2], tmp_path / "middle.png")
    together = np.median(heights(pixels(tmp_path / "all.png"), "C0", 0.1, 0.3))
    alone = np.median(heights(pixels(tmp_path / "middle.png"), "C0", 0.1, 0.3))
    assert abs(together - alone) < 3


def test_drawing_leaves_no_figure_open_even_if_it_fails(tmp_path: Path) -> None:
    run = made_run(tmp_path / "run", [0.5, 1.0])
    plot_runs([run], tmp_path / "curve.png")
    with pytest.raises((UserError, OSError)):
        plot_runs([run], tmp_path / "missing" / "curve.png")
    assert plt.get_fignums() == []


def test_a_picture_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    run, output = made_run(tmp_path / "run", [0.5, 1.0]), tmp_path / "curve.png"
    output.mkdir()
    with pytest.raises((UserError, OSError)):
        plot_runs([run], output)
    assert names_in(tmp_path) == {"run", "curve.png"}
    assert names_in(output) == set()


@pytest.mark.parametrize(
    ("name", "text", "named"),
    [
        (METRICS, "", "holds no test yet"),
        (METRICS, '{"step": 100}\n', "test/success_rate"),
        (METRICS, '{"step": 100, "test/success_rate": "half"}\n', METRICS),
        (TIMINGS, '{"step": 100}\n', TIMINGS),
    ],
)
def test_a_run_that_lacks_figures_is_refused(
    tmp_path: Path, name: str, text: str, named: str
) -> None:
    run = made_run(tmp_path / "run", [0.5, 1.0])
    (run / name).write_text(text)
    with pytest.raises(UserError, match=named):
        plot_runs([run], tmp_path / "curve.png")
    assert names_in(tmp_path) == {"run"}


def test_a_run_that_has_not_been_tested_yet_is_refused(tmp_path: Path) -> None:
    create(tmp_path / "run", tiny())
    with pytest.raises(UserError, match="holds no test yet"):
        plot_runs([tmp_path / "run"], tmp_path / "curve.png")


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a run folder"):
        plot_runs([tmp_path], tmp_path / "curve.png")


def test_a_drawing_that_fails_leaves_neither_picture_nor_figure(tmp_path: Path) -> None:
    with pytest.raises(TypeError), picture(tmp_path / "a.png", 3) as axes:
        axes[2].plot(object())
    assert names_in(tmp_path) == set()
    assert plt.get_fignums() == []


def test_success_against_a_number_is_drawn_high_where_it_is_high(tmp_path: Path) -> None:
    output = tmp_path / "picture.png"
    lines = {
        "with": {10.0: [1.0, 1.0], 20.0: [1.0, 0.9]},
        "without": {20.0: [0.0, 0.0], 10.0: [1.0, 0.8]},
    }
    plot_against(output, "bits", lines)
    assert names_in(tmp_path) == {"picture.png"}
    picture = pixels(output)
    high, falling = (heights(picture, colour, 0.6, 0.9) for colour in ("C0", "C1"))
    assert high.mean() < falling.mean()
    assert falling.max() > 0.7 * len(picture)
    assert not plt.get_fignums()


def test_groups_have_a_colour_each_and_runs_of_single_tests_are_dots(tmp_path: Path) -> None:
    few = [made_run(tmp_path / f"f{i}", [0.5 + 0.2 * i], every=100 + i) for i in range(2)]
    many = [made_run(tmp_path / "m", [0.1, 0.9, 1.0])]
    plot_groups({"few": few, "many": many}, tmp_path / "groups.png")
    picture = pixels(tmp_path / "groups.png")
    assert amount(picture, "C1") > 100
    assert (picture[..., 2] - picture[..., 0] > 0.15).sum() > 20, "pale blue"


def test_panels_stand_in_rows_and_hold_the_curves_that_are_theirs(tmp_path: Path) -> None:
    high, low = (
        [made_run(tmp_path / f"{rate}{seed}", [rate, rate + 0.1 * seed]) for seed in range(2)]
        for rate in (0.8, 0.1)
    )
    panels = {"both": {"high": high, "low": low}, "high": {"high": high}, "low": {"low": low}}
    plot_panels(tmp_path / "panels.png", panels, columns=2)
    shown = pixels(tmp_path / "panels.png")
    rows, columns = np.array(shown.shape[:2]) // 2
    both, alone = shown[:rows, :columns], shown[:rows, columns:]
    below, empty = shown[rows:, :columns], shown[rows:, columns:]
    for colour in ("C0", "C1"):
        assert amount(both, colour) > 100
    assert heights(both, "C0", 0.3, 0.6).mean() < heights(both, "C1", 0.3, 0.6).mean()
    assert heights(alone, "C0", 0.3, 0.6).mean() < heights(below, "C0", 0.3, 0.6).mean()
    assert amount(alone, "C1") == amount(below, "C1") == 0
    assert empty[rows // 4 :, columns // 4 :].min() == 1.0, "there are three of four"
    assert plt.get_fignums() == []
