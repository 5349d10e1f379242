"""`her-robotics demo`."""

from pathlib import Path

from ..demos import DEMOS
from ..errors import UserError
from ..files import write_text
from ..strict import validate
from .parse import parse

HELP = """\
usage: her-robotics demo NAME [OPTIONS]

Show a method at work: a picture and a table in a folder, and the table here.

{demos}

`her-robotics demo NAME --help` lists a demo's options.
"""


def demo(arguments: list[str]) -> int:
    """Run a demonstration; returns the exit code."""
    if arguments and arguments[0] in ("-h", "--help"):
        lines = (f"  {name:<14} {_summary(name)}" for name in DEMOS)
        print(HELP.format(demos="\n".join(lines)), end="")
        return 0
    choices = ", ".join(DEMOS)
    if not arguments:
        raise UserError(f"demo needs a name: choose one of {choices}")
    name, *options = arguments
    if name not in DEMOS:
        raise UserError(f"unknown demo {name!r}: choose one of {choices}")
    given = validate(parse(DEMOS[name], options, f"her-robotics demo {name}"))
    folder = Path(given.out or f"runs/demo-{name}")
    folder.mkdir(parents=True, exist_ok=True)
    picture, numbers = folder / f"{name}.png", folder / f"{name}.txt"
    text = given.run(picture)
    write_text(numbers, f"{text}\n")
    print(text)
    print(f"\n{picture}\n{numbers}")
    return 0


def _summary(name: str) -> str:
    return (DEMOS[name].__doc__ or "").splitlines()[0]
