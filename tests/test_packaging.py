"""The wheel holds what users need and nothing else."""

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_the_wheel_is_whole(tmp_path):
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = {
        "neurospin/__init__.pyi", "neurospin/py.typed", "neurospin/report/report.html.j2", "neurospin/cli/__init__.py",
        "hardware_targets/py.typed", "hardware_targets/lava/worker.py", "hardware_targets/c/main.c",
    }  # fmt: skip
    assert wanted <= names
    assert {name.split("/")[0].split("-")[0] for name in names} == {"neurospin", "hardware_targets"}
    (entries,) = [n for n in names if n.endswith("entry_points.txt")]
    text = zipfile.ZipFile(wheel).read(entries).decode()
    assert "neurospin = neurospin.cli:main" in text and "loihi = hardware_targets.loihi.target:target" in text


def test_every_direct_dependency_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + [d for extra in project["optional-dependencies"].values() for d in extra]
    names = {
        line.split("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    for requirement in wanted:
        name = requirement.split(">")[0].split("[")[0].lower()
        assert name in names, name
    assert "norse" in names
