"""What the policies that ship come to, in the env they learnt in and in the official one.

`python -m benchmarks.shipped` tests each on fresh episodes by `her-robotics eval`, first where it learnt,
then in gymnasium-robotics' env of the same name. Summary and table go to benchmarks/results/.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from tqdm import tqdm

from benchmarks.record_official import OFFICIAL_IDS
from benchmarks.report import RESULTS, at_least, machine, publish
from her_robotics.files import write_text


@dataclass(frozen=True)
class Arguments:
    """Test the policies that ship, in our envs and in the official ones."""

    tasks: tuple[str, ...] = tuple(OFFICIAL_IDS)
    """Tasks whose policies are tested."""
    episodes: int = 1_000
    """Test episodes in each env."""
    seed: int = 1_000
    """Seed of the episodes."""
    out: str | None = None
    """The summary, beside which the table goes; without it, benchmarks/results/shipped.json."""
    json: bool = False
    """Print the summary as one JSON object instead of the table."""


def main() -> int:
    """Run the benchmark; 0 if every policy was tested."""
    given = tyro.cli(Arguments, prog="python -m benchmarks.shipped", description=__doc__)
    at_least(1, episodes=given.episodes)
    at_least(0, seed=given.seed)
    if unknown := [task for task in given.tasks if task not in OFFICIAL_IDS]:
        known = ", ".join(OFFICIAL_IDS)
        print(f"error: unknown task {unknown[0]!r}: choose among {known}", file=sys.stderr)
        return 2
    where = machine()
    tests = [(task, env) for task in given.tasks for env in (None, OFFICIAL_IDS[task])]
    found: dict[str, list[dict[str, Any]]] = {}
    for task, env in tqdm(tests, unit="test"):
        command = [sys.executable, "-m", "her_robotics", "eval", task, "--json"]
        command += ["--episodes", str(given.episodes), "--seed", str(given.seed)]
        command += ["--env", env] if env else []
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            print(done.stderr, file=sys.stderr)
            return done.returncode
        found.setdefault(task, []).append(json.loads(done.stdout))
    success = (
        "share of test episodes within the threshold at their last step, with its 95% interval"
    )
    publish("shipped", given, where, {"success": success, "policies": found})
    text = table(found)
    output = Path(given.out) if given.out else RESULTS / "shipped.json"
    write_text(output.with_suffix(".md"), text + "\n")
    if not given.json:
        print(text)
    return 0


def table(found: dict[str, list[dict[str, Any]]]) -> str:
    """A Markdown table: a row for each policy."""
    lines = ["| policy | in the env it learnt in | in the official env |", "|---|---|---|"]
    for task, (learnt, official) in found.items():
        lines.append(f"| {task} | {_shown(learnt)} | {_shown(official)}, {official['task']} |")
    return "\n".join(lines)


def _shown(result: dict[str, Any]) -> str:
    low, high = result["interval"]
    return f"{result['success_rate']:.3f} [{low:.3f}, {high:.3f}]"


if __name__ == "__main__":
    sys.exit(main())
