"""The emulator gives every spike and every voltage that lava-nc 0.10 gives: 100 random graphs, 200 steps.

Lava takes a second to start each network, so that many graphs run in one, side by side: their neurons are one
population, their synapses one projection for each exponent, delay and sign, and they never meet. Our side runs
each program alone.
"""

from __future__ import annotations

from collections.abc import Callable

import nir
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from hardware_targets.lava.client import Job, Lava, find_python
from hardware_targets.loihi import emulator
from hardware_targets.loihi.compiler import compile
from hardware_targets.loihi.program import INTEGERS, Population, Program, Projection
from tests.graphs import Made, graphs
from tests.test_loihi_emulator import random_program

PYTHON, REASON = find_python()
pytestmark = pytest.mark.skipif(not PYTHON, reason=REASON)
STEPS, GRAPHS, TOGETHER = 200, 100, 25
FLOAT = ("start",)
"""Fractions everywhere; the start is wound back as on the chip, because Lava cannot wait."""


def neuron(kind: str, shape: tuple[int, ...], rng: np.random.Generator) -> nir.NIRNode:
    def uniform(low: float, high: float) -> np.ndarray:
        return rng.uniform(low, high, shape)

    r, leak, tau = uniform(0.5, 2.0), uniform(-0.1, 0.1), uniform(2e-3, 3e-2)
    threshold, reset = uniform(0.5, 1.5), uniform(-0.3, 0.2)
    if kind == "IF":
        return nir.IF(1e3 * r, threshold, reset)
    if kind == "LIF":
        return nir.LIF(tau, r, leak, threshold, reset)
    if kind == "CubaLIF":
        return nir.CubaLIF(uniform(1e-3, 1e-2), tau, r, leak, threshold, reset)
    if kind == "CubaLI":
        return nir.CubaLI(uniform(1e-3, 1e-2), tau, r, leak)
    return nir.LI(tau, r, leak)


def synapses(sources: int, targets: int, style: str, bias: bool, rng: np.random.Generator) -> nir.NIRNode:
    weight = rng.normal(0.3, 1.0, (targets, sources)) * 8 / np.sqrt(sources)
    if style == "binary":
        weight = np.sign(weight) * 3 / np.sqrt(sources)
    if style == "positive":
        weight = np.abs(weight)
    return nir.Affine(weight, rng.normal(0, 0.5, targets)) if bias else nir.Linear(weight)


