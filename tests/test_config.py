import dataclasses
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from envs import IDS
from her_robotics.agents import AGENTS
from her_robotics.cli.encoding import EncodeArguments
from her_robotics.config import AgentConfig, Config, EnvConfig, GuideConfig, ReplayConfig
from her_robotics.encoders import ENCODERS
from her_robotics.goals import GOAL_ENCODERS
from her_robotics.guides import GUIDES
from her_robotics.image_goals import GoalReward
from her_robotics.relabel import STRATEGIES
from her_robotics.shipped import config_folder, load_task_config, shipped_tasks
from her_robotics.strict import ConfigError, from_mapping, merge, read_yaml, to_mapping, validate

CHANGED = dataclasses.replace(
    Config(),
    seed=7,
    wandb="offline",
    env=EnvConfig(task="fetch_push", goal="joints", num_envs=3),
    agent=AgentConfig(hidden=(8, 4), gamma=0.5, batch_norm=True),
)
SECTIONS = {
    field.name: [inner.name for inner in dataclasses.fields(getattr(Config(), field.name))]
    for field in dataclasses.fields(Config)
    if dataclasses.is_dataclass(getattr(Config(), field.name))
}
FIELDS = {field for fields in SECTIONS.values() for field in fields}
NAMES = st.sampled_from(sorted({*SECTIONS, *FIELDS, "seed", "wandb"}))
WORDS = st.text(st.characters(exclude_categories=("C", "Z")), max_size=8)
CHOICES = st.sampled_from(["future", "ddpg", "gaussian", "sparse", "joints", "layer"])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | CHOICES
VALUES = SCALARS | st.lists(st.integers() | SCALARS, max_size=3)
KEYS = NAMES | WORDS | st.integers() | st.none()
ANYTHING = st.dictionaries(
    KEYS,
    st.recursive(VALUES, lambda inner: st.dictionaries(KEYS, inner, max_size=3), max_leaves=8),
    max_size=4,
)
NEARLY_RIGHT = st.fixed_dictionaries(
    {},
    optional={
        name: st.dictionaries(st.sampled_from(fields), VALUES, max_size=2)
        for name, fields in SECTIONS.items()
    },
)


def refusal(values: dict[Any, Any]) -> str:
    """What is said of a mapping that is no configuration; one line."""
    with pytest.raises(ConfigError) as error:
        from_mapping(Config, values)
    message = str(error.value)
    assert message
    assert len(message.splitlines()) == 1
    return message


@pytest.mark.parametrize("config", [Config(), CHANGED], ids=["default", "changed"])
def test_a_config_survives_the_way_to_yaml_and_back(config: Config) -> None:
    plain = yaml.safe_load(yaml.safe_dump(to_mapping(config)))
    assert plain == to_mapping(config)
    assert from_mapping(Config, plain) == config
    assert validate(config) is config


@settings(deadline=None, max_examples=200)
@given(ANYTHING | NEARLY_RIGHT)
def test_any_mapping_is_a_config_or_a_one_line_config_error(values: dict[Any, Any]) -> None:
    try:
        config = from_mapping(Config, values)
    except ConfigError as error:
        lines = str(error).splitlines()
    else:
        lines = ["none needed"]
        assert from_mapping(Config, to_mapping(validate(config))) == config
    assert len(lines) == 1


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"replay": {"strateggy": "final"}}, ["replay.strateggy", "did you mean replay.strategy?"]),
        ({"replai": {}}, ["replai", "did you mean replay?", "exploration"]),
        ({"qqq": 1}, ["qqq", "choose one of", "seed", "agent"]),
        ({"train": {"steps": "many"}}, ["train.steps", "'many'", "int"]),
        ({"train": {"steps": 1.5}}, ["train.steps", "1.5", "int"]),
        ({"seed": True}, ["seed", "True", "int"]),
        ({"seed": None}, ["seed", "None", "int"]),
        ({"agent": {"batch_norm": 1}}, ["agent.batch_norm", "1", "bool"]),
        ({"agent": {"gamma": 1.0}}, ["agent.gamma", "1.0", "[0, 1)"]),
        ({"agent": {"tau": 0.0}}, ["agent.tau", "0.0", "(0, 1]"]),
        ({"agent": {"actor_lr": 0}}, ["agent.actor_lr", "0", "more than 0"]),
        ({"agent": {"actor_lr": float("nan")}}, ["agent.actor_lr", "nan", "more than 0"]),
        ({"replay": {"k": -1}}, ["replay.k", "-1", "at least 0"]),
        ({"agent": {"lookahead": 0}}, ["agent.lookahead", "0", "at least 1"]),
        ({"train": {"batch_size": 1}}, ["train.batch_size", "1", "at least 2"]),
        ({"eval": {"num_envs": 0}}, ["eval.num_envs", "0", "at least 1"]),
        ({"video": {"episodes": 17}}, ["video.episodes", "17", "[1, 16]"]),
        ({"replay": {"strategy": "futur"}}, ["replay.strategy", "'futur'", *STRATEGIES]),
        ({"wandb": "on"}, ["wandb", "'on'", "online", "offline", "disabled"]),
        ({"env": 3}, ["env", "3", "mapping"]),
        ({"agent": {"hidden": []}}, ["agent.hidden", "[]", "one or more"]),
        ({"agent": {"hidden": 64}}, ["agent.hidden", "64", "list"]),
        ({"agent": {"hidden": [64, 0]}}, ["agent.hidden", "0", "at least 1"]),
    ],
)
def test_a_bad_setting_is_refused_by_name_value_and_what_is_allowed(
    values: dict[str, Any], said: list[str]
) -> None:
    message = refusal(values)
    assert all(fragment in message for fragment in said), message


