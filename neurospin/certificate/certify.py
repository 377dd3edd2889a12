"""A network or graph against a target, spike by spike, cause by cause.

The reference is the network itself, or, for a graph, its interpreter in float32. The target's outputs
are moved by the latency that it reports; then every spike of every spiking node is compared. A target
that can switch its causes (`neurospin.target.Explainable`) is run again with each of them alone, and
with all of them but one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import nir
import numpy as np
import torch

from neurospin.certificate.content import Agreement, Cause, Certificate, Deviation, Difference, Trace
from neurospin.encode import decide
from neurospin.errors import InputError
from neurospin.graph.build import to_graph
from neurospin.graph.contract import check_input, input_shape, resolve_dt
from neurospin.graph.order import SPIKING, order
from neurospin.graph.repair import repaired
from neurospin.graph.simulate import simulate
from neurospin.network import Network
from neurospin.target import Explainable, Report, Target, check, deploy, get_target

LATENCY = "latency"


def certify(
    model: Network | nir.NIRGraph,
    spikes: np.ndarray | torch.Tensor,
    target: str | Target,
    *,
    labels: np.ndarray | torch.Tensor | None = None,
    dt: float | None = None,
    seed: int = 0,
    graph: nir.NIRGraph | None = None,
    causes: bool = True,
) -> Certificate:
    """Run a model as it is and on a target, and tell every difference and where it comes from.

    Args:
        model: a network, or a graph.
        spikes: input of shape `(time, batch, *input)`.
        target: name of a registered target, or a target.
        labels: class of each sample, `(batch,)`; gives the accuracy before and after.
        dt: step in seconds, for a graph that records none.
        seed: of everything random on the target.
        graph: what the target runs in place of the model's own graph, for example the one that went
            through the disk.
        causes: whether to run the target again with each of its causes alone, and with all but each:
            `2 n + 1` runs more for n causes (default yes).

    Raises:
        UnknownName: no target of that name.
        InputError: the input or the labels do not fit.
        TargetError: the target failed.
    """
    own = graph is None
    if graph is None:
        graph = to_graph(model) if isinstance(model, Network) else model
    graph = repaired(graph)
    if not isinstance(model, Network):
        model = graph if own else repaired(model)
    given = spikes.detach().cpu().numpy() if isinstance(spikes, torch.Tensor) else spikes
    array = check_input(graph, given)
    steps, samples = array.shape[:2]
    truth = None if labels is None else np.asarray(labels)
    if truth is not None and truth.shape != (samples,):
        raise InputError("labels", f"shape ({samples},)", f"shape {truth.shape}", "give one label per sample")
    name = target if isinstance(target, str) else target.name
    problems = check(graph, target)
    if problems:
        return Certificate(name, samples, steps, problems=[str(problem) for problem in problems])
    chosen = get_target(target)
    bench = _Bench(graph, array, resolve_dt(graph, dt), seed, truth, *_expected(model, graph, array, dt))
    bench.find_latency(chosen)
    report = bench.run(chosen)
    nodes, trace = _agreements(bench, report)
    output = bench.output(report)
    error = np.abs(output - bench.expected_output)
    accuracy = None
    if truth is not None:
        before, after = (_accuracy(values, truth) for values in (bench.expected_output, output))
        accuracy = {"before": before, "after": after}
    parts, unexplained = _causes(bench, chosen, report) if causes else ([], None)
    return Certificate(
        name,
        samples,
        steps,
        bench.dt,
        report.latency_steps,
        nodes,
        {
            "max": float(error.max()),
            "mean": float(error.mean()),
            "scale": float(np.abs(bench.expected_output).max()),
        },
        accuracy,
        parts,
        unexplained,
        trace,
        list(report.info.get("approximations", [])),
        dict(report.operations),
        dict(report.energy),
    )


@dataclass
class _Bench:
    """One graph with one input: what is expected of it, and how to run a target on it."""

    graph: nir.NIRGraph
    array: np.ndarray
    dt: float
    seed: int
    labels: np.ndarray | None
    expected: Mapping[str, np.ndarray]
    expected_output: np.ndarray
    tail: int = 0

    @property
    def spiking(self) -> list[str]:
        return list(self.expected)

    def find_latency(self, target: Target) -> None:
        """A first run on one silent step tells the latency; that much silence is appended to the input."""
        silence = np.zeros((1, 1, *input_shape(self.graph)), np.float32)
        probe = deploy(self.graph, silence, target, dt=self.dt, seed=self.seed, record=self.spiking)
        self.tail = max([probe.latency_steps, *probe.info.get("latency", {}).values()])

    def run(self, target: Target) -> Report:
        padding = np.zeros((self.tail, *self.array.shape[1:]), np.float32)
        padded = np.concatenate([self.array, padding]) if self.tail else self.array
        return deploy(self.graph, padded, target, dt=self.dt, seed=self.seed, record=self.spiking)

    def aligned(self, report: Report, values: Mapping[str, np.ndarray], name: str) -> np.ndarray:
        late = report.info.get("latency", {}).get(name, 0)
        return values[name][late:][: len(self.array)]

    def output(self, report: Report) -> np.ndarray:
        return report.spikes[report.latency_steps :][: len(self.array)]

    def deviation(self, spikes: Mapping[str, np.ndarray], output: np.ndarray) -> Deviation:
        differing = sum(int((spikes[name] != self.expected[name]).sum()) for name in self.spiking)
        error = float(np.abs(output - self.expected_output).max())
        return Deviation(differing, error, None if self.labels is None else _accuracy(output, self.labels))

    def measured(self, target: Target) -> Deviation:
        report = self.run(target)
        spikes = {name: self.aligned(report, report.records, name) for name in self.spiking}
        return self.deviation(spikes, self.output(report))


def _expected(
    model: Network | nir.NIRGraph, graph: nir.NIRGraph, array: np.ndarray, dt: float | None
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The reference's spikes of every spiking node, in the order in which signals pass, and its output."""
    plan = order(graph)
    names = [name for group in plan.components for name in group if isinstance(plan.nodes[name], SPIKING)]
    if isinstance(model, Network):
        with torch.no_grad():
            run = model(torch.from_numpy(array), record=("spikes",))
        return {name: run.spikes[name].cpu().numpy() for name in names}, run.output.cpu().numpy()
    result = simulate(graph, array, dt=dt, record=names)
    return {name: result.records[name] for name in names}, result.output


