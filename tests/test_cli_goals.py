import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from envs.goal_images import GoalPhotographer
from her_robotics.pictures import GAP

from .runs import command, names_in, the_one_line


def test_a_sheet_of_goals_is_drawn_and_said_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = command("goals", "fetch_push", "--count", "4", "--size", "64", "--seed", "3")
    assert outcome.code == 0
    assert re.fullmatch(
        r"goals\.png: 4 goals of fetch_push; all reached, to within \d\.\d mm\n", outcome.out
    )
    assert names_in(tmp_path) == {"goals.png"}
    sheet = cv2.imread(str(tmp_path / "goals.png"))[..., ::-1]
    images = GoalPhotographer("fetch_push", num_envs=4, num_threads=1).draw(4, seed=3)
    first = sheet[GAP : GAP + 192 : 3, GAP : GAP + 192 : 3]
    np.testing.assert_array_equal(first, images.pictures[0])


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ("", "TASK"),
        ("fetch_fly", "'fetch_fly' fetch_reach fetch_push"),
        ("fetch_push --count 0", "--count 0 at least 1"),
        ("fetch_push --size 8", "--size 8 at least 16"),
        ("fetch_push --camera nose", "'nose' her:table external_camera_0"),
        ("fetch_push --out goals.gif", "goals.gif .png"),
        ("fetch_push --out nowhere/goals.png", "nowhere folder"),
    ],
)
def test_a_mistake_is_told_in_one_line(
    arguments: str, named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    message = the_one_line(command("goals", *arguments.split()))
    for part in named.split():
        assert part in message
    assert names_in(tmp_path) == set()
