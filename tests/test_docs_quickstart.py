"""A newcomer's path: what the quickstart says, word for word, and what must then be there."""

import re
import subprocess
import sys
from pathlib import Path

import nir
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "docs" / "extensions"))

from blocks import blocks, run  # noqa: E402

PAGE = (ROOT / "docs" / "quickstart.md").read_text()
pytestmark = pytest.mark.xdist_group("quickstart")  # what the tests share is made once


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("newcomer")
    return folder, "\n".join(run(PAGE, folder).values())


def test_the_run_folder_holds_what_the_page_says(followed):
    folder, told = followed
    place = folder / "runs" / "first-seed1"
    for name in ("config.yaml", "network.safetensors", "network.nir", "report.html", "certificates/loihi.json"):
        assert (place / name).stat().st_size > 0, name
    assert len(list((place / "figures").glob("*.svg"))) > 5
    assert "report: runs/first-seed1/report.html" in told and "doi:10.1038/s41467-021-22768-y" in told


def test_the_own_model_learns_and_is_told_what_changes(followed):
    _, told = followed
    right = float(re.search(r"([\d.]+) % of the test digits", told).group(1))
    assert right > 80  # of ten classes
    assert "loihi: 64 samples × 20 steps" in told and "mine.nir fits loihi" in told
    spikes = int(re.search(r"lif1: \d+ of \d+ entries differ \((\d+) spikes\)", told).group(1))
    assert spikes > 1000  # a network that is silent would prove nothing


def test_other_tools_read_the_files(followed):
    folder, _ = followed
    assert {"LIF", "LI"} <= {type(node).__name__ for node in nir.read(folder / "mine.nir").nodes.values()}
    with np.load(folder / "test.npz") as file:
        assert file["spikes"].shape == (20, 64, 64)
    for name in ("certificate.svg", "mine.svg"):
        assert (folder / name).read_text().lstrip().startswith("<svg"), name


def test_what_it_does_not_run_is_what_the_makefile_does():
    """The two lines of the installation: the environment of the Makefile, and its demo."""
    (skipped,) = [block for block in blocks(PAGE) if block.reason]
    assert skipped.code.splitlines()[0].split("#")[0].strip() == "make demo"
    planned = subprocess.run(["make", "-n", "demo"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "neurospin run experiments/quickstart.yaml" in planned
    assert (ROOT / ".venv" / "bin" / "activate").is_file() or "-m venv" in planned
