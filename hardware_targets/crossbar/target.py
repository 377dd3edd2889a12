"""The crossbar target: every matrix product of a graph on arrays of nanodevices; neurons are digital."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import nir
import numpy as np
import torch

from hardware_targets.crossbar.devices import BoundedLinear, Device
from hardware_targets.crossbar.tile import Layer
from neurospin.errors import InputError, NeurospinError
from neurospin.graph.check import shapes
from neurospin.graph.order import SPIKING, STATEFUL, order
from neurospin.graph.simulate import simulate
from neurospin.target import Problem, Report

DIGITAL = (nir.Input, nir.Output, nir.Scale, nir.Flatten, *STATEFUL)


class Crossbar:
    """Crossbars of one kind of device.

    Args:
        device: of every crosspoint, default `BoundedLinear()`.
        adc_bits: resolution of the converters, default 8; `None` for ideal ones.
        rows: height of a tile, default 256.
    """

    name = "crossbar"

    def __init__(self, device: Device | None = None, *, adc_bits: int | None = 8, rows: int = 256) -> None:
        if adc_bits is not None and not 2 <= adc_bits <= 24:
            raise InputError("Crossbar.adc_bits", "2 to 24, or None", repr(adc_bits), "choose a converter")
        if rows < 1:
            raise InputError("Crossbar.rows", "at least 1", repr(rows), "choose a tile")
        self.device = device or BoundedLinear()
        self.adc_bits, self.rows = adc_bits, rows
        self.causes = (*self.device.causes, *(("ADC",) if adc_bits is not None else ()))

    def only(self, causes: Iterable[str]) -> Crossbar:
        """The same crossbars with just these causes; each noise is drawn as it is in the whole."""
        kept = set(causes)
        bits = self.adc_bits if "ADC" in kept else None
        return Crossbar(self.device.only(kept), adc_bits=bits, rows=self.rows)

    def unavailable(self) -> str:
        """Always there."""
        return ""

    def check(self, graph: nir.NIRGraph) -> list[Problem]:
        """What keeps the graph from being mapped to arrays."""
        try:
            plan = order(graph)
            shapes(graph)
        except NeurospinError as error:
            return [Problem(error.where, error.expected, error.got, error.fix)]
        problems = []
        for name, node in plan.nodes.items():
            if isinstance(node, nir.Affine | nir.Linear):
                weight = np.asarray(node.weight)
                if weight.ndim != 2:
                    problems.append(Problem(name, "a matrix (out, in)", f"shape {weight.shape}", "flatten first"))
                elif not np.isfinite(weight).all():
                    problems.append(Problem(name, "finite weights", "a value that is not", "train again"))
            elif not isinstance(node, DIGITAL):
                kinds = "Affine, Linear, Scale, Flatten, Delay and neurons"
                problems.append(Problem(name, kinds, type(node).__name__, "use dense layers"))
        return problems

    def run(
        self, graph: nir.NIRGraph, spikes: np.ndarray, *, dt: float, seed: int = 0, record: Iterable[str] = ()
    ) -> Report:
        """Program the arrays, then run the graph with their products; `seed` fixes all noise."""
        plan = order(graph)
        layers: dict[str, Layer] = {}
        for number, (name, node) in enumerate(plan.nodes.items()):
            if not isinstance(node, nir.Affine | nir.Linear):
                continue
            child = int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0] >> 1)
            bias = torch.as_tensor(np.asarray(node.bias), dtype=torch.float32) if isinstance(node, nir.Affine) else None
            layers[name] = Layer(
                torch.as_tensor(np.asarray(node.weight), dtype=torch.float32),
                bias,
                self.device,
                rows=self.rows,
                adc_bits=self.adc_bits,
                generator=torch.Generator().manual_seed(child),
            )
        wanted = tuple(record)
        traced = [name for name in wanted if isinstance(plan.nodes[name], SPIKING)]
        result = simulate(graph, spikes, dt=dt, record=wanted, before_reset=traced, operators=layers)
        info: dict[str, Any] = {
            "latency": dict.fromkeys(wanted, 0),
            "approximations": [line for name, layer in layers.items() for line in layer.approximations(name)],
            "seed": seed,
            "adc_bits": self.adc_bits,
            "rows": self.rows,
            "neurons": "digital, float32",
            **self.device.describe(),
        }
        return Report(
            result.output,
            0,
            self._operations(plan.nodes, layers, spikes),
            {},
            info,
            result.records,
            result.before_reset,
        )

    @staticmethod
    def _operations(nodes: dict[str, nir.NIRNode], layers: dict[str, Layer], spikes: np.ndarray) -> dict[str, float]:
        steps = spikes.shape[0] * spikes.shape[1]
        kinds = (*SPIKING, nir.LI, nir.CubaLI, nir.I)
        neurons = sum(int(np.size(node.r)) for node in nodes.values() if isinstance(node, kinds))
        return {
            "device_reads": float(sum(layer.reads for layer in layers.values())),
            "adc_conversions": float(sum(layer.conversions for layer in layers.values())),
            "neuron_updates": float(steps * neurons),
            "devices": float(sum(layer.devices for layer in layers.values())),
        }


target = Crossbar()
