"""What a certificate holds: plain values, ready for JSON, a table or a figure."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from neurospin.errors import InputError


@dataclass(frozen=True)
class Difference:
    """The first spike of a node that differs, in the order of time, then sample, then neuron.

    Attributes:
        time: step of the input to which it belongs (the latency is taken out).
        sample: index in the batch.
        neuron: index in the node.
        expected: spike of the reference, 0 or 1.
        got: spike of the target.
        voltage_expected: membrane voltage of the reference in that step, before the reset, model units.
        voltage_got: the same of the target; `None` where it gives no voltages.
        threshold: of that neuron in the graph.
    """

    time: int
    sample: int
    neuron: tuple[int, ...]
    expected: int
    got: int
    voltage_expected: float
    voltage_got: float | None
    threshold: float


@dataclass(frozen=True)
class Agreement:
    """How far one spiking node agrees.

    Attributes:
        equal: share of equal entries, over time, samples and neurons.
        entries: how many there are.
        total_spikes: of the reference.
        differing: number of entries that differ.
        latency_steps: by which the target's spikes were moved.
        differing_by_step: number of entries that differ, for every step of the input.
        first_difference: `None` when every spike is equal.
    """

    equal: float
    entries: int
    total_spikes: int
    differing: int
    latency_steps: int
    differing_by_step: list[int]
    first_difference: Difference | None


@dataclass(frozen=True)
class Deviation:
    """How far a run is from the reference.

    Attributes:
        differing: entries that differ, over all spiking nodes.
        output_error: largest absolute difference of the output.
        accuracy: share of right decisions, where labels were given.
    """

    differing: int
    output_error: float
    accuracy: float | None = None


@dataclass(frozen=True)
class Cause:
    """What one cause changes.

    Causes interact: a spike that differs makes later ones differ, and two errors may cancel. So the
    parts need not add up to the whole; `alone` and `without` bracket what a cause is worth.

    Attributes:
        name: of the cause.
        alone: the reference with this cause only.
        without: the target less this cause.
    """

    name: str
    alone: Deviation
    without: Deviation


@dataclass(frozen=True)
class Trace:
    """The neuron whose spike differs first in the whole graph, over the whole sample.

    Attributes:
        node: its node.
        sample: index in the batch.
        neuron: index in the node.
        time: step of the first difference.
        threshold: of the neuron in the graph.
        expected: voltages of the reference before the reset, one per step, model units.
        got: voltages of the target; empty where it gives none.
        spikes_expected: steps in which the reference spikes.
        spikes_got: steps in which the target spikes.
    """

    node: str
    sample: int
    neuron: tuple[int, ...]
    time: int
    threshold: float
    expected: list[float]
    got: list[float]
    spikes_expected: list[int]
    spikes_got: list[int]


@dataclass(frozen=True)
class Certificate:
    """What changed on the way to a target.

    Attributes:
        target: its name.
        samples: number of samples compared.
        steps: number of steps compared.
        dt: step in seconds.
        latency_steps: delay of the target's output.
        nodes: agreement of every spiking node, in the order in which signals pass.
        output_error: largest and mean absolute difference of the output, and the largest output.
        accuracy: share of right decisions before and after, where labels were given.
        causes: what each cause changes alone, and what is left without it; empty where the target
            cannot switch its causes, or where they were not asked for. `latency` is what
            would differ if spikes were compared without moving them.
        unexplained: the target with every cause switched off; `None` where it cannot.
        trace: the neuron that differs first; `None` when every spike is equal.
        approximations: what the target says it approximated.
        operations: work counted by the target.
        energy: joules by part, `[low, high]` each, where the target has a cited table.
        problems: why the graph does not run there; then nothing was compared.
    """

    target: str
    samples: int
    steps: int
    dt: float = 0.0
    latency_steps: int = 0
    nodes: dict[str, Agreement] = field(default_factory=dict)
    output_error: dict[str, float] = field(default_factory=dict)
    accuracy: dict[str, float] | None = None
    causes: list[Cause] = field(default_factory=list)
    unexplained: Deviation | None = None
    trace: Trace | None = None
    approximations: list[dict[str, Any]] = field(default_factory=list)
    operations: dict[str, float] = field(default_factory=dict)
    energy: dict[str, list[float]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def differing(self) -> int:
        """Entries that differ, over all spiking nodes."""
        return sum(node.differing for node in self.nodes.values())

    @property
    def equal(self) -> float:
        """Share of equal entries over all spiking nodes; 0 where nothing was compared."""
        entries = sum(node.entries for node in self.nodes.values())
        return 1 - self.differing / entries if entries else 0.0

    @property
    def exact(self) -> bool:
        """Whether every spike is equal."""
        return not self.problems and self.differing == 0

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {**asdict(self), "exact": self.exact, "equal": self.equal}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Certificate:
        """The certificate that `to_dict` gave, read from JSON or not.

        Raises:
            InputError: it is no certificate, or one of another version.
        """
        try:
            values = {key: value for key, value in content.items() if key not in ("exact", "equal")}
            for key, make in (("nodes", _agreement), ("causes", _cause)):
                found = values[key]
                values[key] = {n: make(v) for n, v in found.items()} if key == "nodes" else [make(v) for v in found]
            values["unexplained"] = values["unexplained"] and Deviation(**values["unexplained"])
            values["trace"] = values["trace"] and Trace(
                **{**values["trace"], "neuron": tuple(values["trace"]["neuron"])}
            )
            return cls(**values)
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError("certificate", "what Certificate.to_dict gives", str(error), "certify again") from error

    def __str__(self) -> str:
        if self.problems:
            return "\n".join([f"{self.target}: does not run", *(f"  {problem}" for problem in self.problems)])
        lines = [f"{self.target}: {self.samples} samples × {self.steps} steps, latency {self.latency_steps} steps"]
        for name, node in self.nodes.items():
            lines.append(f"  {name}: {node.differing} of {node.entries} entries differ ({node.total_spikes} spikes)")
            if node.first_difference is not None:
                lines.append(f"    first: {_told(node.first_difference)}")
        if self.output_error and self.output_error["max"] == 0:
            lines.append("  output: equal")
        elif self.output_error:
            largest, scale = self.output_error["max"], self.output_error["scale"]
            lines.append(f"  output: largest difference {largest:.3g}, of values up to {scale:.3g}")
        if self.accuracy:
            lines.append(f"  accuracy: {self.accuracy['before']:.4f} before, {self.accuracy['after']:.4f} after")
        lines += [f"  {a['node']}: {a['what']} ({a['size']:.3g})" for a in self.approximations]
        if self.energy:
            low, high = (sum(part[k] for part in self.energy.values()) / self.samples for k in (0, 1))
            lines.append(f"  energy: {low:.3g} to {high:.3g} joules a sample, from published costs of one operation")
        return "\n".join(lines + self._causes())

    def _causes(self) -> list[str]:
        if not self.causes:
            return []
        width = max(len(cause.name) for cause in self.causes) + 2
        spiking = bool(self.nodes)
        head = "entries that differ" if spiking else "largest output error"
        lines = [f"  {head}, by cause:", f"    {'':{width}}{'alone':>10}{'without it':>12}"]

        def number(deviation: Deviation) -> str:
            return str(deviation.differing) if spiking else f"{deviation.output_error:.3g}"

        for cause in self.causes:
            lines.append(f"    {cause.name:{width}}{number(cause.alone):>10}{number(cause.without):>12}")
        if self.unexplained is not None:
            lines.append(f"    {'none':{width}}{number(self.unexplained):>10}")
        return lines


def _agreement(content: dict[str, Any]) -> Agreement:
    first = content["first_difference"]
    return Agreement(
        **{**content, "first_difference": first and Difference(**{**first, "neuron": tuple(first["neuron"])})}
    )


def _cause(content: dict[str, Any]) -> Cause:
    return Cause(content["name"], Deviation(**content["alone"]), Deviation(**content["without"]))


def _told(first: Difference) -> str:
    where = f"step {first.time}, sample {first.sample}, neuron {list(first.neuron)}"
    volts = f"reference at {first.voltage_expected:.6g}"
    volts += "" if first.voltage_got is None else f", target at {first.voltage_got:.6g}"
    return f"{where}: expected {first.expected}, got {first.got}; {volts}, threshold {first.threshold:.6g}"
