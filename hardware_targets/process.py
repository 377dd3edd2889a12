"""A worker in another Python: files in a folder, `report.json` at the end, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from neurospin.errors import TargetError


def work(
    name: str, command: Sequence[str], folder: Path, *, timeout: float, environment: Mapping[str, str], remedy: str
) -> dict[str, Any]:
    """Run a worker to its end; gives its report, `{"ok": true, …}`.

    Args:
        name: of the target, for errors.
        command: the interpreter first.
        folder: in which the worker runs; its output goes to `log.txt`, its report to `report.json`.
        timeout: seconds after which it is ended, with all that it started.
        environment: variables.
        remedy: what helps when the interpreter does not start.

    Raises:
        TargetError: it did not start, took too long, or says in one line what failed.
    """
    log = folder / "log.txt"
    with log.open("wb") as file:
        try:
            process = subprocess.Popen(
                command, cwd=folder, env=environment, stdin=subprocess.DEVNULL,
                stdout=file, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise TargetError(name, "an interpreter that starts", f"{command[0]}: {error}", remedy) from error
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            got = f"none after {timeout:g} s"
            raise TargetError(name, "an answer of the worker", got, "give fewer samples or steps") from None
        finally:
            _end(process)
    report = _report(folder / "report.json")
    if not report.get("ok"):
        error = report.get("error") or _last_line(log) or f"exit code {process.returncode}"
        raise TargetError(name, "a run without errors", error, "give fewer samples, or check with target loihi")
    return report


def _report(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End whatever is left of the worker's own session; politely first, so that shared memory is given back."""
    for kind in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, kind)
        except (ProcessLookupError, PermissionError):
            break
        patience = time.monotonic() + 2.0
        while time.monotonic() < patience and process.poll() is None:
            time.sleep(0.02)
    process.wait()
