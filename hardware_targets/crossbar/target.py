"""The crossbar target: every matrix product of a graph on arrays of nanodevices; neurons are digital."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import nir
import numpy as np
import torch
from torch import Tensor

from hardware_targets.crossbar import costs
from hardware_targets.crossbar.array import Array, Wiring
from hardware_targets.crossbar.devices import BoundedLinear, Device, MagnetoIonicMTJ, PulsedDevice, Written, device
from hardware_targets.crossbar.devices.presets import changed
from hardware_targets.crossbar.devices.pulsed import ROOM
from hardware_targets.crossbar.mapping import LARGEST, WEIGHTS, Layer
from hardware_targets.crossbar.options import Options, wiring
from neurospin.errors import InputError, NeurospinError, unknown_name
from neurospin.graph.check import shapes
from neurospin.graph.contract import stored_weights
from neurospin.graph.order import SPIKING, STATEFUL, Order, order
from neurospin.graph.simulate import Simulation, simulate
from neurospin.target import Problem, Report

POOLS = (nir.SumPool2d, nir.AvgPool2d)
DIGITAL = (nir.Input, nir.Output, nir.Scale, nir.Flatten, nir.Threshold, *POOLS, *STATEFUL)
BINARY_SLICES = 6
SUMMED = ("pulses", "joules", "reads", "read_joules", "gate_pulses", "gate_joules", "disturbed")


NAMES = ("device", *(f.name for f in fields(Options)))


class Crossbar:
    """Crossbars of one kind of device. Every option but `device` has its name; `deploy` takes them, too.

    Args:
        device: of every crosspoint: a device, its name (`hardware_targets.crossbar.devices.presets.NAMES`), or a
            mapping of `kind` and settings; default `BoundedLinear()`.
        wires: resistance of the lines: ohms per segment, a `Wiring` or a mapping of its fields; None (default): ideal.
        rows: largest number of rows of a tile, default 256.
        columns: largest number of columns, default 256.
        coding: `"pair"` (default) or `"reference"`.
        slices: digits of a weight. Default None: one, or, for devices of two states under weights of more than two
            magnitudes, six digits of one bit.
        slice_bits: of a digit, default 2; one for devices of two states.
        dac_bits: None (default) for an ideal DAC; spikes need none.
        adc_bits: default 8; None for ideal ones.
        noise: law of the read noise, see `Array`.
        curved: whether devices conduct as they do at the voltage that wires and converters leave them, default False: as at
            `read_volts`. Every different input of a tile is then a circuit of its own, solved by iteration: milliseconds
            each. The report tells how many iterations and what residual.
        compensate: give every column the line (a digital gain and an offset) that brings it nearest to the wanted sums on the
            samples of `calibration`, default False; see `hardware_targets.crossbar.compensation`.
        convolution: `"patches"` (default) or `"unrolled"`, see `hardware_targets.crossbar.mapping`.
        accumulate: time steps whose charge is gathered before the ADC converts it, default 1: fewer conversions, and
            currents that arrive at the last step of each window. Not within loops.
        calibration: samples of the input on which the ADC ranges are found first; default 0: from the weights.
        read_volts: of a full-scale input, default 0.1 V.
        read_seconds: of a read, default 10 ns; for the energy and latency.
        age: seconds between programming and the run, default 0.
        temperature: kelvin during that time, default 300.
        read_temperature: kelvin while it runs, default 300; TMR falls with it.
        access: `"transistor"`, `"half"` or `"third"`: what writing a device does to others, see
            `hardware_targets.crossbar.devices.written`; default None: as the device says, by a transistor.
        m: metaplasticity, 1 / hidden value: hidden values W of the graph's weights raise the barriers of magneto-ionic
            junctions by `2 ln cosh(m W)`; default None: h = 0.

    Raises:
        InputError, UnknownName: an option that is impossible.
    """

    name = "crossbar"
    settings = NAMES
    several_ports = True

    def __init__(self, device: str | Mapping[str, Any] | Device | PulsedDevice | None = None, **options: Any) -> None:
        for option in options:
            if option not in NAMES:
                raise unknown_name("crossbar", option, NAMES, "option")
        if "wires" in options:
            options["wires"] = wiring(options["wires"])
        self.options = Options(**options)
        self.device = self._equipped(_device(device, self.options.read_volts))
        self.causes = self._causes()

    def _equipped(self, device: Device) -> Device:
        """A device written and read as the options say."""
        s, inner = self.options, device.device if isinstance(device, Written) else None
        if s.m is not None and not isinstance(inner, MagnetoIonicMTJ):
            kind = type(inner or device).__name__
            raise InputError("Crossbar.m", "a device with a hidden value", kind, "use magneto_ionic_mtj, or no m")
        if isinstance(device, Written):
            return replace(device, read_seconds=s.read_seconds, access=s.access or device.access)
        if s.access not in (None, "transistor"):
            got = type(device).__name__
            raise InputError("Crossbar.access", "a device that pulses write", got, "use access='transistor'")
        return device

    def _causes(self) -> tuple[str, ...]:
        s = self.options
        there = {
            "levels": (s.slices or 1) > 1, "wires": s.wires is not None, "DAC": s.dac_bits is not None,
            "ADC": s.adc_bits is not None, "ageing": s.age > 0, "accumulation": s.accumulate > 1,
            "curved devices": s.curved and self.device.curved, "heat in reads": s.read_temperature != ROOM,
        }  # fmt: skip
        return tuple(dict.fromkeys((*self.device.causes, *(name for name, given in there.items() if given))))

    def adjusted(self, **settings: Any) -> Crossbar:
        """The same crossbar with other options; `device.NAME` and `wires.NAME` set one field of a device or of the wires."""
        whole = {key: value for key, value in settings.items() if "." not in key}
        parts: dict[str, dict[str, Any]] = {"device": {}, "wires": {}}
        for key, value in settings.items():
            owner, dot, name = key.partition(".")
            if dot and owner not in parts:
                raise InputError("crossbar", "device.NAME or wires.NAME", key, "give the whole option instead")
            if dot:
                parts[owner][name] = value
        given = {**{f.name: getattr(self.options, f.name) for f in fields(Options)}, "device": self.device, **whole}
        if "read_volts" in whole and "device" not in whole and isinstance(self.device, Written):
            given["device"] = self.device.device
        if parts["wires"]:
            held = given["wires"]
            known = vars(held) if isinstance(held, Wiring) else held if isinstance(held, Mapping) else {}
            given["wires"] = {**known, **parts["wires"]}
        if parts["device"]:
            given["device"] = changed(_device(given["device"], given["read_volts"]), parts["device"])
        return Crossbar(**given)

    def only(self, causes: Iterable[str]) -> Crossbar:
        """The same crossbars with just these causes; each noise is drawn as it is in the whole."""
        kept, s = set(causes), self.options
        changes: dict[str, Any] = {}
        for cause, field, without in (
            ("levels", "slices", 1), ("wires", "wires", None), ("DAC", "dac_bits", None), ("ADC", "adc_bits", None),
            ("ageing", "age", 0.0), ("accumulation", "accumulate", 1),
            ("curved devices", "curved", False), ("heat in reads", "read_temperature", ROOM),
            ("half-select", "access", None),
        ):  # fmt: skip
            if cause not in kept:
                changes[field] = without
        if "wires" not in kept:
            changes["compensate"] = False
        return _made(self.device.only(kept), replace(s, **changes))

    def unavailable(self) -> str:
        """Always there."""
        return ""

    def check(self, graph: nir.NIRGraph) -> list[Problem]:
        """What keeps the graph from being mapped to arrays."""
        try:
            plan = order(graph)
            sizes = shapes(graph)
        except NeurospinError as error:
            return [Problem(error.where, error.expected, error.got, error.fix)]
        problems = []
        looped = {name for group, loop in zip(plan.components, plan.looped, strict=True) if loop for name in group}
        for name, node in plan.nodes.items():
            if isinstance(node, WEIGHTS):
                weight = np.asarray(node.weight)
                if isinstance(node, nir.Affine | nir.Linear) and weight.ndim != 2:
                    problems.append(Problem(name, "a matrix (out, in)", f"shape {weight.shape}", "flatten first"))
                elif not np.isfinite(weight).all():
                    problems.append(Problem(name, "finite weights", "a value that is not", "train again"))
                elif name in looped and self.options.accumulate > 1:
                    got = f"one in a loop, with accumulate {self.options.accumulate}"
                    problems.append(Problem(name, "a node outside loops", got, "accumulate=1"))
                elif isinstance(node, nir.Conv1d | nir.Conv2d) and self.options.convolution == "unrolled":
                    need = math.prod(_fed(plan, sizes, name)) * math.prod(sizes[name])
                    if need > LARGEST:
                        got = f"{need:.3g} of an unrolled convolution"
                        problems.append(Problem(name, f"at most {LARGEST:.3g} devices", got, "convolution='patches'"))
            elif not isinstance(node, DIGITAL):
                kinds = "weights, pooling, Scale, Flatten, Threshold, Delay and neurons"
                problems.append(Problem(name, kinds, type(node).__name__, "replace the node"))
        return problems

    def prepare(self, graph: nir.NIRGraph, seed: int = 0) -> Chip:
        """Program the arrays of a graph: one chip, drawn by `seed`."""
        plan, sizes = order(graph), shapes(graph)
        layers: dict[str, Layer] = {}
        stored = stored_weights(graph)
        for number, (name, node) in enumerate(plan.nodes.items()):
            if isinstance(node, WEIGHTS):
                child = int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0] >> 1)
                generator = torch.Generator().manual_seed(child)
                layers[name] = Layer(
                    name,
                    node,
                    _fed(plan, sizes, name),
                    lambda w, g=generator: self._array(w, g),
                    self.options.convolution,
                    self.options.accumulate,
                )
                hidden = stored.get(name, {}).get("hidden")
                if self.options.m is not None and hidden is not None:
                    layers[name].protect(self.options.m * np.asarray(hidden))
        if self.options.age:
            for layer in layers.values():
                layer.relax(self.options.age, self.options.temperature)
        return Chip(self, graph, plan, layers)

    def _array(self, weight: Tensor, generator: torch.Generator) -> Array:
        s = self.options
        slices, bits = s.slices or 1, s.slice_bits
        if self.device.two_states:
            magnitudes = weight.abs().unique()
            several = len(magnitudes[magnitudes > 0]) > 1
            slices, bits = s.slices or (BINARY_SLICES if several else 1), 1
        return Array(
            weight, self.device, generator, rows=s.rows, columns=s.columns, wiring=s.wires, coding=s.coding,
            slices=slices, slice_bits=bits, dac_bits=s.dac_bits, adc_bits=s.adc_bits, noise=s.noise, curved=s.curved,
            temperature=s.read_temperature,
        )  # fmt: skip

    def run(
        self,
        graph: nir.NIRGraph,
        spikes: np.ndarray | Mapping[str, np.ndarray],
        *,
        dt: float,
        seed: int = 0,
        record: Iterable[str] = (),
    ) -> Report:
        """Program the arrays, then run the graph with their products; `seed` fixes everything random."""
        chip = self.prepare(graph, seed)
        given = spikes if isinstance(spikes, Mapping) else {chip.plan.inputs[0]: spikes}
        if self.options.calibration:
            chip.calibrate({name: x[:, : self.options.calibration] for name, x in given.items()}, dt)
        wanted = tuple(record)
        result = chip.run(given, dt, wanted)
        steps, samples = next(iter(given.values())).shape[:2]
        return chip.report(result, wanted, steps, samples, seed)


@dataclass(frozen=True)
class Chip:
    """A graph whose weights are on programmed arrays.

    Attributes:
        target: what it was made by.
        graph: as it was given.
        plan: its order.
        layers: by node.
    """

    target: Crossbar
    graph: nir.NIRGraph
    plan: Order
    layers: dict[str, Layer]

    def calibrate(self, spikes: np.ndarray | Mapping[str, np.ndarray], dt: float) -> None:
        """Range all ADCs on the currents of a sample input `(time, batch, *input)`, as the graph without noise gives it."""
        self._sized(spikes)
        simulate(self.graph, spikes, dt=dt, operators={name: layer.watched for name, layer in self.layers.items()})
        for layer in self.layers.values():
            layer.calibrate(compensate=self.target.options.compensate)

    def run(self, spikes: np.ndarray | Mapping[str, np.ndarray], dt: float, record: tuple[str, ...] = ()) -> Simulation:
        """Run the graph with the products of the arrays."""
        self._sized(spikes)
        traced = [name for name in record if isinstance(self.plan.nodes[name], SPIKING)]
        return simulate(self.graph, spikes, dt=dt, record=record, before_reset=traced, operators=self.layers)

    def _sized(self, spikes: np.ndarray | Mapping[str, np.ndarray]) -> None:
        first = next(iter(spikes.values())) if isinstance(spikes, Mapping) else spikes
        for layer in self.layers.values():
            layer.batch = first.shape[1]

    def relax(self, seconds: float, temperature: float = 300.0) -> None:
        """Let time pass without writing."""
        for layer in self.layers.values():
            layer.relax(seconds, temperature)

    def report(self, result: Simulation, wanted: tuple[str, ...], steps: int, samples: int, seed: int) -> Report:
        """What a run of `steps` × `samples` gave, and its costs."""
        target, layers = self.target, self.layers
        s, kinds = target.options, (*SPIKING, nir.LI, nir.CubaLI, nir.I)
        neurons = sum(int(np.size(node.r)) for node in self.plan.nodes.values() if isinstance(node, kinds))
        updates = float(steps * samples * neurons)
        written = [layer.written() for layer in layers.values()]
        info: dict[str, Any] = {
            "latency": dict.fromkeys(wanted, 0),
            "approximations": [line for layer in layers.values() for line in layer.approximations()],
            "seed": seed,
            "neurons": "digital, float32",
            "adc_range": f"on {s.calibration} samples of this input" if s.calibration else "from the weights",
            "mapping": costs.table(layers),
            "tiles": sum(layer.tiles for layer in layers.values()),
            "utilisation": sum(x.devices for x in layers.values()) / max(1, sum(x.capacity for x in layers.values())),
            "area_m2": costs.area(layers),
            "seconds": costs.seconds(layers, steps, s.read_seconds),
            "energy_source": costs.SOURCE,
            "programming": {
                **{name: sum(getattr(w, name) for w in written) for name in SUMMED},
                "seconds": max((w.seconds for w in written), default=0.0),
            },
            **{f.name: getattr(s, f.name) for f in fields(s) if f.name != "wires"},
            "wires": None if s.wires is None else vars(s.wires),
            **target.device.describe(),
        }  # fmt: skip
        operations = {
            "device_reads": float(sum(layer.reads for layer in layers.values())),
            "adc_conversions": float(sum(layer.conversions for layer in layers.values())),
            "neuron_updates": updates,
            "devices": float(sum(layer.devices for layer in layers.values())),
        }
        joules = costs.energy(layers, updates, s.read_volts, s.read_seconds)
        outputs = result.outputs if len(result.outputs) > 1 else {}
        first = next(iter(result.outputs.values()))
        return Report(first, 0, operations, joules, info, result.records, result.before_reset, outputs)


def _made(device: Device, options: Options) -> Crossbar:
    return Crossbar(device, **{f.name: getattr(options, f.name) for f in fields(options)})


def _device(given: Any, read_volts: float) -> Device:
    return BoundedLinear() if given is None else device(given, read_volts)


def _fed(plan: Order, sizes: Mapping[str, tuple[int, ...]], name: str) -> tuple[int, ...]:
    """Shape of what a node is given."""
    return next(sizes[s] for s in (*plan.sources[name], *plan.delayed[name]) if s in sizes)


target = Crossbar()
