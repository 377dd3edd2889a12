"""Runs in processes of their own that are killed: at a write, within a write, or at any time."""

import multiprocessing
import os
import resource
import signal
import sys
from pathlib import Path

from neurospin.runs import config, experiment
from neurospin.runs.train import Silent

TINY = {
    "name": "tiny",
    "stream": {"tasks": 2},
    "encode": {"steps": 3},
    "network": {"hidden": [8], "gain": [8, 16], "tau_mem": 8e-3, "tau_out": 8e-3},
    "training": {"epochs": 2, "batch_size": 500},
    "learners": {"a": {"title": "A", "m": 20.0}, "b": {"title": "B", "rule": "mesu", "settings": {"samples": 2}}},
    "main": "a",
    "targets": ["reference"],
    "samples": 12,
}
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["tests.killing", "neurospin.report.html", "torch._dynamo"])


def start(folder, die_at=0, largest=0, full=False, report=False, every=0.0):
    """Begin or go on with a run in a new process.

    `die_at`: kill −9 at that write (or move, or removal) of a file in the folder. `largest`: kill in the middle of
    the first write beyond so many bytes; with `full` such a write fails instead, as on a full disk.
    """
    child = processes.Process(target=_child, args=(str(folder), die_at, largest, full, report, every))
    child.start()
    return child


def finish(child):
    child.join(120)
    return child.exitcode


def _child(folder, die_at, largest, full, report, every):
    os.dup2(os.open(f"{folder}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
    if largest:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN if full else signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
    seen = 0

    def watch(event, arguments):
        nonlocal seen
        if event not in ("open", "os.rename", "os.remove") or not str(arguments[0]).startswith(folder + "/"):
            return
        if event == "open" and not (arguments[2] & (os.O_WRONLY | os.O_RDWR)):
            return
        seen += 1
        if seen == die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    try:
        experiment.run(config.parse(TINY, "killing"), Path(folder), Silent(), every=every, report=report)
    except OSError as error:
        os.write(2, f"{type(error).__name__}: {error}\n".encode())
        os._exit(1)
    Path(f"{folder}.writes").write_text(str(seen))
