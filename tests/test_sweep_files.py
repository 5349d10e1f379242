"""Files of sweeps: what is refused, and that wandb takes what we take."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from wandb.sdk.launch.sweeps.utils import (
    create_sweep_command,
    create_sweep_command_args,
    load_sweep_config,
)

from her_robotics.cli.training import configure_line
from her_robotics.strict import ConfigError, merge, read_yaml
from her_robotics.sweeps.parameters import KEYS
from her_robotics.sweeps.plan import read_plan, shipped_sweeps

SCHEMA = json.loads((Path(__file__).parent / "data/wandb_sweep_schema.json").read_text())
GOOD: dict[str, Any] = {
    "program": "her-robotics",
    "method": "bayes",
    "metric": {"name": "test/success_rate", "goal": "maximize"},
    "parameters": {"agent.gamma": {"min": 0.9, "max": 0.99}},
    "command": ["${env}", "${program}", "train", "fetch_push", "${args}"],
}


@pytest.mark.parametrize("name", shipped_sweeps())
def test_what_ships_is_a_file_of_wandbs_and_says_the_same_to_both(name: str) -> None:
    path = shipped_sweeps()[name]
    given = load_sweep_config(str(path))
    assert given == read_yaml(path)
    number = jsonschema.FormatChecker()
    number.checks("float")(lambda value: isinstance(value, float))
    number.checks("integer")(lambda value: isinstance(value, int))
    jsonschema.Draft7Validator(SCHEMA, format_checker=number).validate(given)
    plan = read_plan(path)
    for end in (0, -1):
        values = {name: each.values[end] for name, each in plan.space.items()}
        ours = plan.arguments(values)
        assert wandbs_command(given, values) == ["/usr/bin/env", "her-robotics", "train", *ours]
        config = configure_line(ours)
        assert config.env.task == name
        assert not config.video.enabled


def wandbs_command(given: dict[str, Any], values: dict[str, Any]) -> list[str]:
    """What wandb's agent runs, put together as its ``_command_run`` does."""
    told = {name: {"value": value} for name, value in values.items()}
    macros = create_sweep_command_args({"args": told})
    macros |= {"env": ["/usr/bin/env"], "program": [given["program"]]}
    words = []
    for word in create_sweep_command(list(given["command"])):
        words += macros[word[2:-1]] if word.startswith("${") else [word]
    return words


def test_a_list_reaches_the_run_as_wandb_writes_it() -> None:
    written = create_sweep_command_args({"args": {"agent.hidden": {"value": [64, 32]}}})["args"]
    assert configure_line(["fetch_push", *written]).agent.hidden == (64, 32)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"method": "hyperopt"}, "method = 'hyperopt' must be one of bayes, random, grid"),
        ({"metod": "bayes"}, "unknown setting metod (did you mean method?)"),
        ({"method": None}, "method = None must be one of"),
        ({"metric": {"name": "x", "goal": "up"}}, "metric.goal = 'up' must be one of minimize"),
        ({"run_cap": 0}, "run_cap = 0 must be at least 1"),
        ({"parameters": {"agent.gama": {"value": 1}}}, "did you mean agent.gamma?"),
        ({"parameters": {"agent.gamma": {"max": 1.0}}}, "parameters: agent.gamma = 1.0 must be in"),
        ({"parameters": {"agent.gamma": {"min": 0.99}}}, "min = 0.99 must be less than max = 0.99"),
        ({"parameters": {"agent.gamma": {"min": "1e-3"}}}, "write 0.001 or 1.0e-3"),
        ({"parameters": {"agent.gamma": {"q": 1}}}, "is told min and max, not "),
        (
            {"parameters": {"agent.gamma": {"distribution": "normal"}}},
            f"distribution = 'normal' must be one of {', '.join(KEYS)}",
        ),
        (
            {"parameters": {"agent": {"parameters": {}}}},
            "parameters.agent is uniform, which is told",
        ),
        ({"parameters": {"seed": {"values": []}}}, "parameters.seed.values = [] must be a list"),
        ({"parameters": {"seed": 3}}, "parameters.'seed' = 3 must map the name of a setting"),
        ({"parameters": {"train.steps": {"min": 1.0, "max": 9}}}, "must be of type int"),
        (
            {"parameters": {"agent.hidden": {"values": [[8, 0]]}}},
            "agent.hidden = 0 must be at least 1",
        ),
        ({"method": "grid"}, "parameters.agent.gamma needs a list of values for method grid"),
        ({"command": "her-robotics train"}, "must be like"),
        ({"command": ["her-robotics", "train", "fetch_push"]}, "must be like"),
        ({"command": ["python", "train.py", "${args}"]}, "must be like"),
        ({"command": ["${program}", "train", "${args}"], "program": "x.py"}, "must be like"),
        ({"early_terminate": {"type": "hyperband"}}, "needs min_iter, or max_iter and s"),
        ({"early_terminate": {"type": "bandit"}}, "type = 'bandit' must be one of hyperband"),
    ],
)
def test_a_bad_file_is_refused_in_one_line(
    change: dict[str, Any], said: str, tmp_path: Path
) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(yaml.safe_dump(merge(GOOD, change)))
    with pytest.raises(ConfigError) as error:
        read_plan(path)
    message = str(error.value)
    assert message.startswith(f"{path}: ")
    assert said in message
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize("missing", ["method", "metric", "parameters", "command"])
def test_what_a_file_lacks_is_named(missing: str, tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(yaml.safe_dump({k: v for k, v in GOOD.items() if k != missing}))
    with pytest.raises(ConfigError, match=f"names no {missing}"):
        read_plan(path)


@pytest.mark.parametrize(
    ("rule", "first"),
    [({"min_iter": 3}, 3), ({"max_iter": 27, "s": 2}, 3), ({"max_iter": 27, "s": 2, "eta": 2}, 7)],
)
def test_the_first_test_at_which_trials_may_end(
    rule: dict[str, int], first: int, tmp_path: Path
) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(yaml.safe_dump({**GOOD, "early_terminate": {"type": "hyperband", **rule}}))
    plan = read_plan(path)
    assert plan.early_terminate is not None
    assert plan.early_terminate.first == first
