"""What every target must do, as tests: for ours, and for a target of yours in its own package.

A target of another package is tested by one command, which needs nothing but its entry point::

    pytest -p hardware_targets.conformance --pyargs hardware_targets.conformance --neurospin-target NAME

For each case the target either runs the graph, close to the graph's definition and within its contract, or refuses it
with a `Problem`. What it refuses it must list, with a reason, in its attribute `unsupported`: a mapping from the name
of a case to the reason. A case that is listed but runs fails too, so that the list stays true.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import nir
import numpy as np
import pytest

from hardware_targets.cases import CASES, Case, broken
from neurospin.errors import NeurospinError
from neurospin.graph.contract import neurons
from neurospin.graph.order import SPIKING, flatten
from neurospin.graph.simulate import simulate
from neurospin.target import Target, check, deploy, get_target, targets

DT = 1e-3
STEPS, BATCH = 40, 4
CLOSE = 0.75
"""Least agreement with the definition for each layer of neurons, so that four layers may reach its fourth power: of spikes,
twice the common ones over all; of a readout, 1 − error / range."""

_ONE = "it knows one input and one output"
_LOIHI = {
    "I": "the chip's readout is a neuron whose voltage is read, and the compiler knows it with a leak only",
    "subtract": "the chip resets a voltage to a value",
    "ports": _ONE,
}
UNSUPPORTED: dict[str, dict[str, str]] = {
    "loihi": _LOIHI,
    "lava": _LOIHI,
}
"""What our own targets refuse, and why; a target of another package says so in its attribute `unsupported`."""


@dataclass(frozen=True)
class Verdict:
    """What a target made of a case.

    Attributes:
        runs: whether it ran the graph; else it refused.
        faults: every way in which it broke the contract; empty when it kept it.
        agreement: with the definition of the graph, 0 … 1; 0 where it refused.
        reason: why it refused, in its own words.
    """

    runs: bool
    faults: tuple[str, ...]
    agreement: float
    reason: str


def verdict(target: Target, case: Case) -> Verdict:
    """Run a case on a target and judge it."""
    graph, spikes = case.make(), case.spikes(STEPS, BATCH)
    problems = check(graph, target)
    if problems:
        faults = [f"no fix in: {p}" for p in problems if "Fix:" not in str(p) or "\n" in str(p) or not p.fix]
        try:
            deploy(graph, spikes, target, dt=DT)
            faults.append("check finds a problem, but deploy runs")
        except NeurospinError:
            pass
        return Verdict(False, tuple(faults), 0.0, str(problems[0]))
    nodes, faults = flatten(graph)[0], []
    names = [name for name in neurons(graph) if not isinstance(nodes[name], nir.Delay)]
    report = deploy(graph, spikes, target, dt=DT, seed=3, record=names)
    again = deploy(graph, spikes, target, dt=DT, seed=3, record=names)
    truth = simulate(case.make(), spikes, dt=DT, record=names)
    expected = {**truth.outputs, **truth.records}
    outputs = report.outputs or dict.fromkeys(truth.outputs, report.spikes)
    got = {**outputs, **report.records}
    late = {**dict.fromkeys(outputs, report.latency_steps), **report.info.get("latency", {})}
    closeness = 1.0
    for name, values in expected.items():
        if name not in got or got[name].shape != values.shape:
            faults.append(f"{name}: expected shape {values.shape}, got {got[name].shape if name in got else 'nothing'}")
            continue
        if not np.isfinite(got[name]).all():
            faults.append(f"{name}: values that are not finite")
        if name in nodes and isinstance(nodes[name], SPIKING) and not set(np.unique(got[name])) <= {0, 1}:
            faults.append(f"{name}: spikes other than 0 and 1")
        if name not in late or not 0 <= late[name] < STEPS // 2:
            faults.append(f"{name}: no latency told")
            continue
        moved, kept = got[name][late[name] :], values[: STEPS - late[name]]
        closeness = min(closeness, _agreement(moved, kept))
    if closeness < CLOSE**case.layers and not faults:  # of a target that draws its chip: the mean of three chips
        closeness = float(np.mean([closeness, *(_closeness(target, case, names, seed) for seed in (4, 5))]))
    if closeness < CLOSE**case.layers:
        faults.append(f"agreement of {closeness:.3f} with the graph's definition, below {CLOSE**case.layers:.3f}")
    others = {**(again.outputs or dict.fromkeys(truth.outputs, again.spikes)), **again.records}
    if not all(np.array_equal(got[n], a) for n, a in others.items() if n in got):
        faults.append("the same seed gives another result")
    faults += _told(report.info, report.to_json())
    return Verdict(True, tuple(faults), closeness, "")


def _closeness(target: Target, case: Case, names: list[str], seed: int) -> float:
    """Least agreement of an output or a record, for another seed."""
    spikes = case.spikes(STEPS, BATCH)
    report = deploy(case.make(), spikes, target, dt=DT, seed=seed, record=names)
    truth = simulate(case.make(), spikes, dt=DT, record=names)
    outputs = report.outputs or dict.fromkeys(truth.outputs, report.spikes)
    late = {**dict.fromkeys(outputs, report.latency_steps), **report.info.get("latency", {})}
    got, expected = {**outputs, **report.records}, {**truth.outputs, **truth.records}
    return min(_agreement(got[n][late[n] :], values[: STEPS - late[n]]) for n, values in expected.items())


def _agreement(got: np.ndarray, expected: np.ndarray) -> float:
    if set(np.unique(expected)) <= {0, 1}:
        total = float(got.sum() + expected.sum())
        return 2 * float((got * expected).sum()) / total if total else 1.0
    return 1.0 - float(np.abs(got - expected).mean() / np.ptp(expected))


def _told(info: Mapping[str, object], text: str) -> list[str]:
    try:
        json.loads(text)
    except ValueError as error:
        return [f"to_json: {error}"]
    notes = info.get("approximations")
    if not isinstance(notes, list) or any(set(note) != {"node", "what", "size"} for note in notes):
        return ["info['approximations']: expected a list of node, what and size"]
    return []


def unsupported(target: Target) -> Mapping[str, str]:
    """Cases that a target says it refuses, with reasons: its attribute `unsupported`, or for ours the list here."""
    return getattr(target, "unsupported", UNSUPPORTED.get(target.name, {}))


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option `--neurospin-target NAME`."""
    parser.addoption("--neurospin-target", help="name of the target that the conformance suite tests")


