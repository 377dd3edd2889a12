"""Every code block of the README and of the docs runs, as it stands there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "experiments" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
FENCE = re.compile(r"(?P<before>[^\n]*)\n```(?P<language>\w*)[^\n]*\n(?P<code>.*?)\n```", re.S)
NOT_RUN = re.compile(r"<!-- not run: (?P<reason>[^>]{5,}) -->")
LANGUAGES = {"python", "bash", "text", "yaml", ""}


def blocks(text):
    """Language, code, and the reason why it is not run (or none) of every fenced block."""
    found = []
    for match in FENCE.finditer("\n" + text):
        marked = NOT_RUN.search(match["before"])
        assert match["language"] in LANGUAGES, f"unknown language {match['language']}"
        found.append((match["language"], match["code"], marked["reason"] if marked else None))
    return found


def run(text, folder):
    """Run the blocks of one page in order: Python in one namespace, bash as one script."""
    python = "\n".join(code for language, code, reason in blocks(text) if language == "python" and not reason)
    shell = "\n".join(code for language, code, reason in blocks(text) if language == "bash" and not reason)
    paths = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": paths, "OMP_NUM_THREADS": "1"}
    for command in ([sys.executable, "-W", "error", "-c", python], ["bash", "-euo", "pipefail", "-c", shell]):
        if command[-1]:
            done = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL
            )
            assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_block_runs(page, tmp_path):
    (tmp_path / "experiments").symlink_to(ROOT / "experiments")
    run(page.read_text(), tmp_path)


def test_the_test_sees_a_block_that_fails(tmp_path):
    page = "text\n```python\nx = 1\n```\nmore\n```python\nassert x == {}\n```\n"
    run(page.format(1), tmp_path)
    with pytest.raises(AssertionError):
        run(page.format(2), tmp_path)
    with pytest.raises(AssertionError):
        run("text\n```bash\ntrue\nfalse\n```\n", tmp_path)
    run("<!-- not run: it would fail -->\n```bash\nfalse\n```\n", tmp_path)


def test_links_of_the_pages_lead_somewhere():
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#]+)", page.read_text()):
            if not link.startswith(("http", "mailto")):
                assert (page.parent / link).exists(), f"{page.name}: {link}"
