"""The documentation: it builds without a warning, leads somewhere, is spelled right, and shows what blocks print."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("sphinx", reason='needs pip install "neurospin[docs]"')
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "docs" / "extensions"))

import blocks  # noqa: E402
import reference  # noqa: E402

pytestmark = pytest.mark.xdist_group("docs")  # what the tests share is made once


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The pages, without the outputs of their blocks, which tests/test_readme.py runs."""
    folder = tmp_path_factory.mktemp("html")
    command = [
        sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-D", "run_blocks=0", "-c", "docs",
        "-d", str(folder / "doctrees"), ".", str(folder),
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


def test_every_page_builds_and_none_needs_a_connection(built):
    for page in built.rglob("*.html"):
        text = page.read_text()
        loads = re.findall(r"""<(?:script|link|img)[^>]*(?:src|href)=["'](https?:[^"']*)""", text)
        assert not loads, (page, loads)
    assert "<math" in (built / "docs/theory/index.html").read_text()


def test_links_inside_lead_somewhere(built):
    for page in built.rglob("*.html"):
        text = re.sub(r"<script.*?</script>", "", page.read_text(), flags=re.S)
        for link in re.findall(r'<a[^>]*href="([^"]+)"', text):
            path, _, anchor = link.partition("#")
            if re.match(r"[a-z]+:", path):
                continue
            place = (page.parent / path).resolve() if path else page
            assert place.exists(), (page.relative_to(built), link)
            if anchor and place.suffix == ".html":
                assert f'id="{anchor}"' in place.read_text(), (page.relative_to(built), link)


def test_every_page_of_docs_is_at_the_side(built):
    side = (built / "docs/index.html").read_text().split('class="sidebar-tree"')[1].split("</aside>")[0]
    for page in [p for p in (ROOT / "docs").rglob("*.md") if "_build" not in p.parts and p.name != "index.md"]:
        assert f'href="{page.relative_to(ROOT / "docs").with_suffix(".html")}"' in side, page


def test_every_public_name_is_in_the_reference(built):
    import neurospin as ns

    text = "".join(page.read_text() for page in (built / "docs/api").glob("*.html"))
    modules = {"continual", "data", "encode", "energy", "plasticity", "plots", "tasks", "twins"}
    for name in set(ns.__all__) - modules:
        assert f'id="neurospin.{name}"' in text, name
    for name in reference.names("neurospin.plasticity"):
        assert f'id="neurospin.plasticity.{name}"' in text, name
    assert "τ dv/dt = (v_leak − v) + r i" in re.sub("<[^>]*>", "", text)  # the equation of a neuron
    assert 'href="https://doi.org/10.1038/s41467-021-22768-y"' in text


def test_an_output_stands_below_its_block(tmp_path):
    page = "# A\n\n```python\nprint('```', 1)\nopen('a.svg', 'w').write('<svg/>')\n```\n\n```python\nx = 1\n```\nend\n"
    printed, pictures = blocks._shown("page", page, tmp_path, b"")
    assert printed[0] == "``` 1\n" and not printed[1] and pictures == {0: ["a.svg"]}
    again, _ = blocks._shown("page", page, tmp_path, b"")
    assert again == printed
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        blocks._shown("page", "```python\n1 / 0\n```\n", tmp_path, b"")


def test_docstrings_become_plain_text():
    told = reference.plain(["|h| grows as *n*, see keep_", "", "Equation::", "", "    |h| * x_", "", "doi:10.1/a_b."])
    assert told[0] == r"\|h\| grows as \*n\*, see keep\_" and told[4] == "    |h| * x_"
    assert told[6] == "`doi:10.1/a_b <https://doi.org/10.1/a_b>`__."


def test_words_are_spelled_right():
    done = subprocess.run([sys.executable, "-m", "codespell_lib"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_doctests():
    """Every example in a docstring gives what it says."""
    places = [p for p in (ROOT / "neurospin").rglob("*.py") if re.search(r"^ +>>> \w", p.read_text(), re.M)]
    assert places
    command = [sys.executable, "-m", "pytest", "-q", "--doctest-modules", "-p", "no:cacheprovider", "-n", "0", *places]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]