@pytest.fixture(name="target")
def _target(request: pytest.FixtureRequest) -> Target:
    name = request.config.getoption("--neurospin-target", default=None)
    if not name:
        pytest.skip("no --neurospin-target")
    status = {s.name: s for s in targets()}.get(name)
    if status is not None and not status.available:
        pytest.skip(f"{name}: {status.reason}")
    return get_target(name)


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_case(target: Target, case: Case) -> None:
    """The target runs the graph as it is defined, or refuses it and lists why."""
    judge(target, case)


def judge(target: Target, case: Case) -> None:
    """Fail unless the target keeps the contract in this case, or refuses it for a listed reason."""
    found = verdict(target, case)
    listed = unsupported(target).get(case.name)
    assert not found.faults, "; ".join(found.faults)
    assert found.runs or listed, f"refused, but not listed in `unsupported`: {found.reason}"
    assert not (found.runs and listed), f"listed in `unsupported` ({listed}), but it runs"


def test_broken_graphs_are_told(target: Target) -> None:
    """A check never raises."""
    told(target)


def told(target: Target) -> None:
    """Fail unless `check` lists problems for broken graphs, without raising."""
    for graph in broken():
        problems = target.check(graph)
        assert problems, "a broken graph was not refused"
        for problem in problems:
            assert "\n" not in str(problem) and "Fix:" in str(problem)


def test_wrong_input_is_refused(target: Target) -> None:
    """Input of another width, and names that are not there."""
    refuses(target)


def refuses(target: Target) -> None:
    """Fail unless wrong input and unknown names raise neurospin's errors."""
    case = CASES["LIF"]
    graph, spikes = case.make(), case.spikes(STEPS, BATCH)
    assert isinstance(spikes, np.ndarray)
    wrong: list[Callable[[], object]] = [
        lambda: deploy(graph, spikes[..., :-1], target, dt=DT),
        lambda: deploy(graph, spikes[0], target, dt=DT),
        lambda: deploy(graph, spikes, target, dt=DT, record=["nobody"]),
        lambda: deploy(graph, np.full_like(spikes, np.nan), target, dt=DT),
    ]
    for attempt in wrong:
        with pytest.raises(NeurospinError):
            attempt()


def table(names: Iterable[str]) -> str:
    """Markdown: which cases our targets run, with the reasons of what they refuse."""
    names, reasons = tuple(names), []
    lines = ["| case | " + " | ".join(f"`{name}`" for name in names) + " |", "|---" * (1 + len(names)) + "|"]
    for case in CASES.values():
        cells = []
        for name in names:
            why = UNSUPPORTED.get(name, {}).get(case.name)
            if why and why not in reasons:
                reasons.append(why)
            cells.append(f"refused ({reasons.index(why) + 1})" if why else "runs")
        lines.append(f"| {case.name}: {case.what} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *(f"{k}. {why}" for k, why in enumerate(reasons, 1))])
