"""The rules of the house on who may import whom, read from the source."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import envs
import her_robotics

HER = Path(her_robotics.__file__).parent
ENVS = Path(envs.__file__).parent
REST = "everything else"
LAYERS: tuple[set[str], ...] = (
    {
        "errors",
        "distributed",
        "files",
        "strict",
        "types",
        "config",
        "relabel",
        "normalizer",
        "networks",
        "backprop",
        "gradients",
        "statistics",
    },
    {"replay", "goals", "exploration", "counting", "known_mdp", "world_model"},
    {"agents"},
    {"rollout", "evaluate"},
    {REST},
    {"train"},
    {"session", "console", "methods"},
    {"demos"},
    {"cli"},
    {"__main__"},
)
RANKS = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
HOMES = {
    "envs": {"cli", "__main__"},
    "wandb": {"tracking"},
    "optuna": {"sweeps"},
    "cv2": {"video", "pictures", "goals"},
    "imageio_ffmpeg": {"video", "goals"},
    "torch.distributed": {"distributed"},
}
ENVS_HOMES = {"cv2": {"envs.pictures"}}


def module_name(path: Path, root: Path) -> str:
    parts = (root.name, *path.relative_to(root).with_suffix("").parts)
    return ".".join(parts)


def imports(source: str, module: str) -> set[str]:
    """Every name that a module imports, wherever in it, as a full dotted one."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = module.split(".")[: -node.level] if node.level else []
            base = ".".join([*package, *filter(None, [node.module])])
            found |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Call) and _is_dynamic_import(node):
            found.add(str(node.args[0].value))
    return found


def _is_dynamic_import(node: ast.Call) -> bool:
    name = getattr(node.func, "id", getattr(node.func, "attr", None))
    literal = bool(node.args) and isinstance(node.args[0], ast.Constant)
    return literal and name in ("import_module", "__import__")


@cache
def importers(root: Path) -> dict[str, set[str]]:
    """What each module of a package imports."""
    return {
        module: imports(path.read_text(encoding="utf-8"), module)
        for path in sorted(root.rglob("*.py"))
        for module in [module_name(path, root)]
    }


def reaches(imported: set[str], name: str) -> bool:
    return any(one == name or one.startswith(f"{name}.") for one in imported)


def component(module: str) -> str | None:
    """The module or subpackage of her_robotics that a dotted name lies in; None for no such one."""
    parts = module.split(".")
    if len(parts) < 2 or parts[0] != HER.name:
        return None
    known = (HER / parts[1]).is_dir() or (HER / f"{parts[1]}.py").is_file()
    return parts[1] if known else None


def rank(name: str) -> int:
    return RANKS.get(name, RANKS[REST])


def test_both_packages_were_read() -> None:
    assert {"envs.fetch", "envs.camera"} <= importers(ENVS).keys()
    assert {"her_robotics.replay", "her_robotics.agents.ddpg"} <= importers(HER).keys()
    assert reaches(importers(ENVS)["envs.views"], "envs.camera")
    assert reaches(importers(HER)["her_robotics.agents.ddpg"], "her_robotics.networks")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import torch.distributed as dist", "torch.distributed"),
        ("from torch import distributed", "torch.distributed"),
        ("def f():\n    import wandb", "wandb"),
        ("from . import train", "her_robotics.agents.train"),
        ("from .. import train", "her_robotics.train"),
        ("from ..train import loop", "her_robotics.train"),
        ("importlib.import_module('cv2')", "cv2"),
    ],
)
def test_imports_are_seen_in_every_form(source: str, expected: str) -> None:
    assert reaches(imports(source, "her_robotics.agents.ddpg"), expected)


@pytest.mark.parametrize("module", importers(ENVS))
def test_envs_import_neither_torch_nor_her_robotics(module: str) -> None:
    imported = importers(ENVS)[module]
    assert not reaches(imported, "torch")
    assert not reaches(imported, "her_robotics")


@pytest.mark.parametrize("module", importers(HER))
def test_her_robotics_never_imports_mujoco(module: str) -> None:
    assert not reaches(importers(HER)[module], "mujoco")


@pytest.mark.parametrize("library", HOMES)
def test_a_library_with_a_home_is_imported_only_there(library: str) -> None:
    users = {
        component(module) for module, names in importers(HER).items() if reaches(names, library)
    }
    assert users <= HOMES[library]


@pytest.mark.parametrize("library", ENVS_HOMES)
def test_a_library_with_a_home_in_envs_is_imported_only_there(library: str) -> None:
    users = {module for module, names in importers(ENVS).items() if reaches(names, library)}
    assert users == ENVS_HOMES[library]


@pytest.mark.parametrize("module", importers(HER))
def test_imports_point_one_way(module: str) -> None:
    own = component(module)
    if own == "__init__":
        own = "__main__"
    later = {
        name
        for name in map(component, importers(HER)[module])
        if name is not None and rank(name) > rank(own)
    }
    assert not later, f"{module} imports {later}, which come after it"


@pytest.mark.parametrize(
    ("program", "absent"),
    [
        ("import envs.single, envs.goals", ["torch", "her_robotics"]),
        ("import her_robotics.agents, her_robotics.evaluate", ["mujoco", "envs", "wandb", "cv2"]),
    ],
)
def test_what_is_loaded_keeps_to_the_rules(program: str, absent: list[str]) -> None:
    check = f"import sys; {program}; print([m for m in {absent} if m in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", check], cwd=HER.parent, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
