"""`her-robotics demo`: a picture and a table of each method, with intervals."""

import re
from pathlib import Path

import cv2
import pytest

from her_robotics.demos import DEMOS
from her_robotics.demos.demo import table

from .runs import command, names_in, the_one_line

SMALL = {
    "estimators": ("--repeats", "400"),
    "known_mdp": ("--seeds", "2", "--updates", "3", "--trajectories", "2"),
}
NUMBER = r"(-?\d[\d.]*(?:e[+-]\d+)?)"
INTERVAL = re.compile(rf"{NUMBER} \[{NUMBER}, {NUMBER}\]")


def shown(name: str, out: Path, *options: str) -> str:
    """The tables of a small run, which are also in the file."""
    outcome = command("demo", name, "--out", out, *SMALL[name], *options)
    assert (outcome.code, outcome.err) == (0, "")
    text = (out / f"{name}.txt").read_text(encoding="utf-8")
    assert outcome.out == f"{text}\n{out / name}.png\n{out / name}.txt\n"
    return text


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What all demos left in one folder, which is not there before."""
    folder = tmp_path_factory.mktemp("demos") / "new" / "folder"
    for name in DEMOS:
        shown(name, folder)
    return folder


@pytest.mark.parametrize("name", DEMOS)
def test_a_demo_leaves_a_picture_and_a_table_with_intervals(name: str, folder: Path) -> None:
    assert names_in(folder) == {f"{each}{end}" for each in DEMOS for end in (".png", ".txt")}
    picture = cv2.imread(str(folder / f"{name}.png"))
    assert picture is not None
    assert picture.std() > 10.0
    for block in (folder / f"{name}.txt").read_text(encoding="utf-8").strip().split("\n\n"):
        _, *rows = block.splitlines()
        assert len(rows) >= 2
        for row in rows:
            found = INTERVAL.findall(row)
            assert len(found) >= 2
            for middle, low, high in found:
                assert float(low) <= float(middle) <= float(high)


@pytest.mark.parametrize("name", DEMOS)
def test_the_seed_decides_the_table(name: str, folder: Path, tmp_path: Path) -> None:
    first = (folder / f"{name}.txt").read_text(encoding="utf-8")
    assert shown(name, tmp_path) == first
    assert shown(name, tmp_path, "--seed", "1") != first


def test_the_variances_shown_are_those_of_theory(folder: Path) -> None:
    lines = (folder / "estimators.txt").read_text(encoding="utf-8").splitlines()[1:4]
    found = {line[:26].strip(): INTERVAL.findall(line) for line in lines}
    ratio, path = found["likelihood ratio"], found["pathwise"]
    # θ⁴/σ² + 14 θ² + 15 σ² and 4 σ², over the number of samples.
    for figures, alone in ((ratio, 30.0), (path, 4.0)):
        assert [float(figures[i][0]) * n for i, n in ((0, 8), (1, 128))] == pytest.approx(
            [alone, alone], rel=0.25
        )


def test_without_out_a_demo_writes_under_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert command("demo", "estimators", "--repeats", "100").code == 0
    assert names_in(tmp_path / "runs" / "demo-estimators") == {"estimators.png", "estimators.txt"}


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ("", "estimators, known_mdp"),
        ("fly", "'fly' estimators, known_mdp"),
        ("estimators --repeats 5", "repeats = 5 at least 100"),
        ("estimators --seed -1", "seed = -1 [0, 4294967295]"),
        ("known_mdp --seeds 1", "seeds = 1 at least 2"),
        ("known_mdp --step-size 0", "step_size 0.0 more than 0"),
        ("known_mdp --fly", "--fly"),
    ],
)
def test_a_mistake_is_told_in_one_line(
    arguments: str, named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    message = the_one_line(command("demo", *arguments.split()))
    for part in named.split():
        assert part in message
    assert names_in(tmp_path) == set()


def test_help_names_every_demo_and_its_options() -> None:
    assert "demo NAME" in command("--help").out
    outcome = command("demo", "--help")
    assert outcome.code == 0
    for name, kind in DEMOS.items():
        assert name in outcome.out
        assert (kind.__doc__ or "").splitlines()[0] in outcome.out
        options = command("demo", name, "--help")
        assert options.code == 0
        assert "--seed " in options.out
        assert "--out " in options.out


def test_a_table_has_aligned_columns() -> None:
    text = table(("what", "size"), [("a", "1"), ("longer", "12345")])
    assert text.splitlines() == ["what     size", "a           1", "longer  12345"]
