"""What inference on crossbars costs: joules, seconds and square metres from cited constants of one design.

Constants are those of ISAAC (Shafiee et al. 2016, doi:10.1109/ISCA.2016.12, Table I, 32 nm): an 8-bit ADC of 2 mW, 1200 µm²
and 1.28 GS/s (1.2 in the table) shared by the columns of a tile; a row driver of 3.9 µW and 0.166 µm² busy for 100 ns; a crosspoint of
1.5 · 10⁻³ µm². Digital sums and neurons are Horowitz's (`neurospin.energy.DIGITAL`). The energy of a read is exact
for lines without resistance, `V² t Σ x² g`, with V and t of the target. Choices: energy and area of an ADC go with
2^bits; a pair is subtracted before its ADC; buffers, clocks and links between tiles are not counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hardware_targets.crossbar.mapping import Layer
from neurospin.energy import DIGITAL

SOURCE = (
    "ISAAC, Shafiee et al. 2016, doi:10.1109/ISCA.2016.12 (converters, drivers); "
    + DIGITAL.source
    + " (digital part); "
    "reads from conductances, voltage and time"
)
ADC_JOULES = 2e-3 / 1.28e9  # 8 bits
ADC_SECONDS = 1 / 1.28e9
ADC_AREA = 1200e-12  # m², 8 bits
DRIVER_JOULES = 4e-3 / 1024 * 100e-9
DRIVER_AREA = 0.00017e-6 / 1024
CELL_AREA = 0.0002e-6 / (8 * 128 * 128)
Range = list[float]


def energy(
    layers: Mapping[str, Layer], neuron_updates: float, read_volts: float, read_seconds: float
) -> dict[str, Range]:
    """Joules by part, `[low, high]`, of all that the layers did so far."""
    arrays = sum(layer.charge for layer in layers.values()) * read_volts**2 * read_seconds
    drivers = sum(a.driven for layer in layers.values() for a in layer.arrays) * DRIVER_JOULES
    found = {"arrays": [arrays, arrays], "drivers": [drivers, drivers]}
    adc = sum(
        a.conversions * ADC_JOULES * 2.0 ** (a.adc_bits - 8)
        for layer in layers.values() for a in layer.arrays if a.adc_bits is not None
    )  # fmt: skip
    found["converters"] = [adc, adc]
    sums = sum(a.conversions for layer in layers.values() for a in layer.arrays if a.parts > 1)
    for part, count, name in (("sums", sums, "synaptic"), ("neurons", neuron_updates, "neuron_updates")):
        found[part] = [count * cost for cost in DIGITAL.joules[name]]
    return {part: joules for part, joules in found.items() if joules[1] > 0}


def seconds(layers: Mapping[str, Layer], steps: int, read_seconds: float) -> Range:
    """Of one sample: all layers at work at once (pipelined), and one after the other."""
    each = []
    for layer in layers.values():
        array = layer.arrays[0]
        conversion = 0.0 if array.adc_bits is None else array.columns * ADC_SECONDS
        each.append(layer.positions * (read_seconds + conversion / layer.accumulate))
    return [steps * max(each, default=0.0), steps * sum(each)]


def area(layers: Mapping[str, Layer]) -> dict[str, float]:
    """Square metres by part: cells of whole tiles, an ADC for each tile or pair, a driver for each row."""
    arrays = [a for layer in layers.values() for a in layer.arrays]
    converters = sum(
        a.tiles / (2 if a.coding == "pair" else 1) * ADC_AREA * 2.0 ** (a.adc_bits - 8)
        for a in arrays
        if a.adc_bits is not None
    )
    return {
        "cells": sum(layer.capacity for layer in layers.values()) * CELL_AREA,
        "converters": converters,
        "drivers": sum(a.tiles * a.tile[0] for a in arrays) * DRIVER_AREA,
    }


def table(layers: Mapping[str, Layer]) -> list[dict[str, Any]]:
    """One row per node: where it went."""
    return [{"node": name, **layer.summary()} for name, layer in layers.items()]