def _agreements(bench: _Bench, report: Report) -> tuple[dict[str, Agreement], Trace | None]:
    """Every spiking node compared, and the neuron that differs first."""
    unequal = {name: bench.expected[name] != bench.aligned(report, report.records, name) for name in bench.spiking}
    odd = [name for name in bench.spiking if unequal[name].any()]
    voltages = simulate(bench.graph, bench.array, dt=bench.dt, before_reset=odd).before_reset if odd else {}
    nodes: dict[str, Agreement] = {}
    trace: Trace | None = None
    for name in bench.spiking:
        differ, late = unequal[name], int(report.info.get("latency", {}).get(name, 0))
        count = int(differ.sum())
        first = None
        if count:
            time, sample, *rest = (int(n) for n in np.unravel_index(int(differ.argmax()), differ.shape))
            place = (slice(None), sample, *rest)
            want = bench.expected[name][place]
            got = bench.aligned(report, report.records, name)[place]
            there = bench.aligned(report, report.voltages, name)[place] if name in report.voltages else None
            threshold = float(np.asarray(order(bench.graph).nodes[name].v_threshold)[tuple(rest)])  # type: ignore[union-attr]
            first = Difference(
                time, sample, tuple(rest), int(want[time]), int(got[time]), float(voltages[name][place][time]),
                None if there is None else float(there[time]), threshold,
            )  # fmt: skip
            if trace is None or time < trace.time:  # of equal times, the node nearest to the input
                trace = Trace(
                    name, sample, tuple(rest), time, threshold, voltages[name][place].tolist(),
                    [] if there is None else there.tolist(), np.flatnonzero(want).tolist(), np.flatnonzero(got).tolist(),
                )  # fmt: skip
        by_step = differ.reshape(len(differ), -1).sum(1).tolist()
        total = int(bench.expected[name].sum())
        nodes[name] = Agreement(1 - count / differ.size, differ.size, total, count, late, by_step, first)
    return nodes, trace


def _causes(bench: _Bench, target: Target, report: Report) -> tuple[list[Cause], Deviation | None]:
    """Each cause alone and the target without it; latency, where there is any, by moving the reference."""
    aligned = {name: bench.aligned(report, report.records, name) for name in bench.spiking}
    whole = bench.deviation(aligned, bench.output(report))
    found: list[Cause] = []
    unexplained = None
    if isinstance(target, Explainable) and target.causes:
        for name in target.causes:
            rest = [other for other in target.causes if other != name]
            found.append(Cause(name, bench.measured(target.only([name])), bench.measured(target.only(rest))))
        unexplained = bench.measured(target.only([]))
    if bench.tail:
        latency = report.info.get("latency", {})
        moved = {name: _moved(bench.expected[name], latency.get(name, 0)) for name in bench.spiking}
        output = _moved(bench.expected_output, report.latency_steps)
        found.append(Cause(LATENCY, bench.deviation(moved, output), whole))
    return found, unexplained


def _moved(values: np.ndarray, steps: int) -> np.ndarray:
    """What is seen when values come late: silence first, and the last ones not at all."""
    return np.concatenate([np.zeros_like(values[:steps]), values[: len(values) - steps]]) if steps else values


def _accuracy(output: np.ndarray, labels: np.ndarray) -> float:
    return float((decide(torch.from_numpy(np.ascontiguousarray(output))).numpy() == labels).mean())
