"""Where what ships with the project lies: MJCF overlays and trained policies."""

from pathlib import Path

POLICIES, ENCODERS = "policies", "encoders"


def asset(name: str) -> Path:
    """A file or folder of ``assets/``, in the clone or in the installed package.

    Raises:
        FileNotFoundError: if neither holds it.
    """
    here = Path(__file__).resolve().parent
    candidates = (here.parent / "assets" / name, here / "assets" / name)
    for path in candidates:
        if path.exists():
            return path
    raise FileNotFoundError(f"{name} is in none of {[str(path.parent) for path in candidates]}")


def trained_encoders() -> dict[str, Path]:
    """Folders of the encoders of pictures that ship with the project, by task."""
    return {path.name: path for path in sorted(asset(ENCODERS).iterdir()) if path.is_dir()}


def trained_policies() -> dict[str, Path]:
    """Folders of the policies that ship with the project, by task and kind of goal."""
    return {path.name: path for path in sorted(asset(POLICIES).iterdir()) if path.is_dir()}
