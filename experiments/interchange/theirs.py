"""Their graphs in neurospin: models of sinabs and Rockpool, exported by themselves, against their own activity.

Run by `theirs()` in the Python of `make interchange`, with this repository on its path; prints one JSON object.
`python theirs.py FOLDER` also keeps every graph and its activity, `NAME.nir` and `NAME.npz`.
"""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve()
T, B = 50, 4


def theirs(python: str) -> dict[str, dict]:
    """For every model: share of output values that differ from ours, the largest difference, mean output, loops, repairs."""
    given = {**os.environ, "PYTHONPATH": str(HERE.parents[2])}
    done = subprocess.run([python, str(HERE)], check=True, env=given, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def _weights(model, gain):
    for module in model.modules():
        if type(module).__name__ in ("Linear", "Conv2d"):
            module.weight.data *= gain
    return model


def models():
    """Name, graph, input `(time, batch, *input)`, the model's own output, and how to simulate it."""
    import sinabs
    import sinabs.activation as act
    import sinabs.layers as sl
    import sinabs.nir
    import torch
    from rockpool.nn.combinators import Sequential
    from rockpool.nn.modules import LIFTorch, LinearTorch, to_nir
    from torch import nn

    torch.manual_seed(0)
    subtract = {"spike_fn": act.SingleSpike, "reset_fn": act.MembraneSubtract()}
    zero = {"spike_fn": act.SingleSpike, "reset_fn": act.MembraneReset()}
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=False), sl.IAFSqueeze(batch_size=B, **subtract), sl.SumPool2d(2),
        nn.Conv2d(4, 6, 3, padding=1), sl.IAFSqueeze(batch_size=B, **subtract), sl.SumPool2d(2), nn.Flatten(),
        nn.Linear(24, 5, bias=False), sl.IAFSqueeze(batch_size=B, **subtract),
    )  # fmt: skip
    x = (torch.rand(T, B, 2, 8, 8) < 0.3).float()
    out = _weights(net, 2)(x.transpose(0, 1).reshape(B * T, 2, 8, 8)).reshape(B, T, 5).transpose(0, 1)
    yield "sinabs: convolutions, IAF, SumPool2d", sinabs.nir.to_nir(net, x[0]), x, out, {"dt": 1.0, "reset": "subtract"}

    x = (torch.rand(T, B, 6) < 0.3).float()
    for name, last in (("LIF", sl.LIF(tau_mem=10.0, **zero)), ("ExpLeak", sl.ExpLeak(tau_mem=10.0, norm_input=True))):
        net = _weights(nn.Sequential(nn.Linear(6, 8), sl.LIF(tau_mem=20.0, **zero), nn.Linear(8, 3), last), 20)
        net[2].weight.data.abs_()
        out = net(x.transpose(0, 1)).transpose(0, 1)
        sinabs.reset_states(net)
        graph = sinabs.nir.to_nir(net, x.transpose(0, 1))
        yield f"sinabs: LIF, {name}", graph, x, out, {"dt": 1.0, "scheme": "exponential"}

    times = {"tau_mem": 20e-3, "tau_syn": 5e-3, "dt": 1e-3, "max_spikes_per_dt": 1}
    for name, shape in (("LIF", 8), ("recurrent LIF", (8, 8))):
        loop = {"has_rec": True} if name != "LIF" else {}
        net = Sequential(
            LinearTorch((6, 8)), LIFTorch(shape, **times, **loop), LinearTorch((8, 3)), LIFTorch(3, **times)
        )
        out = net(x.transpose(0, 1))[0].transpose(0, 1)
        net.reset_state()
        graph, how = to_nir(net, x.transpose(0, 1)), {"dt": 1e-3, "scheme": "exponential", "reset": "subtract"}
        yield f"rockpool: {name}", graph, x, out, how
        mended = copy.deepcopy(graph)  # the r and w_in with which NIR's step is Rockpool's
        for node in mended.nodes.values():
            if hasattr(node, "tau_syn"):
                kept, lost = np.exp(-1e-3 / node.tau_syn), 1 - np.exp(-1e-3 / node.tau_mem)
                node.r, node.w_in = 1 / lost, kept / (1 - kept)
        yield f"rockpool: {name}, r and w_in mended", mended, x, out, how


def main() -> None:
    import neurospin as ns
    from neurospin.graph.order import order
    from neurospin.graph.repair import GraphWarning

    found = {}
    for name, graph, x, out, how in models():
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always", GraphWarning)
            ours = ns.simulate(graph, x.numpy(), **how).output
        if len(sys.argv) > 1:
            place = Path(sys.argv[1]) / name.lower().replace(": ", "_").replace(", ", "_").replace(" ", "_")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                ns.write(place.with_suffix(".nir"), graph)
            np.savez_compressed(
                place.with_suffix(".npz"), spikes=x.numpy().astype(np.uint8), output=out.detach().numpy()
            )
        values = out.detach().numpy()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loops = any(order(graph).looped)
        found[name] = {
            "differ": float((ours != values).mean()), "largest": float(np.abs(ours - values).max()),
            "mean": float(values.mean()), "loops": loops,
            "repairs": [str(w.message) for w in told],
        }  # fmt: skip
    print(json.dumps(found))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
