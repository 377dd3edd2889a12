"""Cells of the table: checked, then timed; libraries that are left out say why."""

from __future__ import annotations

import dataclasses
import platform
import re
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from experiments.benchmarks import memory, plasticity
from experiments.benchmarks.limits import call, limits
from experiments.benchmarks.runners import agreement, runner
from experiments.benchmarks.timing import LASTS, interleaved
from experiments.benchmarks.torch_peers import Unsupported
from experiments.benchmarks.work import Work

FULL = [
    *(Work("neuron", 100, 16, n) for n in (128, 512, 2048, 4096)),
    *(Work("neuron", t, 16, 512) for t in (20, 500)),
    *(Work("neuron", 100, b, 512) for b in (1, 128)),
    Work("layer", 100, 16, 512),
    Work("layer", 500, 16, 512),
    Work("layer", 100, 16, 2048),
    Work("recurrent", 100, 16, 512),
    Work("conv", 40, 16, 2048),
    Work("training step", 10, 100, 200),
    Work("dense input", 500, 16, 1024),
]
QUICK = [
    Work("neuron", 100, 16, 512),
    Work("layer", 100, 16, 512),
    Work("recurrent", 100, 16, 512),
    Work("conv", 10, 16, 2048),
    Work("training step", 10, 100, 200),
]
GPU = [Work("neuron", 500, 16, n) for n in (512, 2048)] + [Work("dense input", 500, 16, n) for n in (512, 4096, 16384)]
MEMORY = [Work("neuron", t, 16, 512) for t in (100, 200, 500, 1000)]
COMPILED = {("neuron", 100, 512), ("neuron", 500, 512), ("neuron", 100, 2048)}


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is measured.

    Attributes:
        works: cells.
        names: libraries.
        rounds: of which the median is taken.
        device: `cpu` or `cuda`.
        peaks: cells of which the peak memory is measured, each library in a process of its own; they differ in time.
        compiled: whether torch.compile is waited for.
        lasts: seconds of one measurement at least.
        parameters: sizes of the metaplastic step.
    """

    works: list[Work]
    names: list[str]
    rounds: int = 5
    device: str = "cpu"
    peaks: list[Work] = dataclasses.field(default_factory=list)
    compiled: bool = False
    lasts: float = LASTS
    parameters: tuple[int, ...] = plasticity.SIZES


def cell(work: Work, plan: Plan) -> dict:
    """Check and time one cell."""
    runners, notes, left_out = {}, {}, {}
    for name in plan.names:
        try:
            if name == "torch.compile" and not (plan.compiled and (work.mode, work.time, work.size) in COMPILED):
                raise Unsupported("compiling takes longer than all else; measured in three cells of the full table")
            note = agreement(name, work, plan.device)
            made = runner(name, work, plan.device)
            made.both()
        except Unsupported as why:
            left_out[name] = str(why)
        except Exception as fault:  # another library's fault is a line of the table, not the end of the run
            left_out[name] = f"{type(fault).__name__}: {(str(fault).splitlines() or [''])[0]}"
        else:
            notes[name], runners[name] = note, made
    runners |= limits(work, plan.device)
    times = {}
    for part in ("forward", "both"):
        calls = {name: getattr(made, part) for name, made in runners.items()}
        found = interleaved(calls, plan.rounds, plan.device, plan.lasts)
        times[part] = {name: dataclasses.asdict(t) for name, t in found.items()}
    return {**dataclasses.asdict(work), "times": times, "agreement": notes, "left out": left_out}


def machine(device: str) -> dict:
    """What was measured, with which versions."""
    versions = {}
    for package in ("torch", "numba", "snntorch", "spikingjelly", "norse", "sinabs", "rockpool", "jax", "spyx"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    name = "unknown"
    if device != "cpu":
        name = torch.cuda.get_device_name()
    elif Path("/proc/cpuinfo").exists():
        found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
        name = found[1] if found else platform.processor()
    return {"device": device, "name": name, "threads": torch.get_num_threads(), "versions": versions}


def measure(plan: Plan, say: Callable[[str], object] = print) -> dict:
    """All cells, the metaplastic step and the peak memory, as plain values."""
    result = {"machine": machine(plan.device), "rounds": plan.rounds, "cells": [], "plasticity": [], "memory": []}
    for work in plan.works:
        start = time.perf_counter()
        result["cells"].append(cell(work, plan))
        say(f"{work}: {time.perf_counter() - start:.0f} s")
    result["plasticity"] = plasticity.measure(plan.rounds, plan.device, plan.parameters, plan.lasts)
    if plan.device == "cpu":
        result["call"] = call(plan.rounds, plan.lasts)
    if plan.peaks:
        start = time.perf_counter()
        found = {n: memory.measure(n, plan.peaks, plan.device) for n in plan.names if n != "torch.compile"}
        for place, work in enumerate(plan.peaks):
            peaks = {name: bytes if isinstance(bytes, str) else bytes[place] for name, bytes in found.items()}
            result["memory"].append({**dataclasses.asdict(work), "bytes": peaks})
        say(f"memory: {time.perf_counter() - start:.0f} s")
    return result
