"""Interleaved medians: every library once a round, the order reversed every other round."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

LASTS = 0.05  # seconds that one measurement lasts at least
LONG = 0.5  # a call of more seconds is timed in three rounds at most


@dataclass(frozen=True)
class Time:
    """Seconds of one call: medians over the rounds, of CPU time (all threads) and of the wall clock.

    Attributes:
        cpu: seconds of CPU time; on a GPU, of the wall clock.
        wall: seconds of the wall clock.
        spread: largest over smallest CPU time of the rounds.
    """

    cpu: float
    wall: float
    spread: float


def synchronise(device: str) -> None:
    """Wait for the device; nothing to wait for on a CPU."""
    if device != "cpu":
        import torch

        torch.cuda.synchronize()


def once(call: Callable[[], object], repeats: int, device: str) -> tuple[float, float]:
    """CPU and wall seconds of one call, from `repeats` of them."""
    synchronise(device)
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(repeats):
        call()
    synchronise(device)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return (cpu if device == "cpu" else wall) / repeats, wall / repeats


def interleaved(
    calls: Mapping[str, Callable[[], object]], rounds: int, device: str = "cpu", lasts: float = LASTS
) -> dict[str, Time]:
    """Time every call; each is warmed up and repeated until a measurement lasts `lasts` seconds."""
    repeats, turns, samples = {}, {}, {name: [] for name in calls}
    for name, call in calls.items():
        once(call, 1, device)  # it may import and compile
        took = once(call, 1, device)[1]
        took = once(call, 10, device)[1] if took < lasts / 5 else took  # the first calls of a short one are slow
        repeats[name] = max(1, round(lasts / max(took, 1e-6)))
        turns[name] = rounds if took < LONG else min(rounds, 3)
    collecting = gc.isenabled()
    try:
        for turn in range(rounds):
            gc.collect()
            gc.disable()
            for name in list(calls) if turn % 2 == 0 else list(calls)[::-1]:
                if turn < turns[name]:
                    samples[name].append(once(calls[name], repeats[name], device))
    finally:
        if collecting:
            gc.enable()
    times = {}
    for name, pairs in samples.items():
        cpu, wall = zip(*pairs, strict=True)
        times[name] = Time(statistics.median(cpu), statistics.median(wall), max(cpu) / min(cpu))
    return times
