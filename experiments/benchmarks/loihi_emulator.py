"""Time per sample of the Loihi emulator and of lava-nc on one recurrent network, in one run; spikes must be equal.

    python experiments/benchmarks/loihi_emulator.py [--batch 256] [--steps 200] [--rounds 3]

128 recurrent CubaLIF neurons with 128 inputs. lava-nc runs in its own Python (`neurospin doctor --setup-lava`), the
same integers; `N side by side` puts N samples into one network as separate neurons, which shares its cost per
step. Its time is taken twice: the processor time of the worker and all its processes, and the clock of the worker
from start to end (compilation and stop included, interpreter start not). Ours is processor time of one thread,
which a busy machine changes little. Rounds are interleaved; medians.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time

import nir
import numpy as np

from hardware_targets.lava import client
from hardware_targets.loihi import emulator
from hardware_targets.loihi.compiler import compile
from hardware_targets.loihi.program import Program

SIZE = 128


def network(rng: np.random.Generator) -> Program:
    def all_of(value: float) -> np.ndarray:
        return np.full(SIZE, value)

    neuron = nir.CubaLIF(all_of(5e-3), all_of(20e-3), all_of(1.0), all_of(0.0), all_of(0.2), all_of(0.0))
    nodes = {
        "input": nir.Input({"input": np.array([SIZE])}),
        "w": nir.Affine(rng.normal(0.02, 0.25, (SIZE, SIZE)), all_of(0.05)),
        "r": nir.Linear(rng.normal(0, 0.15, (SIZE, SIZE))),
        "cuba": neuron,
        "output": nir.Output({"output": np.array([SIZE])}),
    }
    edges = [("input", "w"), ("w", "cuba"), ("cuba", "r"), ("r", "cuba"), ("cuba", "output")]
    return compile(nir.NIRGraph(nodes, edges), 1e-3)


def children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def lava(program: Program, spikes: np.ndarray, side_by_side: int) -> tuple[float, float, np.ndarray]:
    """Processor and clock seconds per sample, and the spikes."""
    synapses = max(p.weights.nnz for p in program.projections)
    client.SYNAPSES = side_by_side * synapses
    before, start = children(), time.perf_counter()
    found = client.Lava().execute([client.Job(program, spikes, ("cuba",))])[0]
    n = spikes.shape[1]
    return (children() - before) / n, (time.perf_counter() - start) / n, found.spikes["cuba"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    rng = np.random.default_rng(0)
    program = network(rng)
    spikes = (rng.random((given.steps, given.batch, SIZE)) < 0.05).astype(np.uint8)
    reference = emulator.run(program, spikes, ("cuba",)).spikes["cuba"]
    print(f"{given.batch} samples of {given.steps} steps; {100 * reference.mean():.1f} % of neurons spike in a step")
    ours: list[float] = []
    theirs: dict[int, list[tuple[float, float]]] = {1: [], 32: [], given.batch: []}
    for _ in range(given.rounds):
        for side, times in theirs.items():
            chosen = spikes[:, : side if side > 1 else 2]
            work, clock, found = lava(program, chosen, side)
            assert np.array_equal(found, reference[:, : chosen.shape[1]])
            times.append((work, clock))
            for _ in range(5):
                start = time.process_time()
                emulator.run(program, spikes, ("cuba",))
                ours.append((time.process_time() - start) / given.batch)
    own = statistics.median(ours)
    print(f"emulator: {1e6 * own:.0f} us a sample ({1e9 * own / given.steps / SIZE:.2f} ns a neuron and step)")
    for side, times in theirs.items():
        work, clock = (statistics.median(column) for column in zip(*times, strict=True))
        print(
            f"lava-nc, {side} side by side: {1e3 * work:.1f} ms of processor a sample ({work / own:.0f} x ours), "
            f"{1e3 * clock:.1f} ms by the clock ({clock / own:.0f} x)"
        )


if __name__ == "__main__":
    main()
