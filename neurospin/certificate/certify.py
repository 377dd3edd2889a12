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
from neurospin.graph.contract import check_inputs, resolve_dt
from neurospin.graph.order import SPIKING, order
from neurospin.graph.repair import repaired
from neurospin.graph.simulate import simulate
from neurospin.network import Network
from neurospin.target import Explainable, Report, Target, check, deploy, get_target

LATENCY = "latency"


def certify(
    model: Network | nir.NIRGraph,
    spikes: np.ndarray | torch.Tensor | Mapping[str, np.ndarray | torch.Tensor],
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
        spikes: input of shape `(time, batch, *input)`; of several inputs, one such array by name.
        target: name of a registered target, or a target.
        labels: class of each sample, `(batch,)`; gives the accuracy before and after, of the first output.
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
    given = {n: _numpy(x) for n, x in spikes.items()} if isinstance(spikes, Mapping) else _numpy(spikes)
    arrays = check_inputs(graph, given)
    steps, samples = next(iter(arrays.values())).shape[:2]
    truth = None if labels is None else np.asarray(labels)
    if truth is not None and truth.shape != (samples,):
        raise InputError("labels", f"shape ({samples},)", f"shape {truth.shape}", "give one label per sample")
    name = target if isinstance(target, str) else target.name
    problems = check(graph, target, dt=dt)
    if problems:
        return Certificate(name, samples, steps, problems=[str(problem) for problem in problems])
    chosen = get_target(target)
    bench = _Bench(graph, arrays, resolve_dt(graph, dt), seed, truth, *_expected(model, graph, arrays, dt))
    bench.find_latency(chosen)
    report = bench.run(chosen)
    nodes, trace = _agreements(bench, report)
    outputs = bench.outputs(report)
    error = np.concatenate([np.abs(outputs[name] - bench.expected_outputs[name]).ravel() for name in outputs])
    accuracy = None
    if truth is not None:
        before, after = (_accuracy(_first(values), truth) for values in (bench.expected_outputs, outputs))
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
            "scale": max(float(np.abs(values).max()) for values in bench.expected_outputs.values()),
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
    """One graph with its inputs: what is expected of it, and how to run a target on it."""

    graph: nir.NIRGraph
    arrays: Mapping[str, np.ndarray]
    dt: float
    seed: int
    labels: np.ndarray | None
    expected: Mapping[str, np.ndarray]
    expected_outputs: Mapping[str, np.ndarray]
    tail: int = 0

    @property
    def steps(self) -> int:
        return len(_first(self.arrays))

    @property
    def spiking(self) -> list[str]:
        return list(self.expected)

    def find_latency(self, target: Target) -> None:
        """A first run on one silent step tells the latency; that much silence is appended to the input."""
        silence = {name: np.zeros_like(array[:1, :1]) for name, array in self.arrays.items()}
        probe = deploy(self.graph, silence, target, dt=self.dt, seed=self.seed, record=self.spiking)
        self.tail = max([probe.latency_steps, *probe.info.get("latency", {}).values()])

    def run(self, target: Target) -> Report:
        padded = {
            name: np.concatenate([array, np.zeros((self.tail, *array.shape[1:]), np.float32)])
            for name, array in self.arrays.items()
        }
        return deploy(self.graph, padded, target, dt=self.dt, seed=self.seed, record=self.spiking)

    def aligned(self, report: Report, values: Mapping[str, np.ndarray], name: str) -> np.ndarray:
        late = report.info.get("latency", {}).get(name, 0)
        return values[name][late:][: self.steps]

    def outputs(self, report: Report) -> dict[str, np.ndarray]:
        given = report.outputs or dict.fromkeys(self.expected_outputs, report.spikes)
        return {name: values[report.latency_steps :][: self.steps] for name, values in given.items()}

    def deviation(self, spikes: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> Deviation:
        differing = sum(int((spikes[name] != self.expected[name]).sum()) for name in self.spiking)
        error = max(float(np.abs(outputs[name] - values).max()) for name, values in self.expected_outputs.items())
        return Deviation(differing, error, None if self.labels is None else _accuracy(_first(outputs), self.labels))

    def measured(self, target: Target) -> Deviation:
        report = self.run(target)
        spikes = {name: self.aligned(report, report.records, name) for name in self.spiking}
        return self.deviation(spikes, self.outputs(report))


def _expected(
    model: Network | nir.NIRGraph, graph: nir.NIRGraph, arrays: Mapping[str, np.ndarray], dt: float | None
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The reference's spikes of every spiking node, in the order in which signals pass, and its outputs."""
    plan = order(graph)
    names = [name for group in plan.components for name in group if isinstance(plan.nodes[name], SPIKING)]
    if isinstance(model, Network):
        with torch.no_grad():
            run = model({name: torch.from_numpy(array) for name, array in arrays.items()}, record=("spikes",))
        outputs = {name: run.outputs[name].cpu().numpy() for name in plan.outputs}
        return {name: run.spikes[name].cpu().numpy() for name in names}, outputs
    result = simulate(graph, arrays, dt=dt, record=names)
    return {name: result.records[name] for name in names}, result.outputs


def _agreements(bench: _Bench, report: Report) -> tuple[dict[str, Agreement], Trace | None]:
    """Every spiking node compared, and the neuron that differs first."""
    unequal = {name: bench.expected[name] != bench.aligned(report, report.records, name) for name in bench.spiking}
    odd = [name for name in bench.spiking if unequal[name].any()]
    voltages = simulate(bench.graph, bench.arrays, dt=bench.dt, before_reset=odd).before_reset if odd else {}
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
    whole = bench.deviation(aligned, bench.outputs(report))
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
        late = {name: _moved(values, report.latency_steps) for name, values in bench.expected_outputs.items()}
        found.append(Cause(LATENCY, bench.deviation(moved, late), whole))
    return found, unexplained


def _moved(values: np.ndarray, steps: int) -> np.ndarray:
    """What is seen when values come late: silence first, and the last ones not at all."""
    return np.concatenate([np.zeros_like(values[:steps]), values[: len(values) - steps]]) if steps else values


def _first(values: Mapping[str, np.ndarray]) -> np.ndarray:
    return next(iter(values.values()))


def _numpy(values: np.ndarray | torch.Tensor) -> np.ndarray:
    return values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else values


def _accuracy(output: np.ndarray, labels: np.ndarray) -> float:
    return float((decide(torch.from_numpy(np.ascontiguousarray(output))).numpy() == labels).mean())
