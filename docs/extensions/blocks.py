"""Runs the code blocks of a page, and shows below each block what it printed and the pictures that it wrote.

All Python blocks of a page are one program, and all bash blocks one script, run after it in the same folder.
`tests/test_readme.py` runs the pages with the same function.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
VERSION = re.search(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.M)[1]  # type: ignore[index]
FENCE = re.compile(r"(?P<before>[^\n]*)\n```(?P<language>\w*)[^\n]*\n(?P<code>.*?)\n```(?=\n|$)", re.S)
NOT_RUN = re.compile(r"<!-- not run: (?P<reason>[^>]{5,}) -->")
PICTURE = re.compile(r"[\w/-]+\.(?:svg|png)\b")
LANGUAGES = {"python", "bash", "text", "yaml", ""}
MARK = "\x1e"
WIDTH = 110  # of tables that a terminal would show


@dataclass
class Block:
    """A fenced block: its language, its code, why it is not run (or none), and where it ends in the page."""

    language: str
    code: str
    reason: str | None
    end: int


def blocks(text: str) -> list[Block]:
    """The fenced blocks of a page."""
    found = []
    for match in FENCE.finditer("\n" + text):
        marked = NOT_RUN.search(match["before"])
        assert match["language"] in LANGUAGES, f"unknown language {match['language']}"
        found.append(Block(match["language"], match["code"], marked["reason"] if marked else None, match.end() - 1))
    return found


def run(text: str, folder: Path) -> dict[int, str]:
    """Run the blocks of a page in a folder.

    Returns:
        What each block printed, by its number in the page.

    Raises:
        AssertionError: with what was printed, when a block fails.
    """
    experiments = folder / "experiments"
    if not experiments.exists():
        experiments.symlink_to(ROOT / "experiments")
    numbered = list(enumerate(blocks(text)))
    paths = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": paths, "OMP_NUM_THREADS": "1", "COLUMNS": str(WIDTH)}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    beside = ROOT.parent / "shared" / "data"
    if beside.is_dir():
        environment.setdefault("NEUROSPIN_DATA", str(beside))
    printed: dict[int, str] = {}
    for language, command, mark in (
        ("python", [sys.executable, "-W", "error", "-c"], f"print({MARK!r}, flush=True)"),
        ("bash", ["bash", "-euo", "pipefail", "-c"], f"echo '{MARK}'"),
    ):
        mine = {n: block.code for n, block in numbered if block.language == language and not block.reason}
        if not mine:
            continue
        script = "\n".join(f"{code}\n{mark}" for code in mine.values())
        done = subprocess.run(
            [*command, script], cwd=folder, capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
        printed |= zip(mine, done.stdout.split(MARK + "\n"), strict=False)
    return printed


def _code_of(root: Path) -> bytes:
    """Everything that an output may depend on."""
    places = [p for name in ("neurospin", "hardware_targets", "experiments") for p in (root / name).rglob("*.*")]
    kinds = (".py", ".pyi", ".j2", ".yaml", ".c")
    return b"".join(p.read_bytes() for p in sorted(places) if p.suffix in kinds)


def _shown(page: str, text: str, kept: Path, code: bytes) -> tuple[dict[int, str], dict[int, list[str]]]:
    """Printed text and pictures by block, from the last build where neither page nor code have changed."""
    key = hashlib.sha256(code + text.encode()).hexdigest()
    place = kept / page
    record = place / "shown.json"
    if record.is_file() and (content := json.loads(record.read_text()))["key"] == key:
        return ({int(n): v for n, v in content[name].items()} for name in ("printed", "pictures"))  # type: ignore[return-value]
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    pictures: dict[int, list[str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        printed = run(text, Path(folder))
        for number, block in enumerate(blocks(text)):
            if block.language not in ("python", "bash") or block.reason:
                continue
            for name in dict.fromkeys(PICTURE.findall(block.code)):
                if (Path(folder) / name).is_file():
                    (place / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(Path(folder) / name, place / name)
                    pictures.setdefault(number, []).append(name)
    record.write_text(json.dumps({"key": key, "printed": printed, "pictures": pictures}))
    return printed, pictures


def _show(app: Any, page: str, source: list[str]) -> None:
    """Put outputs and pictures below the blocks of a page of docs/."""
    place = Path(app.env.doc2path(page))
    text = source[0]
    if place.suffix != ".md" or not page.startswith("docs/") or not app.config.run_blocks:
        return
    if not any(block.language in ("python", "bash") and not block.reason for block in blocks(text)):
        return
    if not hasattr(app, "code_of_blocks"):
        app.code_of_blocks = _code_of(ROOT)
    kept = ROOT / "docs" / "_build" / "shown"
    try:
        printed, pictures = _shown(page, text, kept, app.code_of_blocks)
    except AssertionError as error:
        from sphinx.util import logging

        logging.getLogger(__name__).warning("a block fails: %s", error, location=page)
        return
    for number, block in reversed(list(enumerate(blocks(text)))):
        shown = ""
        if printed.get(number, "").strip():
            body = printed[number].strip("\n")
            fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", body)), default=0))
            shown += f"\n\n{fence}{{code-block}} text\n:class: output\n\n{body}\n{fence}"
        for name in pictures.get(number, []):
            shown += f"\n\n```{{image}} /docs/_build/shown/{page}/{name}\n:class: drawn\n:alt: {name}\n```"
        text = text[: block.end] + shown + text[block.end :]
    source[0] = text


def setup(app: Any) -> dict[str, bool]:
    """Sphinx's entry."""
    app.add_config_value("run_blocks", True, "env")
    app.connect("source-read", _show)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