def graph(rng: np.random.Generator) -> nir.NIRGraph:
    """One to three populations, with loops within and across, skips, delays, biases; some begin with a convolution."""
    kinds = [str(k) for k in rng.choice(["LIF", "CubaLIF", "IF"], rng.integers(1, 4))]
    spiking = len(kinds)
    kinds += [[], ["LI"], ["CubaLI"]][rng.integers(3)]
    style = str(rng.choice(["normal", "binary", "positive"]))
    sizes = [int(n) for n in rng.integers(2, 12, len(kinds) + 1)]
    names = ["input", *(f"n{i}" for i in range(1, len(kinds) + 1))]
    nodes: dict[str, nir.NIRNode] = {"input": nir.Input({"input": np.array([sizes[0]])})}
    edges: list[tuple[str, str]] = []

    def connect(source: int, target: int) -> None:
        middle = f"w{source}{target}"
        nodes[middle] = synapses(sizes[source], sizes[target], style, bool(rng.integers(2)), rng)
        start = names[source]
        if rng.random() < 0.3:  # where it is not on a loop it lengthens the path, on a loop the loop
            nodes[f"d{source}{target}"] = nir.Delay(np.full(sizes[source], 1e-3 * rng.integers(1, 4)))
            edges.append((start, f"d{source}{target}"))
            start = f"d{source}{target}"
        edges.extend([(start, middle), (middle, names[target])])

    first = 1
    if rng.random() < 0.3:
        side, stride, channels = 5, int(rng.integers(1, 3)), 2
        out = (channels, (side - 3) // stride + 1, (side - 3) // stride + 1)
        nodes["input"] = nir.Input({"input": np.array([1, side, side])})
        weight, bias = rng.normal(0.3, 2.0, (channels, 1, 3, 3)), rng.normal(0, 0.3, channels)
        nodes["conv"] = nir.Conv2d((side, side), weight, stride, 0, 1, 1, bias)
        nodes["n1"] = neuron(kinds[0], out, rng)
        nodes["flat"] = nir.Flatten({"input": np.array(out)}, 0, -1)
        edges += [("input", "conv"), ("conv", "n1"), ("n1", "flat")]
        if len(kinds) == 1:
            kinds, spiking = [*kinds, "LIF"], 2
            sizes, names = [*sizes, 5], [*names, "n2"]
        names[1], sizes[1], first = "flat", int(np.prod(out)), 2
    for i in range(first, len(kinds) + 1):
        nodes[names[i]] = neuron(kinds[i - 1], (sizes[i],), rng)
        connect(i - 1, i)
        if i <= spiking and rng.integers(2):
            connect(i, i)
    if spiking > first and rng.integers(2):
        connect(spiking, first)
    if first == 1 and len(kinds) >= 2 and rng.integers(2):
        connect(0, len(kinds))
    nodes["output"] = nir.Output({"output": np.array([sizes[-1]])})
    edges.append((names[-1], "output"))
    return nir.NIRGraph(nodes, edges)


def together(programs: list[Program]) -> Program:
    """Programs side by side, as one with one population."""
    inputs = np.cumsum([0, *(int(np.prod(p.input_shape)) for p in programs)])
    neurons = np.cumsum([0, *(sum(q.size for q in p.populations) for p in programs)])
    blocks: dict[tuple, np.ndarray] = {}
    for k, program in enumerate(programs):
        places = neurons[k] + np.cumsum([0, *(q.size for q in program.populations)])
        place = {q.name: int(at) for q, at in zip(program.populations, places[:-1], strict=True)}
        for p in program.projections:
            outer = p.source == program.input
            sign = ((p.weights.data > 0).any(), (p.weights.data < 0).any()) if program.whole else ()
            key = ("input" if outer else "all", p.exponent if program.whole else -6, p.delay, sign)
            shape = (neurons[-1], inputs[-1] if outer else neurons[-1])
            block = blocks.setdefault(key, np.zeros(shape, p.weights.dtype if program.whole else float))
            row, column = place[p.target], int(inputs[k]) if outer else place[p.source]
            unit = 1 if program.whole else 2.0 ** (p.exponent + 6)
            block[row : row + p.weights.shape[0], column : column + p.weights.shape[1]] += p.weights.toarray() * unit
    n = int(neurons[-1])
    given = {key: np.concatenate([getattr(q, key) for p in programs for q in p.populations]) for key in INTEGERS}
    one = Population("all", (n,), True, 0, **given, scale=np.ones(n), zero=np.zeros(n))
    projections = tuple(Projection(s, "all", w, e, d) for (s, e, d, _), w in blocks.items())
    return Program(1e-3, "input", (int(inputs[-1]),), "all", (n,), (one,), projections, (), programs[0].whole)


def compare(programs: list[Program], check: Callable[[str, np.ndarray, np.ndarray], None]) -> list[float]:
    """Our programs one by one against Lava's all together; gives the activity of every population."""
    rng, jobs = np.random.default_rng(1), []
    for i in range(0, len(programs), TOGETHER):
        whole = together(programs[i : i + TOGETHER])
        spikes = (rng.random((STEPS, 1, *whole.input_shape)) < 0.3).astype(np.uint8)
        jobs.append(Job(whole, spikes, ("all",), ("all",)))
    active = []
    for k, (job, chip) in enumerate(zip(jobs, Lava(timeout=400).execute(jobs), strict=True)):
        column = place = 0
        for program in programs[k * TOGETHER : (k + 1) * TOGETHER]:
            width, names = int(np.prod(program.input_shape)), tuple(p.name for p in program.populations)
            ours = emulator.run(program, job.spikes[..., column : column + width], names, names)
            column += width
            for name in names:
                here = slice(place, place + program.population(name).size)
                place = here.stop
                check("spikes", ours.spikes[name], chip.spikes["all"][..., here])
                check("voltages", ours.voltages[name], chip.voltages["all"][..., here])
                if program.population(name).spiking:
                    active.append(float(ours.spikes[name].mean()))
    return active


def equal(what: str, ours: np.ndarray, chip: np.ndarray) -> None:
    assert np.array_equal(ours, chip), what


def close(what: str, ours: np.ndarray, chip: np.ndarray) -> None:
    """Sums in another order: voltages of some 10⁶ may differ in their last bits, spikes never."""
    if what == "spikes":
        assert np.array_equal(ours, chip)
    else:
        np.testing.assert_allclose(ours, chip, rtol=1e-9, atol=1e-3)


def test_every_spike_and_voltage_equals_lava() -> None:
    rng = np.random.default_rng(0)
    programs = [compile(graph(rng), 1e-3) for _ in range(GRAPHS)]
    assert sum(any(p.delay for p in q.projections) for q in programs) >= 20
    assert sum(len(q.input_shape) == 3 for q in programs) >= 20
    active = compare(programs, equal)
    # silent or saturated networks would compare equal for nothing
    assert len(active) > GRAPHS and 0.05 < np.median(active) < 0.6


def test_graphs_that_hypothesis_makes_equal_lava() -> None:
    programs: list[Program] = []

    @settings(max_examples=TOGETHER, phases=[Phase.generate], database=None, suppress_health_check=list(HealthCheck))
    @given(graphs(skips=True))
    def make(made: Made) -> None:
        programs.append(compile(made.graph, 1e-3))

    make()  # all of them go to Lava at once: it takes a second to start each network
    active = compare(programs, equal)
    assert len(programs) >= 20 and 0.01 < np.median(active) < 0.9


def test_registers_at_their_ends_equal_lava() -> None:
    rng = np.random.default_rng(1)
    active = compare([random_program(rng) for _ in range(TOGETHER)], equal)
    assert 0.05 < np.median(active) < 0.6


def test_fractions_equal_lava_in_floating_point() -> None:
    rng = np.random.default_rng(0)
    programs = [compile(graph(rng), 1e-3, FLOAT) for _ in range(GRAPHS)]
    active = compare(programs, close)
    assert len(active) > GRAPHS and 0.05 < np.median(active) < 0.6
