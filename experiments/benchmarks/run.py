"""Measure every cell, and write the table, the figure, and what the README and `docs/speed.md` say.

    python -m experiments.benchmarks.run [--quick] [--device cuda] [--only MODE] [--table FOLDER] [--figure FILE]

`make benchmarks` builds the environment and runs this. One thread, pinned to one core.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import warnings
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"  # before anything that reads them is imported
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
os.environ.setdefault("JAX_PLATFORMS", "cpu")


def main() -> None:
    """The command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--quick", action="store_true", help="five cells, three rounds, no memory, no torch.compile")
    options.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    options.add_argument("--only", help="cells of one mode, no memory")
    options.add_argument("--table", type=Path, help="folder of DEVICE.json and DEVICE.md")
    options.add_argument("--figure", type=Path, help="written as .svg and .png")
    given = options.parse_args()
    part = given.quick or given.only
    folder = given.table or Path("runs/benchmarks" if part else "experiments/benchmarks/results")
    image = given.figure or (folder / "speed" if part or given.device != "cpu" else Path("docs/images/speed"))
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    if given.device == "cpu" and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

    import torch

    from experiments.benchmarks.figure import draw
    from experiments.benchmarks.measure import FULL, GPU, MEMORY, QUICK, Plan, measure
    from experiments.benchmarks.pages import update
    from experiments.benchmarks.runners import LIBRARIES
    from experiments.benchmarks.table import write

    torch.set_num_threads(1)
    works = GPU if given.device == "cuda" else QUICK if given.quick else FULL
    works = [work for work in works if given.only in (None, work.mode)]
    plan = Plan(works, list(LIBRARIES), device=given.device, peaks=[] if part else MEMORY, compiled=not given.quick)
    if given.quick:
        plan = Plan(works, list(LIBRARIES), rounds=3, device=given.device, lasts=0.02, parameters=(2**18,))
    result = measure(plan)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{given.device}.json").write_text(json.dumps(result, indent=1) + "\n")
    print(write(result, folder / f"{given.device}.md"))
    draw(result, image)
    if not part and given.device == "cpu" and given.table is None:
        update(result, Path())


if __name__ == "__main__":
    main()
