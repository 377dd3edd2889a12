"""What was promised, and whether it holds: ratios of one interleaved run."""

from __future__ import annotations

from dataclasses import dataclass

from experiments.benchmarks.limits import LOOPS

# mode, T, N, part, library or limit, at least this many times slower than ours
FASTER = [
    *(("neuron", 100, 512, "both", name, x) for name, x in
      (("snntorch", 15), ("spikingjelly", 10), ("norse", 25), ("sinabs", 20), ("jax scan", 1), ("spyx", 1))),
    *(("neuron", 500, 512, "both", name, x) for name, x in
      (("snntorch", 15), ("spikingjelly", 12), ("norse", 100), ("sinabs", 100))),
    *(("neuron", 100, n, "both", name, 3) for n in (2048, 4096) for name in ("jax scan", "spyx")),
    *(("layer", 100, n, "both", name, x) for n in (512, 2048) for name, x in
      (("snntorch", 10), ("spikingjelly", 8), ("jax scan", 2.5))),
    ("recurrent", 100, 512, "forward", "snntorch", 10),
    ("recurrent", 100, 512, "both", "snntorch", 4),
    ("training step", 10, 200, "both", "snntorch", 3),
]  # fmt: skip
LOOPS_OVER_COPY = 1.5
GROWTH = 6.5
ADAM = 1.3
ARRAYS = {"ours": 3.0, "ours, recompute": 2.1}
CALL = 150.0  # microseconds


@dataclass(frozen=True)
class Bar:
    """One promise: what, the number that was measured, the number promised, and whether it holds."""

    what: str
    measured: float
    promised: str
    holds: bool


def ratio(
    result: dict, mode: str, time: int, size: int, part: str, name: str, batch: int | None = None
) -> float | None:
    """Seconds of `name` over seconds of ours in one cell; `None` where either is not there."""
    for cell in result["cells"]:
        at = (cell["mode"], cell["time"], cell["size"]) == (mode, time, size)
        if at and cell["batch"] == (batch or (100 if mode == "training step" else 16)):
            times = cell["times"][part]
            if "ours" in times and name in times:
                return times[name]["cpu"] / times["ours"]["cpu"]
    return None


def bars(result: dict) -> list[Bar]:
    """Every promise of which both sides were measured."""
    found = []
    words = {"both": "forward + backward", "forward": "forward"}
    for mode, time, size, part, name, least in FASTER:
        x = ratio(result, mode, time, size, part, name)
        if x is not None:
            what = f"{mode}, T {time}, N {size}, {words[part]}: {name} / ours"
            found.append(Bar(what, x, f">= {least}", x >= least))
    for time, size in ((100, 512), (500, 512), (100, 2048), (100, 4096)):
        limit, loops = (ratio(result, "neuron", time, size, "both", name) for name in ("limit: memory", LOOPS))
        if limit is not None and loops is not None:
            what = f"neuron, T {time}, N {size}: our two loops / copying as many bytes"
            found.append(Bar(what, loops / limit, f"<= {LOOPS_OVER_COPY}", loops / limit <= LOOPS_OVER_COPY))
    long, short = (
        next((c["times"]["both"].get("ours") for c in result["cells"]
              if (c["mode"], c["time"], c["batch"], c["size"]) == ("neuron", t, 16, 512)), None)
        for t in (500, 100)
    )  # fmt: skip
    if long and short:
        x = long["cpu"] / short["cpu"]
        found.append(Bar("ours, neuron, N 512: time(T 500) / time(T 100)", x, f"<= {GROWTH}", x <= GROWTH))
    for row in result["plasticity"]:
        for rule in ("Metaplastic", "Kalman"):
            if rule in row["times"]:  # older results have no Kalman
                x = row["times"][rule]["cpu"] / row["times"]["torch Adam, fused"]["cpu"]
                what = f"{rule} / torch Adam(fused), {row['parameters']:,} parameters"
                found.append(Bar(what, x, f"<= {ADAM}", x <= ADAM))
    for row in result["memory"]:
        for name, most in ARRAYS.items():
            peak, array = row["bytes"].get(name), 4 * row["time"] * row["batch"] * row["size"]
            if isinstance(peak, int) and row["time"] == 500:
                x = peak / array
                what = f"{name}, peak memory, T {row['time']}, arrays of T x B x N"
                found.append(Bar(what, x, f"<= {most}", x <= most + 0.05))
    if "call" in result:
        x = 1e6 * result["call"]["both"]
        found.append(Bar("ours, one call, forward + backward, microseconds", x, f"<= {CALL:.0f}", x <= CALL))
    return found
