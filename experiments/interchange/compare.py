"""Our files in spikingjelly, Norse and Spyx: their output spikes against ours. Writes `docs/interchange.md`.

`NEUROSPIN_PEERS_PYTHON` names a Python that has the three (`make interchange` builds one).
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path

import nir
import numpy as np

import neurospin as ns

sys.path.insert(0, str(Path(__file__).parent))
from causes import emulated

DT, STEPS, BATCH = 1e-3, 200, 8
PEERS = ("spikingjelly", "norse", "spyx")
HERE = Path(__file__).resolve()


def _constants(shape, tau=10e-3, r=1.0, leak=0.0, threshold=1.0, reset=0.0):
    values = {"tau": tau, "r": r, "v_leak": leak, "v_threshold": threshold, "v_reset": reset}
    return {key: np.broadcast_to(value, shape).astype(np.float32) for key, value in values.items()}


def lif(shape, **changes):
    return nir.LIF(**_constants(shape, **changes))


def cuba(shape, w_in=2.0, **changes):
    given = _constants(shape, **changes)
    given["tau_mem"] = given.pop("tau")
    one = np.ones(shape, np.float32)
    return nir.CubaLIF(tau_syn=5e-3 * one, w_in=w_in * one, **given)


def affine(out, into, seed, gain, bias):
    rng = np.random.default_rng(seed)
    weight = (gain * rng.normal(size=(out, into)) / np.sqrt(into)).astype(np.float32)
    return nir.Affine(weight, (bias * rng.normal(size=out)).astype(np.float32)) if bias else nir.Linear(weight)


def chain(shape, out, *nodes):
    ends = nir.Input({"input": np.array(shape)}), nir.Output({"output": np.array(out)})
    named = {"input": ends[0], **{f"n{i}": node for i, node in enumerate(nodes)}, "output": ends[1]}
    return nir.NIRGraph(named, list(pairwise(named)), metadata={"neurospin": {"dt": DT}})


def layers(neuron, bias=0.0, **changes):
    """Twelve inputs, twenty neurons, five neurons."""
    nodes = affine(20, 12, 0, 12, bias), neuron((20,), **changes), affine(5, 20, 1, 60, bias), neuron((5,), **changes)
    return chain([12], [5], *nodes)


def recurrent(neuron, bias=0.0):
    """The same, and the twenty neurons feed one another."""
    graph = layers(neuron)
    nodes = dict(graph.nodes)
    nodes = {**{key: nodes[key] for key in ("input", "n0", "n1")}, "loop": affine(20, 20, 2, 20, bias), **nodes}
    edges = [("input", "n0"), ("n0", "n1"), ("n1", "loop"), ("loop", "n1"), *graph.edges[2:]]
    return nir.NIRGraph(nodes, edges, metadata=graph.metadata)


def images(pool):
    rng = np.random.default_rng(3)
    conv = nir.Conv2d(
        (8, 8), (4 * rng.normal(size=(4, 2, 3, 3))).astype(np.float32), 1, 1, 1, 1, np.zeros(4, np.float32)
    )
    two, none = np.array([2, 2]), np.array([0, 0])
    flat = nir.Flatten({"input": np.array([4, 4, 4])}, 0, -1)
    nodes = conv, lif((4, 8, 8)), pool(two, two, none), flat, affine(5, 64, 4, 8, 0), lif((5,))
    return chain([2, 8, 8], [5], *nodes)


CASES = {
    "LIF": lambda: layers(lif),
    "LIF, bias": lambda: layers(lif, bias=0.5),
    "LIF, r = 2": lambda: layers(lif, r=2.0),
    "LIF, r = τ/dt": lambda: layers(lif, r=10.0, threshold=10.0),
    "LIF, leak 0.2": lambda: layers(lif, leak=0.2),
    "LIF, reset 0.3": lambda: layers(lif, reset=0.3),
    "LIF, τ of each neuron": lambda: chain(
        [12], [20], affine(20, 12, 0, 12, 0), lif((20,), tau=np.linspace(5e-3, 20e-3, 20))
    ),
    "LIF, reset 0.3 = leak": lambda: layers(lif, reset=0.3, leak=0.3),
    "CubaLIF": lambda: layers(cuba),
    "CubaLIF, leak 0.2": lambda: layers(cuba, leak=0.2),
    "CubaLIF, r = τ/dt, w_in = τ_syn/dt": lambda: layers(cuba, r=10.0, w_in=5.0, threshold=10.0),
    "recurrent LIF": lambda: recurrent(lif),
    "recurrent LIF, bias": lambda: recurrent(lif, bias=0.5),
    "recurrent CubaLIF": lambda: recurrent(cuba),
    "recurrent CubaLIF, bias": lambda: recurrent(cuba, bias=0.5),
    "Conv2d, SumPool2d": lambda: images(nir.SumPool2d),
    "Conv2d, AvgPool2d": lambda: images(nir.AvgPool2d),
}


def measured(python: str, cases: list[str], peers=PEERS) -> dict[str, dict[str, float | str]]:
    """For every case and peer: the share of output values that differ from ours, or why there are none.

    The key `"rate"` of a case holds our own output spikes per neuron and step; `"PEER, emulated"` the share of a
    peer's values that differ from its rules in `causes.py`.
    """
    found: dict[str, dict[str, float | str]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder, ours, inputs = Path(name), {}, {}
        for number, case in enumerate(cases):
            graph = CASES[case]()
            shape = tuple(int(n) for n in graph.nodes["input"].input_type["input"])
            spikes = (np.random.default_rng(7).random((STEPS, BATCH, *shape)) < 0.3).astype(np.float32)
            ns.write(folder / f"{number}.nir", graph)
            np.savez(folder / f"{number}.npz", spikes=spikes)
            inputs[case] = spikes
            ours[case] = ns.simulate(ns.read(folder / f"{number}.nir"), spikes).output
            found[case] = {"rate": float(ours[case].mean())}
        plain = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        for peer in peers:
            command = [python, str(HERE.with_name("peer.py")), peer, name, str(DT)]
            subprocess.run(command, check=True, env=plain, capture_output=True)
            for number, case in enumerate(cases):
                path = folder / f"{number}.{peer}.npz"
                if path.exists():
                    theirs = np.load(path)["spikes"]
                    same = theirs.shape == ours[case].shape
                    found[case][peer] = float((theirs != ours[case]).mean()) if same else f"shape {theirs.shape}"
                    if same:
                        rule = emulated(peer.removesuffix("-batch"), CASES[case](), inputs[case], DT)
                        found[case][f"{peer}, emulated"] = float((theirs != rule).mean())
                else:
                    found[case][peer] = " ".join(path.with_suffix(".txt").read_text().split())
    return found


def table(found: dict[str, dict[str, float | str]]) -> str:
    def cell(value: float | str) -> str:
        if isinstance(value, str):
            return f"gives {value}" if value.startswith("shape") else f"refuses: `{value[:90].replace('|', '/')}`"
        return "equal" if value == 0 else f"{100 * value:.1f} % differ"

    rows = ["| graph | our spikes per neuron and step | " + " | ".join(PEERS) + " |", "|---|---|" + "---|" * len(PEERS)]
    for case, results in found.items():
        rows.append(f"| {case} | {results['rate']:.3f} | " + " | ".join(cell(results[peer]) for peer in PEERS) + " |")
    return "\n".join(rows)


def main() -> None:
    python = os.environ.get("NEUROSPIN_PEERS_PYTHON")
    if not python:
        sys.exit("NEUROSPIN_PEERS_PYTHON names no Python; make interchange builds one")
    found = measured(python, list(CASES))
    text = table(found)
    for case, results in found.items():
        for key, value in results.items():
            if key.endswith("emulated") and value:
                print(f"{case}, {key}: {100 * float(value):.2f} % are not what causes.py says")
    place = HERE.parents[2] / "docs" / "interchange.md"
    begin, end = "<!-- table: begin -->\n", "\n<!-- table: end -->"
    page = place.read_text(encoding="utf-8")
    head, _, rest = page.partition(begin)
    place.write_text(head + begin + text + end + rest.partition(end)[2], encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
