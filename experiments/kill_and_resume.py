"""Kill a run 20 times with signal 9, at random moments; each time go on with it, and compare with a run that nobody killed.

    python experiments/kill_and_resume.py [--kills 20] [--seed 0]

Compared byte by byte: networks, checkpoints, graph, certificates, arrays, figures; and every number of
`results.json` and `metrics.jsonl` but the seconds. The exit status is 1 if anything differs.
"""

import argparse
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SETTINGS = ["stream.tasks=2", "training.epochs=4", "encode.steps=8", "network.hidden=[64]", "targets=[reference]"]
EPOCHS = 24  # three learners, two tasks, four epochs


def command(folder):
    words = [sys.executable, "-m", "neurospin", "run", str(Path(__file__).with_name("quickstart.yaml"))]
    words += [word for setting in SETTINGS for word in ("--set", setting)]
    return [*words, "--output", str(folder), "--keep-every", "0.2"]


def start(folder):
    return subprocess.Popen(command(folder), stdout=subprocess.DEVNULL)


def content(folder):
    """What a run folder holds, but for the seconds that things took, the lock, and the report."""
    found = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name not in (".lock", "report.html")):
        name = str(path.relative_to(folder))
        if name == "metrics.jsonl":
            rows = [bare(json.loads(line)) for line in path.read_text().splitlines()]
            found[name] = sorted(rows, key=lambda row: (row["learner"], row["task"], row["epoch"]))
        else:
            found[name] = bare(json.loads(path.read_text())) if path.suffix == ".json" else path.read_bytes()
    return found


def epochs(folder):
    """How many a run has told of."""
    place = folder / "metrics.jsonl"
    return len(place.read_text().splitlines()) if place.is_file() else 0


def bare(value):
    return {k: bare(v) for k, v in value.items() if k != "seconds"} if isinstance(value, dict) else value


def where(folder):
    """How far a killed run had come."""
    if not (folder / "config.yaml").is_file():
        return "before its configuration"
    if (folder / "results.json").is_file():
        return "in the report"
    torn = ", ".join(p.name for p in folder.rglob(".tmp-*"))
    writing = f" while writing {torn}" if torn else ""
    return f"after {epochs(folder)} of {EPOCHS} epochs{writing}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    chance = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as place:
        assert start(Path(place) / "whole").wait() == 0
        whole = content(Path(place) / "whole")
        print(f"not killed: {len(whole)} files", flush=True)
        equal = number = 0
        while number < given.kills:
            folder = Path(place) / "run"
            shutil.rmtree(folder, ignore_errors=True)
            child = start(folder)
            # a random stretch of training, then a random fraction of a second: the machine's load does not matter
            rows, pause = chance.randrange(EPOCHS + 1), chance.uniform(0, 1)
            while child.poll() is None and epochs(folder) < rows:
                time.sleep(0.005)
            time.sleep(pause)
            child.kill()
            if child.wait() != -signal.SIGKILL:
                continue  # it was done before: another moment
            number += 1
            told = where(folder)
            assert start(folder).wait() == 0
            found = content(folder)
            differing = [name for name in sorted(whole.keys() | found.keys()) if whole.get(name) != found.get(name)]
            equal += not differing
            print(f"{number:2}: killed {told}: {', '.join(differing) or 'equal'}", flush=True)
        print(f"{equal} of {given.kills} equal")
        sys.exit(equal < given.kills)


if __name__ == "__main__":
    main()
