"""The seam between a graph and what runs it: `Target`, `Report`, `Problem`, `targets()`, `deploy()`, `export()`.

neurospin finds targets through the entry-point group `neurospin.targets`; it never imports them by
path. A third party adds a target by publishing a package with one entry point that loads an object
with `name`, `check` and `run`.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import nir
import numpy as np

from neurospin.errors import GraphError, NeurospinError, OutputError, TargetError, unknown_name
from neurospin.files import write_text
from neurospin.graph.check import check_metadata
from neurospin.graph.contract import KEY, check_inputs, check_ports, check_record, check_units, metadata, resolve_dt
from neurospin.graph.repair import repaired

GROUP = "neurospin.targets"
EXPORTERS = "neurospin.exporters"

Exporter = Callable[[nir.NIRGraph, float], Mapping[str, str]]
"""Makes text files, by name, from a graph and its step in seconds; registered in the group `neurospin.exporters`."""


@dataclass(frozen=True)
class Problem:
    """One reason why a graph does not run on a target as it is.

    Attributes:
        node: name of the graph's node, or `""` for the whole graph.
        limit: the rule that the node breaks, in words.
        value: what the node has.
        fix: what the user can change.
    """

    node: str
    limit: str
    value: str
    fix: str

    def __str__(self) -> str:
        return f"{self.node or 'graph'}: expected {self.limit}, got {self.value}. Fix: {self.fix}."


@dataclass(frozen=True)
class Report:
    """What a target gave back.

    Attributes:
        spikes: what the graph's output gives, shape `(time, batch, *output)`, as the target emits
            it: step `t + latency_steps` belongs to input step `t`. For a readout without spikes
            (LI) these are voltages, in model units.
        latency_steps: delay of the output against the graph's own semantics, in steps.
        operations: counted work of this run, for example `{"synaptic": …, "neuron_updates": …}`.
        energy: joules by part, `[low, high]` each; empty where the target has no cited table. The source goes under
            `info["energy_source"]`, seconds (`[low, high]`) under `info["seconds"]`.
        info: everything else the target says, JSON-able: every approximation made goes under
            `"approximations"`, a list of `{"node", "what", "size"}`; the latency of each recorded
            node goes under `"latency"`, a mapping from node name to steps.
        records: output of each recorded node, shape `(time, batch, *neuron)`, delayed by the
            node's own latency.
        voltages: membrane voltage of each recorded spiking node before the reset, in model units,
            shape and delay as in `records`; empty where the target does not give it.
        outputs: of a graph with several Output nodes, what each of them gives, by name; `spikes` is then the
            first of them. Empty where there is one.
    """

    spikes: np.ndarray
    latency_steps: int = 0
    operations: Mapping[str, float] = field(default_factory=dict)
    energy: Mapping[str, list[float]] = field(default_factory=dict)
    info: Mapping[str, Any] = field(default_factory=dict)
    records: Mapping[str, np.ndarray] = field(default_factory=dict)
    voltages: Mapping[str, np.ndarray] = field(default_factory=dict)
    outputs: Mapping[str, np.ndarray] = field(default_factory=dict)

    def to_json(self) -> str:
        """The report without its arrays, as JSON text."""
        content = {
            "shape": list(self.spikes.shape),
            "latency_steps": self.latency_steps,
            "operations": dict(self.operations),
            "energy": dict(self.energy),
            "info": dict(self.info),
            "recorded": {name: list(array.shape) for name, array in self.records.items()},
            "outputs": {name: list(array.shape) for name, array in self.outputs.items()},
        }
        return json.dumps(content, indent=2, default=float)


@runtime_checkable
class Target(Protocol):
    """Something that runs a graph. `check` never raises and never runs anything."""

    name: str

    def check(self, graph: nir.NIRGraph) -> list[Problem]:
        """Every reason why the graph does not run as it is; empty means that it fits."""
        ...

    def run(
        self,
        graph: nir.NIRGraph,
        spikes: np.ndarray,
        *,
        dt: float,
        seed: int = 0,
        record: Iterable[str] = (),
    ) -> Report:
        """Run the graph on `spikes` of shape `(time, batch, *input)`.

        Args:
            dt: step in seconds.
            seed: seed of everything random on the target.
            record: names of neuron nodes whose output is wanted as well.
        """
        ...


@runtime_checkable
class SeveralPorts(Target, Protocol):
    """A target that runs graphs with several inputs or outputs: optional; without it they are refused before it is asked."""

    several_ports: bool
    """True."""

    def run(
        self,
        graph: nir.NIRGraph,
        spikes: np.ndarray | Mapping[str, np.ndarray],
        *,
        dt: float,
        seed: int = 0,
        record: Iterable[str] = (),
    ) -> Report:
        """As in `Target`; of several inputs, one array of spikes by name, and of several outputs, `Report.outputs`."""
        ...


@runtime_checkable
class Adjustable(Target, Protocol):
    """A target with settings: optional, for options of `deploy` and `--set` on the command line."""

    settings: tuple[str, ...]
    """Names of the settings; `NAME.PART` is for the target to understand."""

    def adjusted(self, **settings: Any) -> Target:
        """The same target with other settings."""
        ...


@runtime_checkable
class Rounding(Target, Protocol):
    """A target that says how it rounds a graph, and keeps to it: optional, for `quantise` and `calibrate`."""

    def rounding(self, graph: nir.NIRGraph, dt: float, *, spikes: Any = None, seed: int = 0) -> dict[str, Any]:
        """What it fixes, at best for spikes, as metadata; one whose `"quantisation"` holds it is rounded so again."""
        ...


@runtime_checkable
class Explainable(Target, Protocol):
    """A target whose causes of difference can be switched: optional, for certificates cause by cause."""

    causes: tuple[str, ...]
    """Names of everything by which the target differs from the graph, for example `("weights", "decays")`."""

    def only(self, causes: Iterable[str]) -> Target:
        """The same target with just these causes; with none of them it runs the graph as it is defined."""
        ...


@dataclass(frozen=True)
class TargetStatus:
    """Whether a registered target can be used here, and why not."""

    name: str
    available: bool
    reason: str
    package: str

    def to_dict(self) -> dict[str, Any]:
        """The status as plain values."""
        return asdict(self)


def _entries() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def _load(entry: EntryPoint) -> tuple[Target | None, str]:
    """The target behind an entry point, or the reason why it cannot be used here."""
    try:
        target = entry.load()
    except Exception as error:  # a broken third-party package must not break the list
        return None, f"{type(error).__name__}: {error}".splitlines()[0]
    if not isinstance(target, Target):
        return None, f"{entry.value} has no name, check and run"
    reason = getattr(target, "unavailable", lambda: "")()
    return target, reason


def targets() -> list[TargetStatus]:
    """Every registered target, with the reason and the remedy where one cannot be used here."""
    found = []
    for name, entry in sorted(_entries().items()):
        _, reason = _load(entry)
        package = entry.dist.name if entry.dist else entry.value
        found.append(TargetStatus(name, not reason, reason, package))
    return found


def get_target(name: str | Target) -> Target:
    """The target registered under `name`; a target is given back as it is.

    Raises:
        UnknownName: no package registers that name.
        TargetError: the target is registered but cannot be used here, or it is no target.
    """
    if not isinstance(name, str):
        if not isinstance(name, Target):
            raise TargetError("target", "a name, or an object with name, check and run", repr(name)[:40], "name one")
        return name
    entries = _entries()
    if name not in entries:
        raise unknown_name("target", name, entries, "target")
    target, reason = _load(entries[name])
    if target is None or reason:
        raise TargetError(f"target {name}", "a target that runs here", reason, "neurospin doctor tells what is missing")
    return target


def adjusted(target: str | Target, settings: Mapping[str, Any]) -> Target:
    """A target with other settings than its own.

    Args:
        target: name of a registered target, or a target.
        settings: for example `{"scheme": "exponential"}` of `reference`.

    Raises:
        UnknownName: no such target, or no such setting of it.
        TargetError: the target has no settings, or cannot be used here.
    """
    found = get_target(target)
    if settings and not isinstance(found, Adjustable):
        fix = "leave the settings out"
        raise TargetError(f"target {found.name}", "a target with settings", f"{min(settings)} for one without", fix)
    if not isinstance(found, Adjustable):
        return found
    for name in settings:
        if name.partition(".")[0] not in found.settings:
            raise unknown_name(f"target {found.name}", name, found.settings, "setting")
    return found.adjusted(**settings)


def check(graph: nir.NIRGraph, target: str | Target, *, dt: float | None = None) -> list[Problem]:
    """Every reason why `graph` does not run on `target` as it is; empty means that it fits.

    Nothing is run and nothing is raised for the graph's sake.

    Args:
        graph: a NIR graph.
        target: name of a registered target, or a target; one that cannot run here can still check.
        dt: step in seconds; default, the one that the graph records. Without either, what depends on the step
            (a time constant shorter than it) is not looked at.

    Raises:
        UnknownName: no package registers that name.
    """
    if not isinstance(graph, nir.NIRGraph):
        fix = "read the file first: neurospin.read(PATH)" if isinstance(graph, str | Path) else "give a graph"
        return [Problem("graph", "a nir.NIRGraph", type(graph).__name__, fix)]
    try:
        graph = repaired(graph)
    except GraphError as error:
        return [Problem(error.where, error.expected, error.got, error.fix)]
    if isinstance(target, str):
        entries = _entries()
        if target not in entries:
            raise unknown_name("target", target, entries, "target")
        found, reason = _load(entries[target])
        if found is None:
            return [Problem("", "a target that loads", reason, "reinstall the package that registers it")]
        target = found
    problems = [] if isinstance(target, SeveralPorts) else _ports(graph)
    if dt is not None:
        about = {**(graph.metadata or {}), KEY: {**metadata(graph), "dt": dt}}
        graph = copy.copy(graph)
        graph.metadata = about
    for test in (check_ports, check_units, check_metadata):
        try:
            test(graph)
        except NeurospinError as error:
            return [*problems, Problem(error.where, error.expected, error.got, error.fix)]
        except (AttributeError, LookupError, TypeError, ValueError):
            break  # a malformed graph: the target says why
    known = {problem.limit for problem in problems}
    return problems + [problem for problem in target.check(graph) if problem.limit not in known]


def _ports(graph: nir.NIRGraph) -> list[Problem]:
    """What a target that knows one input and one output says of a graph with more."""
    problems = []
    for kind in (nir.Input, nir.Output):
        names = [name for name, node in graph.nodes.items() if isinstance(node, kind)]
        if len(names) > 1:
            fix = 'split the graph, or run it on "reference"'
            problems.append(Problem("", f"one {kind.__name__}", f"{len(names)}: {', '.join(names)}", fix))
    return problems


def deploy(
    graph: nir.NIRGraph,
    spikes: np.ndarray | Mapping[str, np.ndarray],
    target: str | Target,
    *,
    dt: float | None = None,
    seed: int = 0,
    record: Iterable[str] = (),
    **settings: Any,
) -> Report:
    """Run a graph on a target.

    Args:
        graph: a NIR graph.
        spikes: input of shape `(time, batch, *input)`; of several inputs, one such array by name.
        target: name of a registered target, or a target.
        dt: step in seconds; default, the one that the graph records.
        seed: seed of everything random on the target (default 0).
        record: names of neuron nodes whose output is wanted as well.
        settings: of the target, for example `device="magneto_ionic_mtj", wires=2.5` of the crossbar.

    Raises:
        InputError: the input does not fit the graph, or a setting the target.
        GraphError: the graph records no `dt` and none was given.
        TargetError: the graph does not fit the target, or the target failed.
    """
    chosen = adjusted(target, settings) if settings else get_target(target)
    graph = repaired(graph)
    given = check_inputs(graph, spikes)
    step = resolve_dt(graph, dt)
    wanted = check_record(graph, record)
    problems = check(graph, chosen, dt=step)
    if problems:
        more = f" (and {len(problems) - 1} more: neurospin check)" if len(problems) > 1 else ""
        first = problems[0]
        raise TargetError(f"{chosen.name}: {first.node or 'graph'}", first.limit, first.value + more, first.fix)
    asked = {"record": wanted} if wanted else {}
    if isinstance(chosen, SeveralPorts) and len(given) > 1:
        return chosen.run(graph, given, dt=step, seed=seed, **asked)
    return chosen.run(graph, next(iter(given.values())), dt=step, seed=seed, **asked)


def export(graph: nir.NIRGraph, form: str | Exporter, folder: str | Path, *, dt: float | None = None) -> Path:
    """Write a graph in another form, for example as a C program.

    Args:
        graph: a NIR graph.
        form: name of a registered exporter (`"c"`: integer C99), or an exporter.
        folder: where the files go; made where it is missing. A folder that holds anything else than an earlier
            export is refused.
        dt: step in seconds; default, the one that the graph records.

    Returns:
        The folder.

    Raises:
        UnknownName: no package registers that form.
        GraphError: the graph records no `dt` and none was given.
        TargetError: the graph cannot be written so.
        OutputError: the folder cannot be used.
    """
    if isinstance(form, str):
        entries = {entry.name: entry for entry in entry_points(group=EXPORTERS)}
        if form not in entries:
            raise unknown_name("export", form, entries, "form")
        exporter: Exporter = entries[form].load()
    else:
        exporter = form
    graph, place = repaired(graph), Path(folder)
    made = exporter(graph, resolve_dt(graph, dt))
    held = {entry.name for entry in place.iterdir()} if place.is_dir() else set()
    if held and not held >= set(made):
        raise OutputError(str(place), "an empty or a new folder", f"one with {min(held)}", "choose another")
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(str(place), "a folder that can be made", str(error.strerror), "choose another") from error
    for name, text in made.items():
        write_text(place / name, text)
    return place
