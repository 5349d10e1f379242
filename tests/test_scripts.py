"""What the scripts say on a machine that lacks something; that they work is what runs this."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ["train_fetch.sh", "test.sh", "two_hosts.sh"]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The scripts and what they install from, with no virtual environment beside them."""
    folder = tmp_path / "clone"
    shutil.copytree(ROOT / "scripts", folder / "scripts")
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    return folder


def stand_in(folder: Path, name: str, text: str) -> dict[str, str]:
    """An environment in which command ``name`` prints ``text`` and fails."""
    folder.mkdir()
    program = folder / name
    program.write_text(f"#!/bin/sh\necho '{text}'\nexit 1\n")
    program.chmod(0o755)
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}


def run(script: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([script], env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("script", SCRIPTS)
def test_missing_system_packages_are_named_before_anything_is_made(
    script: str, clone: Path, tmp_path: Path
) -> None:
    environment = stand_in(tmp_path / "bin", "ldconfig", "libEGL.so.1 => /lib/libEGL.so.1")
    environment.pop("HER_SKIP_SYSTEM_CHECK", None)
    done = run(clone / "scripts" / script, environment)
    assert done.returncode == 2
    assert "apt-get install libegl-mesa0 libgl1 libglib2.0-0\n" in done.stderr
    assert not (clone / ".venv").exists()


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_python_too_old_is_refused_before_anything_is_made(
    script: str, clone: Path, tmp_path: Path
) -> None:
    environment = stand_in(tmp_path / "bin", "python3", "3.9")
    environment.pop("PYTHON", None)
    done = run(clone / "scripts" / script, environment)
    assert done.returncode == 2
    assert "Python 3.11 or newer is needed" in done.stderr
    assert not (clone / ".venv").exists()


def test_a_worker_on_a_cluster_is_told_what_the_script_was(tmp_path: Path) -> None:
    """Only SLURM is stood in for: it copies the script away and starts the step."""
    script = tmp_path / "spool" / "slurm_script"
    script.parent.mkdir()
    shutil.copy(ROOT / "scripts/slurm_sweep.sbatch", script)
    clone = tmp_path / "clone"
    (clone / ".venv/bin").mkdir(parents=True)
    environment = {**stand_in(tmp_path / "bin", "srun", "$*"), "SLURM_SUBMIT_DIR": str(clone)}
    missing = run(script, environment)
    assert missing.returncode == 2
    assert "there is no .venv here: bash -c 'source scripts/setup.sh sweep'" in missing.stderr
    program = clone / ".venv/bin/her-robotics"
    program.touch(mode=0o755)
    (tmp_path / "bin/srun").write_text('#!/bin/sh\necho "$OMP_NUM_THREADS: $*"\n')
    told = subprocess.run(
        [script, "fetch_push", "--trials", "9"],
        env={**environment, "SLURM_CPUS_PER_TASK": "2"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout == "2: .venv/bin/her-robotics sweep fetch_push --trials 9\n"


def test_a_slurm_job_has_its_nodes_meet_on_the_first_one(clone: Path, tmp_path: Path) -> None:
    (clone / ".venv" / "bin").mkdir(parents=True)
    (clone / ".venv" / "bin" / "activate").touch()
    commands = tmp_path / "bin"
    commands.mkdir()
    # More nodes than a pipe holds: who lists them must not be cut off after the first.
    for name, text in {"scontrol": "seq -f n%g 7 20000", "srun": 'echo "$@"'}.items():
        (commands / name).write_text(f"#!/bin/sh\n{text}\n")
        (commands / name).chmod(0o755)
    told = {"JOB_ID": 41, "JOB_NODELIST": "n[7-20000]", "JOB_NUM_NODES": 2, "CPUS_PER_TASK": 4}
    environment = {f"SLURM_{name}": str(value) for name, value in told.items()}
    environment |= {"SLURM_SUBMIT_DIR": str(clone), "PATH": f"{commands}:{os.environ['PATH']}"}
    job = ["bash", clone / "scripts" / "slurm.sbatch", "fetch_push", "--out", "runs/a"]
    done = subprocess.run(job, env=environment, capture_output=True, text=True, check=True)
    assert "torchrun --nnodes 2 --nproc-per-node 4 " in done.stdout
    assert "--rdzv-endpoint n7:20041 " in done.stdout
    assert done.stdout.endswith("-m her_robotics train fetch_push --out runs/a\n")
