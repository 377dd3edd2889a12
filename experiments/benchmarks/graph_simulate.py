"""How long a graph takes to be simulated and a file to be read, on one core.

64 recurrent CubaLIF neurons, 256 steps, 1000 samples; a file of 10 MB. Medians of CPU time. Before timing, the
network of the same graph is checked to give the same spikes, every one.
Run: OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 python experiments/benchmarks/graph_simulate.py
"""

import statistics
import tempfile
import time
from pathlib import Path

import nir
import numpy as np
import torch

import neurospin as ns

STEPS, SAMPLES, NEURONS, ROUNDS = 256, 1000, 64, 5


def recurrent(rng):
    """A nested graph of 64 neurons that feed themselves through an Affine."""
    one = np.ones(NEURONS, np.float32)
    inner = {
        "input": nir.Input({"input": np.array([NEURONS])}),
        "lif": nir.CubaLIF(
            tau_syn=5e-3 * one, tau_mem=20e-3 * one, r=20 * one, v_leak=0 * one, v_threshold=one, v_reset=0 * one,
            w_in=one,
        ),
        "w_rec": nir.Affine((0.2 * rng.normal(size=(NEURONS, NEURONS))).astype(np.float32), 0.02 * one),
        "output": nir.Output({"output": np.array([NEURONS])}),
    }  # fmt: skip
    loop = [("input", "lif"), ("lif", "w_rec"), ("w_rec", "lif"), ("lif", "output")]
    nodes = {
        "input": nir.Input({"input": np.array([NEURONS])}),
        "rnn": nir.NIRGraph(inner, loop),
        "output": nir.Output({"output": np.array([NEURONS])}),
    }
    return nir.NIRGraph(nodes, [("input", "rnn"), ("rnn", "output")], metadata={"neurospin": {"dt": 1e-3}})


def median(function):
    """Median CPU seconds of some runs, after one that compiles."""
    function()
    times = []
    for _ in range(ROUNDS):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return statistics.median(times)


def main():
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    graph = recurrent(rng)
    x = (rng.random((STEPS, SAMPLES, NEURONS)) < 0.1).astype(np.float32)
    found = ns.simulate(graph, x).output
    with torch.no_grad():
        same = ns.from_graph(graph)(torch.from_numpy(x)).output.numpy()
    print(f"rate {found.mean():.3f} spikes a step; spikes that differ from the network's: {int((found != same).sum())}")
    print(
        f"simulate, 64 recurrent CubaLIF, {STEPS} steps, {SAMPLES} samples: {median(lambda: ns.simulate(graph, x)):.2f} s"
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.nir"
        weight = rng.normal(size=(1450, 2000)).astype(np.float32)
        nodes = {
            "input": nir.Input({"input": np.array([2000])}),
            "w": nir.Linear(weight),
            "output": nir.Output({"output": np.array([1450])}),
        }
        large = nir.NIRGraph(nodes, [("input", "w"), ("w", "output")])
        for name, save in (("neurospin", ns.write), ("nir", nir.write)):
            save(path, large)
            size = path.stat().st_size / 1e6
            print(f"read, {size:.1f} MB written by {name}: {median(lambda: ns.read(path)):.3f} s")


if __name__ == "__main__":
    main()
