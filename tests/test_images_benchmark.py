"""The benchmark of images: what it runs, what it leaves alone, and how it sums up."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from benchmarks import images, images_table
from envs.shipped import trained_encoders, trained_policies
from her_robotics.encoders.files import CARD, load_encoder
from her_robotics.shipped import load_task_config, shipped_tasks

from .runs import debug_run


def test_every_row_is_a_config_whose_encoder_and_start_ship() -> None:
    for name in images.ROWS:
        assert name in shipped_tasks()
        config = load_task_config(name)
        assert config.env.encoder in (None, "end_to_end", *trained_encoders())
        assert config.env.observer in (None, *trained_encoders())
        assert config.train.start_from in (None, *trained_policies())
        assert config.train.teacher in (None, *trained_policies())


def test_an_encoder_is_trained_as_the_one_that_ships_but_for_its_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    given = images.Arguments(encode_options="--episodes 32 --goals 5 --updates 2 --size 32")
    folder = tmp_path / "own"
    assert images.encode(given, "fetch_reach_image", 3, folder) == 0, folder.with_suffix(".log")
    own, shipped = (load_encoder(each) for each in (folder, trained_encoders()["fetch_reach"]))
    assert own.card["trained"]["seed"] == 3
    assert own.encoder.size == 32
    for name in ("kind", "task", "camera", "embedding"):
        assert own.card[name] == shipped.card[name]


def test_what_has_finished_is_summed_up_with_what_came_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in (0, 1):
        folder = tmp_path / f"fetch_push_image-shipped-s{seed}"
        shutil.copytree(debug_run().folder, folder)
        shutil.copy(trained_encoders()["fetch_push"] / CARD, folder)
        folder.with_suffix(".seconds").write_text("60.0\n30.0\n")
    out = tmp_path / "images.json"
    given = ["--configs", "fetch_push_image", "--seeds", "0", "1", "--encoder", "shipped"]
    places = ["--runs", str(tmp_path), "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["images", *given, *places])
    assert images.main() == 0
    row = json.loads(out.read_text())["results"]["configs"]["fetch_push_image"]
    seed = row["seeds"]["1"]
    start = json.loads((trained_policies()["fetch_push"] / "policy.json").read_text())["trained"]
    assert seed["steps"] == 300 + start["steps"]
    assert seed["seconds"] == pytest.approx(seed["curve"][-1]["seconds"] + start["seconds"] + 318.7)
    assert (seed["encoder_seconds"], seed["wall_seconds"]) == (318.7, 90.0)
    assert row["median"]["wall_seconds"] == 90.0
    line = out.with_suffix(".md").read_text().splitlines()[2]
    assert "from `fetch_push`" in line
    assert "≥ 0.90 within 45 min" in line
    assert line.endswith("| 1.5 |")
    assert out.with_suffix(".png").stat().st_size > 1000


def test_what_a_teacher_and_an_observer_took_counts_and_an_encoder_used_twice_counts_once(
    tmp_path: Path,
) -> None:
    def run(config: str) -> images_table.Run:
        folder = tmp_path / config
        shutil.copytree(debug_run().folder, folder)
        for name in ("encoder.json", "observer.json"):
            shutil.copy(trained_policies()[config] / name, folder)
        folder.with_suffix(".seconds").write_text("1.0\n")
        return images_table.Run(config, 0, folder, None)

    distilled = images_table.figures(run("fetch_push_pixels"))
    took = {
        name: json.loads((folder / CARD).read_text())["trained"]["seconds"]
        for name, folder in trained_encoders().items()
    }
    assert distilled["encoder_seconds"] == pytest.approx(
        took["fetch_push"] + took["fetch_push_gripper"]
    )
    teacher = json.loads((trained_policies()["fetch_push"] / "policy.json").read_text())["trained"]
    assert distilled["steps"] == 300 + teacher["steps"]
    assert images_table.figures(run("fetch_reach_pixels"))["encoder_seconds"] == pytest.approx(
        took["fetch_reach"]
    )


def test_a_figure_that_most_seeds_lack_has_no_median() -> None:
    names = ("final_success", "seconds_to_target", "seconds", "wall_seconds")
    seeds = {
        str(seed): {**dict.fromkeys(names, 1.0), "steps_to_target": steps}
        for seed, steps in enumerate((None, 400, None))
    }
    assert images_table.over_seeds("fetch_reach_image", seeds)["median"]["steps_to_target"] is None
    seeds["0"]["steps_to_target"] = 800
    assert images_table.over_seeds("fetch_reach_image", seeds)["median"]["steps_to_target"] == 800


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--configs", "fetch_reach"), "no rows for fetch_reach: choose of fetch_reach_image"),
        (("--seeds", "1", "1"), "different"),
    ],
)
def test_a_senseless_question_is_refused(
    given: tuple[str, ...],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["images", *given])
    assert images.main() == 2
    assert said in capsys.readouterr().out
