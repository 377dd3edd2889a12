"""Every code block of the README and of the docs runs, as it stands there."""

import re
import resource
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "docs" / "extensions"))

from blocks import run  # noqa: E402

QUICKSTART = ROOT / "docs" / "quickstart.md"  # tests/test_docs_quickstart.py follows it
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "experiments" / "README.md",
    *sorted(set((ROOT / "docs").rglob("*.md")) - {QUICKSTART}),
]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_block_runs(page, tmp_path):
    """A tutorial takes less than a minute of one core."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run(page.read_text(), tmp_path)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert page.parent.name != "tutorials" or seconds < 60, seconds


def test_the_test_sees_a_block_that_fails(tmp_path):
    page = "text\n```python\nx = 1\n```\nmore\n```python\nassert x == {}\n```\n"
    run(page.format(1), tmp_path)
    with pytest.raises(AssertionError):
        run(page.format(2), tmp_path)
    with pytest.raises(AssertionError):
        run("text\n```bash\ntrue\nfalse\n```\n", tmp_path)
    run("<!-- not run: it would fail -->\n```bash\nfalse\n```\n", tmp_path)


def test_links_of_the_pages_lead_somewhere():
    for page in [*PAGES, QUICKSTART]:
        for link in re.findall(r"\]\(([^)#]+)", page.read_text()):
            if not link.startswith(("http", "mailto")):
                assert (page.parent / link).exists(), f"{page.name}: {link}"
