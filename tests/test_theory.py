"""docs/theory.md names what exists, and shows what the demos wrote."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from her_robotics.demos import DEMOS

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
TEXT = (DOCS / "theory.md").read_text(encoding="utf-8")
LINKS = re.findall(r"(!?)\[([^\]]+)\]\(([^)#]+)(#[^)]*)?\)", TEXT)
CODE = [(label, target) for image, label, target, _ in LINKS if not image and label[0] == "`"]
PATHS = re.findall(r"`([\w./]+/[\w./]+)`", TEXT)
BLOCKS = re.findall(r"^```\n(.*?)^```$", TEXT, re.M | re.S)
MAX_PICTURE = 150_000
"""Bytes."""


@cache
def names_defined(path: Path) -> set[str]:
    """Functions, classes and methods of a module, the last as ``Class.method``."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            methods = (each for each in node.body if isinstance(each, ast.FunctionDef))
            found |= {f"{node.name}.{each.name}" for each in methods}
    return found


def test_the_tour_was_read() -> None:
    assert len(CODE) > 25
    assert {"her_robotics/agents/ddpg.py", "her_robotics/relabel.py"} <= {
        target.removeprefix("../") for _, target in CODE
    }
    assert "QLearner.update" in names_defined(ROOT / "her_robotics" / "agents" / "q_learner.py")


@pytest.mark.parametrize(("label", "target"), sorted(set(CODE)))
def test_what_is_linked_as_code_is_defined_in_that_file(label: str, target: str) -> None:
    path = (DOCS / target).resolve()
    module, _, name = label.strip("`").partition(".")
    assert path.is_relative_to(ROOT)
    assert path.is_file()
    assert path.stem == module
    assert name in names_defined(path)


def test_every_other_file_that_is_named_exists() -> None:
    others = [target for image, label, target, _ in LINKS if image or label[0] != "`"]
    assert [target for target in others if not (DOCS / target).exists()] == []
    assert [path for path in PATHS if not (ROOT / path).exists()] == []


def test_pictures_are_of_demos_and_small() -> None:
    pictures = sorted(target for image, _, target, _ in LINKS if image)
    assert pictures == [path.name for path in sorted(DOCS.glob("*.png"))]
    for picture in pictures:
        assert Path(picture).stem in DEMOS
        assert (DOCS / picture).stat().st_size < MAX_PICTURE


def test_tables_are_what_the_demos_wrote_beside_the_pictures() -> None:
    written = sorted(path.read_text(encoding="utf-8") for path in DOCS.glob("*.txt"))
    assert written == sorted(BLOCKS)
    assert len(written) == TEXT.count("    her-robotics demo ")