def test_a_whole_number_too_large_for_a_float_is_refused() -> None:
    assert "agent.actor_lr" in refusal({"agent": {"actor_lr": 10**400}})


@pytest.mark.parametrize("name", ["actor_lr", "action_l2"])
def test_infinity_is_refused(name: str) -> None:
    assert f"agent.{name}" in refusal({"agent": {name: float("inf")}})


def test_an_unknown_key_of_two_lines_is_refused_in_one() -> None:
    assert "unknown setting" in refusal({"two\nlines": 1})


def test_exponents_without_a_point_are_numbers(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("agent: {actor_lr: 1e-3}\n")
    assert from_mapping(Config, read_yaml(path)).agent.actor_lr == 1e-3


def test_bounds_that_are_allowed_are_accepted() -> None:
    values = {
        "agent": {"gamma": 0.0, "tau": 1.0},
        "exploration": {"epsilon": 1.0, "theta": 0.0},
        "replay": {"k": 0},
        "video": {"episodes": 16},
    }
    config = from_mapping(Config, values)
    assert (config.agent.gamma, config.agent.tau, config.exploration.epsilon) == (0.0, 1.0, 1.0)


def test_whole_numbers_become_floats_where_floats_are_asked_for() -> None:
    k = from_mapping(Config, {"replay": {"k": 2}}).replay.k
    assert isinstance(k, float)
    assert k == 2.0


def test_a_config_built_by_hand_is_checked_too() -> None:
    with pytest.raises(ConfigError, match=r"replay\.k = -1"):
        validate(dataclasses.replace(Config(), replay=ReplayConfig(k=-1.0)))


def test_a_config_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().seed = 3  # type: ignore[misc]


def test_merging_goes_key_by_key_and_leaves_its_arguments_alone() -> None:
    base = {"a": {"x": 1, "y": 2}, "b": 3}
    over = {"a": {"y": 5}, "c": {"z": 6}}
    assert merge(base, over) == {"a": {"x": 1, "y": 5}, "b": 3, "c": {"z": 6}}
    assert base == {"a": {"x": 1, "y": 2}, "b": 3}
    assert merge({"a": {"x": 1}}, {"a": 2}) == {"a": 2}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot read"),
        (b"a: [1", "not valid YAML"),
        (b"- 1\n- 2", "mapping of settings, not list"),
        (b"", "mapping of settings, not NoneType"),
        (b"\xff\xfe\x00", "cannot read"),
    ],
    ids=["missing", "unclosed", "list", "empty", "not text"],
)
def test_a_file_that_is_no_mapping_is_refused_by_its_path(
    content: bytes | None, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "config.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=said) as error:
        read_yaml(path)
    assert str(path) in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_every_task_of_the_envs_is_shipped_with_a_config() -> None:
    images = {"fetch_push_image", "fetch_reach_image", "fetch_reach_cnn"}
    images |= {
        f"fetch_{task}_{sees}" for task in ("reach", "push") for sees in ("pixels", "pixels_only")
    }
    assert set(shipped_tasks()) == {*IDS, *images}


def test_a_config_inherits_what_it_does_not_name() -> None:
    image, plain = load_task_config("fetch_push_image"), load_task_config("fetch_push")
    assert (image.env.task, image.env.goal) == ("fetch_push", "image")
    assert image.agent.hidden == plain.agent.hidden
    assert image.replay == dataclasses.replace(plain.replay, scatter=0.0, rings=1)
    assert image.train.steps != plain.train.steps


@pytest.mark.parametrize("task", [*IDS, "debug"])
def test_a_shipped_config_loads_validates_and_is_of_its_task(task: str) -> None:
    config = validate(load_task_config(task))
    assert config.env.task == ("fetch_reach" if task == "debug" else task)
    validate(from_mapping(Config, read_yaml(config_folder() / "base.yaml")))


def test_an_unknown_task_is_answered_with_the_shipped_ones() -> None:
    with pytest.raises(ConfigError, match="fetch_fly") as error:
        load_task_config("fetch_fly")
    assert all(task in str(error.value) for task in (*shipped_tasks(), "debug"))


@pytest.mark.parametrize(
    ("kind", "name", "registry"),
    [
        (ReplayConfig, "strategy", STRATEGIES),
        (AgentConfig, "name", AGENTS),
        (AgentConfig, "goal_encoder", GOAL_ENCODERS),
        (EnvConfig, "goal_reward", dict.fromkeys(get_args(GoalReward))),
        (EncodeArguments, "encoder", ENCODERS),
        (GuideConfig, "name", {"none": None, **GUIDES}),
    ],
)
def test_what_a_config_may_choose_is_what_is_registered(
    kind: type, name: str, registry: dict[str, object]
) -> None:
    assert set(get_args(get_type_hints(kind)[name])) == set(registry)
