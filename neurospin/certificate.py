"""Certificates: a network or graph against a target, spike by spike.

The reference is the network itself (or, for a graph, its interpreter in float32). The target's
outputs are moved by the latency that it reports; then every spike of every spiking node is compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import nir
import numpy as np
import torch

from neurospin.encode import decide
from neurospin.errors import InputError
from neurospin.graph.build import to_graph
from neurospin.graph.contract import check_input, input_shape, neurons
from neurospin.graph.simulate import simulate
from neurospin.network import Network
from neurospin.target import check, deploy


@dataclass(frozen=True)
class Difference:
    """The first spike that differs, in the order of time, then sample, then neuron."""

    time: int
    sample: int
    neuron: tuple[int, ...]
    expected: int
    got: int


@dataclass(frozen=True)
class Agreement:
    """How far one spiking node agrees.

    Attributes:
        equal: share of equal entries, over time, samples and neurons.
        entries: how many there are.
        total_spikes: of the reference.
        differing: number of entries that differ.
        latency_steps: by which the target's spikes were moved.
        first_difference: `None` when every spike is equal.
    """

    equal: float
    entries: int
    total_spikes: int
    differing: int
    latency_steps: int
    first_difference: Difference | None


@dataclass(frozen=True)
class Certificate:
    """What changed on the way to a target.

    Attributes:
        target: its name.
        samples: number of samples compared.
        steps: number of steps compared.
        latency_steps: delay of the target's output.
        nodes: agreement of every spiking node.
        output_error: largest and mean absolute difference of the output, and the largest output.
        accuracy: share of right decisions before and after, where labels were given.
        approximations: what the target says it approximated.
        operations: work counted by the target.
        energy: joules by part, where the target has a cited table.
        problems: why the graph does not run there; then nothing was compared.
    """

    target: str
    samples: int
    steps: int
    latency_steps: int = 0
    nodes: dict[str, Agreement] = field(default_factory=dict)
    output_error: dict[str, float] = field(default_factory=dict)
    accuracy: dict[str, float] | None = None
    approximations: list[dict[str, Any]] = field(default_factory=list)
    operations: dict[str, float] = field(default_factory=dict)
    energy: dict[str, float] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def equal(self) -> float:
        """Share of equal entries over all spiking nodes; 0 where nothing was compared."""
        entries = sum(node.entries for node in self.nodes.values())
        return 1 - sum(node.differing for node in self.nodes.values()) / entries if entries else 0.0

    @property
    def exact(self) -> bool:
        """Whether every spike is equal."""
        return not self.problems and all(node.differing == 0 for node in self.nodes.values())

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {**asdict(self), "exact": self.exact, "equal": self.equal}

    def __str__(self) -> str:
        if self.problems:
            return "\n".join([f"{self.target}: does not run", *(f"  {problem}" for problem in self.problems)])
        lines = [f"{self.target}: {self.samples} samples × {self.steps} steps, latency {self.latency_steps} steps"]
        for name, node in self.nodes.items():
            text = f"  {name}: {node.differing} of {node.entries} entries differ ({node.total_spikes} spikes)"
            first = node.first_difference
            if first is not None:
                where = f"step {first.time}, sample {first.sample}, neuron {list(first.neuron)}"
                text += f"; first at {where}: expected {first.expected}, got {first.got}"
            lines.append(text)
        if self.output_error and self.output_error["max"] == 0:
            lines.append("  output: equal")
        elif self.output_error:
            largest, scale = self.output_error["max"], self.output_error["scale"]
            lines.append(f"  output: largest difference {largest:.3g}, of values up to {scale:.3g}")
        if self.accuracy:
            lines.append(f"  accuracy: {self.accuracy['before']:.4f} before, {self.accuracy['after']:.4f} after")
        lines += [f"  {a['node']}: {a['what']} ({a['size']:.3g})" for a in self.approximations]
        return "\n".join(lines)


def certify(
    model: Network | nir.NIRGraph,
    spikes: np.ndarray | torch.Tensor,
    target: str,
    *,
    labels: np.ndarray | torch.Tensor | None = None,
    dt: float | None = None,
    seed: int = 0,
    graph: nir.NIRGraph | None = None,
) -> Certificate:
    """Run a model as it is and on a target, and tell every difference.

    Args:
        model: a network, or a graph.
        spikes: input of shape `(time, batch, *input)`.
        target: name of a registered target.
        labels: class of each sample, `(batch,)`; gives the accuracy before and after.
        dt: step in seconds, for a graph that records none.
        seed: of everything random on the target.
        graph: what the target runs in place of the model's own graph, for example the one that went
            through the disk.

    Raises:
        UnknownName: no target of that name.
        InputError: the input or the labels do not fit.
        TargetError: the target failed.
    """
    if graph is None:
        graph = to_graph(model) if isinstance(model, Network) else model
    given = spikes.detach().cpu().numpy() if isinstance(spikes, torch.Tensor) else spikes
    array = check_input(graph, given)
    steps, samples = array.shape[:2]
    truth = None if labels is None else np.asarray(labels)
    if truth is not None and truth.shape != (samples,):
        raise InputError("labels", f"shape ({samples},)", f"shape {truth.shape}", "give one label per sample")
    problems = check(graph, target)
    if problems:
        return Certificate(target, samples, steps, problems=[str(problem) for problem in problems])
    spiking = neurons(graph, spiking=True)
    expected = _expected(model, graph, array, spiking, dt)
    # a first, empty run tells the latency; that much silence is appended, so that nothing is cut off
    probe = deploy(graph, np.zeros((1, 1, *input_shape(graph)), np.float32), target, dt=dt, seed=seed, record=spiking)
    latency: Mapping[str, int] = probe.info.get("latency", {})
    tail = max([probe.latency_steps, *latency.values()])
    padded = np.concatenate([array, np.zeros((tail, *array.shape[1:]), np.float32)]) if tail else array
    report = deploy(graph, padded, target, dt=dt, seed=seed, record=spiking)
    nodes = {
        name: _compare(expected[name], report.records[name][latency.get(name, 0) :][:steps], latency.get(name, 0))
        for name in spiking
    }
    output = report.spikes[report.latency_steps :][:steps]
    error = np.abs(output - expected["output"])
    accuracy = None
    if truth is not None:
        before, after = (_accuracy(values, truth) for values in (expected["output"], output))
        accuracy = {"before": before, "after": after}
    return Certificate(
        target,
        samples,
        steps,
        report.latency_steps,
        nodes,
        {"max": float(error.max()), "mean": float(error.mean()), "scale": float(np.abs(expected["output"]).max())},
        accuracy,
        list(report.info.get("approximations", [])),
        dict(report.operations),
        dict(report.energy),
    )


def _expected(
    model: Network | nir.NIRGraph, graph: nir.NIRGraph, array: np.ndarray, spiking: list[str], dt: float | None
) -> dict[str, np.ndarray]:
    """The reference's spikes of every spiking node, and its output."""
    if isinstance(model, Network):
        with torch.no_grad():
            run = model(torch.from_numpy(array), record=("spikes",))
        found = {name: run.spikes[name].cpu().numpy() for name in spiking}
        return {**found, "output": run.output.cpu().numpy()}
    result = simulate(graph, array, dt=dt, record=spiking)
    return {**result.records, "output": result.output}


def _compare(expected: np.ndarray, got: np.ndarray, latency: int) -> Agreement:
    unequal = expected != got
    differing = int(unequal.sum())
    first = None
    if differing:
        place = np.unravel_index(int(unequal.argmax()), unequal.shape)
        time, sample, *neuron = (int(n) for n in place)
        first = Difference(time, sample, tuple(neuron), int(expected[place]), int(got[place]))
    return Agreement(1 - differing / unequal.size, unequal.size, int(expected.sum()), differing, latency, first)


def _accuracy(output: np.ndarray, labels: np.ndarray) -> float:
    return float((decide(torch.from_numpy(np.ascontiguousarray(output))).numpy() == labels).mean())
