"""The emulator gives every spike and every voltage that lava-nc 0.10 `fixed_pt` gives."""

from __future__ import annotations

from typing import Any

import nir
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hardware_targets.lava.client import Job, Lava, find_python
from hardware_targets.loihi import emulator
from hardware_targets.loihi.compiler import compile
from hardware_targets.loihi.program import Population, Program, Projection

PYTHON, REASON = find_python()
pytestmark = pytest.mark.skipif(not PYTHON, reason=REASON)
GRAPHS = 25
STEPS, BATCH = 40, 3


def neuron(kind: str, n: int, rng: np.random.Generator) -> nir.NIRNode:
    r, leak = rng.uniform(0.5, 2.0, n), rng.uniform(-0.1, 0.1, n)
    tau, threshold, reset = rng.uniform(2e-3, 3e-2, n), rng.uniform(0.5, 1.5, n), rng.uniform(-0.3, 0.2, n)
    if kind == "IF":
        return nir.IF(1e3 * r, threshold, reset)
    if kind == "LIF":
        return nir.LIF(tau, r, leak, threshold, reset)
    if kind == "CubaLIF":
        return nir.CubaLIF(rng.uniform(1e-3, 1e-2, n), tau, r, leak, threshold, reset)
    if kind == "CubaLI":
        return nir.CubaLI(rng.uniform(1e-3, 1e-2, n), tau, r, leak)
    return nir.LI(tau, r, leak)


def synapses(sources: int, targets: int, style: str, bias: bool, rng: np.random.Generator) -> nir.NIRNode:
    weight = rng.normal(0.3, 1.0, (targets, sources)) * 8 / np.sqrt(sources)
    if style == "binary":
        weight = np.sign(weight) * 3 / np.sqrt(sources)
    if style == "positive":
        weight = np.abs(weight)
    return nir.Affine(weight, rng.normal(0, 0.5, targets)) if bias else nir.Linear(weight)


@st.composite
def graphs(draw: st.DrawFn) -> nir.NIRGraph:
    """One to three populations with loops within and across, skips, biases, with or without a readout."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kinds = draw(st.lists(st.sampled_from(["LIF", "CubaLIF", "IF"]), min_size=1, max_size=3))
    kinds += draw(st.sampled_from([[], ["LI"], ["CubaLI"]]))
    style = draw(st.sampled_from(["normal", "binary", "positive"]))
    sizes = [int(n) for n in rng.integers(2, 24, len(kinds) + 1)]
    nodes: dict[str, Any] = {"input": nir.Input({"input": np.array([sizes[0]])})}
    edges: list[tuple[str, str]] = []
    names = ["input"]

    def connect(source: int, target: int) -> None:
        middle = f"w{source}{target}"
        nodes[middle] = synapses(sizes[source], sizes[target], style, draw(st.booleans()), rng)
        edges.extend([(names[source], middle), (middle, names[target])])

    for i, kind in enumerate(kinds, 1):
        names.append(f"n{i}")
        nodes[names[i]] = neuron(kind, sizes[i], rng)
        connect(i - 1, i)
        if kind in ("LIF", "CubaLIF", "IF") and draw(st.booleans()):
            connect(i, i)
    last = max(i for i, kind in enumerate(kinds, 1) if kind in ("LIF", "CubaLIF", "IF"))
    if last >= 2 and draw(st.booleans()):
        connect(last, 1)
    if len(kinds) >= 2 and draw(st.booleans()):
        connect(0, len(kinds))
    nodes["output"] = nir.Output({"output": np.array([sizes[-1]])})
    edges.append((names[-1], "output"))
    return nir.NIRGraph(nodes, edges)


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """Two populations and every projection between them, with registers up to their very ends."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    sizes = {"input": 5, "a": 4, "b": 3}
    populations = []
    for name in ("a", "b"):
        n = sizes[name]
        arrays = {
            "du": rng.choice([0, 1, 400, 2047, 4094, 4095], n), "dv": rng.choice([0, 1, 300, 2048, 4095], n),
            "vth": rng.choice([0, 1, 500, 20_000, 131_071], n), "bias_mant": rng.integers(-4096, 4096, n),
            "bias_exp": rng.integers(0, 8, n), "u0": rng.integers(-(2**23) + 1, 2**23, n),
            "v0": rng.integers(-(2**23) + 1, 2**23, n),
        }  # fmt: skip
        populations.append(Population(name, (n,), True, 1, **arrays, scale=np.ones(n), zero=np.zeros(n)))
    projections = []
    for source in sizes:
        for target in ("a", "b"):
            shape = (sizes[target], sizes[source])
            sign = draw(st.sampled_from([-1, 0, 1]))
            full = sign * rng.integers(0, 256, shape) if sign else 2 * rng.integers(-128, 128, shape)
            exponent, delay = draw(st.integers(-8, 7)), draw(st.sampled_from([0, 0, 0, 2]))
            projections.append(Projection(source, target, full, exponent, delay))
    return Program(1e-3, "input", (5,), "b", (3,), tuple(populations), tuple(projections), ())


def test_every_spike_and_voltage_equals_lava() -> None:
    active: list[float] = []

    @settings(
        max_examples=GRAPHS,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(graphs(), programs(), st.integers(0, 2**32 - 1))
    def compare(graph: nir.NIRGraph, raw: Program, seed: int) -> None:
        rng = np.random.default_rng(seed)
        jobs = []
        for program, batch in ((compile(graph, 1e-3), BATCH), (raw, 1 + seed % 2)):
            size = int(np.prod(program.input_shape))
            names = tuple(p.name for p in program.populations)
            spikes = (rng.random((STEPS, batch, size)) < 0.3).astype(np.uint8)
            jobs.append(Job(program, spikes, names, names))
        for job, chip in zip(jobs, Lava(timeout=120).execute(jobs), strict=True):
            ours = emulator.run(job.program, job.spikes, job.record, job.voltages)
            for name in job.record:
                assert np.array_equal(ours.spikes[name], chip.spikes[name])
                assert np.array_equal(ours.voltages[name], chip.voltages[name])
                if job is jobs[0] and job.program.population(name).spiking:
                    active.append(float(ours.spikes[name].mean()))

    compare()
    # silent or saturated networks would compare equal for nothing
    assert len(active) > GRAPHS
    assert 0.05 < np.median(active) < 0.6
