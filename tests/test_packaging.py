"""Wheel and source archive: what they hold, that the wheel works with the core alone, and that pins fit what is declared."""

import json
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import neurospin as ns

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
pytestmark = pytest.mark.xdist_group("packaging")  # what the tests share is made once


def build(source, kind, place):
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(place)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (found,) = place.glob("*.whl" if kind == "wheel" else "*.tar.gz")
    return found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return build(ROOT, "wheel", tmp_path_factory.mktemp("wheel"))


def test_the_wheel_is_whole(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = {
        "neurospin/__init__.pyi", "neurospin/twins/__init__.pyi", "neurospin/py.typed", "hardware_targets/py.typed",
        "neurospin/report/report.html.j2", "neurospin/cli/__init__.py", "hardware_targets/lava/worker.py",
        "hardware_targets/c/main.c",
    }  # fmt: skip
    assert wanted <= names
    assert {name.split("/")[0].split("-")[0] for name in names} == {"neurospin", "hardware_targets"}
    assert not [name for name in names if "test_" in name or "__pycache__" in name]
    every = {str(p.relative_to(ROOT)) for f in ("neurospin", "hardware_targets") for p in (ROOT / f).rglob("*.py")}
    assert every <= names
    (entries,) = [n for n in names if n.endswith("entry_points.txt")]
    text = zipfile.ZipFile(wheel).read(entries).decode()
    assert "neurospin = neurospin.cli:main" in text and "loihi = hardware_targets.loihi.target:target" in text
    (licence,) = [n for n in names if n.endswith("licenses/LICENSE")]
    assert b"Apache License" in zipfile.ZipFile(wheel).read(licence)


def test_the_source_archive_gives_the_same_wheel(wheel, tmp_path):
    archive = build(ROOT, "sdist", tmp_path)
    with tarfile.open(archive) as file:
        names = {name.split("/", 1)[1] for name in file.getnames() if "/" in name}
        file.extractall(tmp_path / "source", filter="data")
    for name in ("README.md", "LICENSE", "Makefile", "constraints.txt", "tests/test_packaging.py", "docs/conf.py"):
        assert name in names, name
    assert not [name for name in names if re.match(r"docs/(_build|api)/|runs/|\.venv|\.git/", name)]
    (source,) = (tmp_path / "source").iterdir()
    again = build(source, "wheel", tmp_path / "again")
    first, second = (
        {info.filename: info.CRC for info in zipfile.ZipFile(place).infolist() if not info.filename.endswith("RECORD")}
        for place in (wheel, again)
    )
    assert first == second


def needed(requirements):
    """Every distribution that the requirements bring, theirs included, by canonical name."""
    found, waiting = {}, [(Requirement(text), "") for text in requirements]
    while waiting:
        requirement, extra = waiting.pop()
        name = canonicalize_name(requirement.name)
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        extras = found.setdefault(name, set())
        fresh = ({""} | requirement.extras) - extras
        extras |= fresh
        try:
            wanted = distribution(name).requires or []
        except PackageNotFoundError:
            continue  # of another platform, or of the CUDA build of torch
        waiting += [(Requirement(text), which) for which in fresh for text in wanted]
    return set(found)


@pytest.fixture(scope="module")
def clean(wheel, tmp_path_factory):
    """An environment that holds the wheel, installed by pip, and links to the core's dependencies: nothing else."""
    place = tmp_path_factory.mktemp("clean")
    venv.create(place, with_pip=False, symlinks=True)
    (packages,) = (place / "lib").glob("python*/site-packages")
    for name in needed(PROJECT["dependencies"]):
        try:
            found = distribution(name)
        except PackageNotFoundError:
            continue
        for part in {Path(str(file)).parts[0] for file in found.files or []} - {"..", "__pycache__"}:
            origin = Path(str(found.locate_file(part)))
            if origin.exists() and not (packages / part).exists():
                (packages / part).symlink_to(origin)
    command = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(place / "bin" / "python"),
        "install",
        "--no-deps",
        "--no-index",
    ]
    done = subprocess.run([*command, "--no-compile", str(wheel)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return place / "bin"


def at(clean, *command, **options):
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "NEUROSPIN"))}
    environment["PATH"] = f"{clean}{os.pathsep}{os.environ['PATH']}"
    environment["NUMBA_CACHE_DIR"] = str(clean.parent / "numba")
    done = subprocess.run(
        [str(clean / command[0]), *command[1:]], capture_output=True, text=True, cwd=clean, env=environment, **options
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return done.stdout


def test_the_core_alone_trains_exports_and_certifies(clean):
    code = """
import neurospin as ns, numpy as np, json, importlib.util as u
assert "site-packages" in ns.__file__, ns.__file__
for other in ("snntorch", "norse", "pynwb", "optuna", "duckdb", "pytest", "sphinx"):
    assert u.find_spec(other) is None, other
net = ns.Network([ns.Dense(8, 16, weight=ns.Float(gain=8)), ns.LIF(16, tau_mem=10e-3), ns.Dense(16, 2), ns.LI(2)], dt=1e-3)
x = (np.random.default_rng(0).random((30, 2, 8)) < 0.4).astype(np.float32)
ns.write("own.nir", ns.to_graph(net))
for target in ("reference", "loihi", "crossbar"):
    ns.certify(net, x, target)
told = {}
for name, call in {
    "snntorch": lambda: ns.from_snntorch(None, dt=1e-3), "norse": lambda: ns.from_norse(None, dt=1e-3),
    "pynwb": lambda: ns.twins.from_nwb("x.nwb", stimulus_column="image"),
}.items():
    try:
        call()
    except ns.MissingDependency as error:
        told[name] = str(error)
print(json.dumps(told))
"""
    told = json.loads(at(clean, "python", "-W", "error", "-c", code).splitlines()[-1])
    assert "pip install 'neurospin[nwb]'" in told["pynwb"]
    assert "pip install snntorch" in told["snntorch"] and "pip install --no-deps norse" in told["norse"]


def test_the_command_works_with_the_core_alone(clean):
    ns.write(clean / "net.nir", ns.to_graph(ns.Network([ns.Dense(8, 4), ns.LIF(4), ns.Dense(4, 2), ns.LI(2)], dt=1e-3)))
    assert "net.nir fits loihi" in at(clean, "neurospin", "check", "net.nir", "--target", "loihi")
    doctor = " ".join(re.findall(r"[^\s│]+", at(clean, "neurospin", "doctor")))  # lines of the table are wrapped
    for name in PROJECT["optional-dependencies"]:
        assert f"pip install 'neurospin[{name}]'" in doctor, name
    assert "neurospin" in doctor and "target loihi" in doctor


def test_every_module_imports_with_the_core_alone(clean):
    """Only the pytest plugin, the worker of Lava's own Python, and the GPU's kernels may ask for more."""
    code = """
import importlib, pathlib, neurospin, hardware_targets
others = {"hardware_targets.conformance", "hardware_targets.lava.worker", "neurospin.__main__"}
for package in (neurospin, hardware_targets):
    root = pathlib.Path(package.__file__).parent
    for file in root.rglob("*.py"):
        name = ".".join((package.__name__, *file.relative_to(root).with_suffix("").parts)).removesuffix(".__init__")
        if name not in others and not name.endswith(".cuda"):
            importlib.import_module(name)
"""
    at(clean, "python", "-W", "error", "-c", code)


def pins():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    found = [Requirement(line) for line in lines]
    assert all(len(r.specifier) == 1 and next(iter(r.specifier)).operator == "==" for r in found)
    assert len({canonicalize_name(r.name) for r in found}) == len(found)
    return {canonicalize_name(r.name): next(iter(r.specifier)).version for r in found}


def test_every_direct_dependency_is_pinned_inside_its_range():
    pinned = pins()
    wanted = PROJECT["dependencies"] + [d for extra in PROJECT["optional-dependencies"].values() for d in extra]
    for text in wanted:
        requirement = Requirement(text)
        assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)]), text
    assert "norse" in pinned


def test_what_is_installed_here_is_what_is_pinned():
    """So that the suite speaks of the pinned versions; a CPU build of torch has the same version."""
    for name, version in pins().items():
        try:
            found = distribution(name).version.split("+")[0]
        except PackageNotFoundError:
            continue
        assert found == version, name
