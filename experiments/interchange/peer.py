"""Run NIR files in another framework: `python peer.py NAME FOLDER DT`, in that framework's own Python.

For every `FOLDER/CASE.nir` with its input `CASE.npz` (array `spikes`, time first), the framework's own
reader and its own simulation give `CASE.NAME.npz` (array `spikes`) or `CASE.NAME.txt` (why not).
"""

import sys
import warnings
from pathlib import Path

import nir
import numpy as np


def stepped(module, spikes):
    """A module of torch that takes one step and its state."""
    import torch

    state, out = None, []
    with torch.no_grad():
        for row in torch.from_numpy(spikes):
            y, state = module(row, state)
            out.append(y.numpy())
    return np.stack(out)


def spikingjelly(path, spikes, dt):
    from spikingjelly.activation_based import nir_exchange

    return stepped(nir_exchange.import_from_nir(nir.read(path), dt=dt), spikes)


def norse(path, spikes, dt):
    import norse.torch

    return stepped(norse.torch.from_nir(nir.read(path), dt=dt), spikes)


def norse_batch(path, spikes, dt):
    """Norse, with the axes of a Flatten counted as it counts them: the batch is one."""
    import norse.torch

    graph = nir.read(path)
    for node in graph.nodes.values():
        if isinstance(node, nir.Flatten) and node.start_dim >= 0:
            node.start_dim += 1
    return stepped(norse.torch.from_nir(graph, dt=dt), spikes)


def spyx(path, spikes, dt):
    import jax.numpy as jnp
    import spyx.nir

    if spikes.ndim == 5:  # it keeps channels last
        spikes = np.moveaxis(spikes, 2, -1)
    return np.asarray(spyx.nir.from_nir(nir.read(path), jnp.asarray(spikes), dt=dt)[1])


PEERS = {"spikingjelly": spikingjelly, "norse": norse, "norse-batch": norse_batch, "spyx": spyx}


def main(name, folder, dt):
    warnings.simplefilter("ignore")
    for path in sorted(Path(folder).glob("*.nir")):
        with np.load(path.with_suffix(".npz")) as file:
            spikes = file["spikes"]
        try:
            out = PEERS[name](path, spikes, float(dt))
            np.savez(path.with_suffix(f".{name}.npz"), spikes=np.asarray(out, np.float32))
        except Exception as error:
            path.with_suffix(f".{name}.txt").write_text(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main(*sys.argv[1:])
