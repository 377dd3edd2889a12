"""Runs compiled programs with lava-nc, in a Python 3.10 of its own: files in, files out.

Called as `python worker.py FOLDER …`. Each folder holds `program.json` and `arrays.npz`, written by
`client.py`; the worker adds `result.npz` and, last, `result.json`. A fault is told in `result.json` as
`{"error": "one line"}`. Imports neither neurospin nor torch. A lab with a Loihi board changes the run
configuration below (`Loihi2HwCfg` in place of `Loihi2SimCfg`); that is untested.
"""

import json
import sys
from pathlib import Path

import numpy as np
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi1SimCfg
from lava.proc.io.sink import RingBuffer as Sink
from lava.proc.io.source import RingBuffer as Source
from lava.proc.lif.process import LIF
from lava.proc.monitor.process import Monitor
from lava.proc.sparse.process import Sparse
from scipy.sparse import csr_matrix, identity, kron


def side_by_side(array, batch):
    """The same neurons once per sample, as one population."""
    return np.tile(array, batch)


def run(program, arrays):
    """Run one program on a chunk of samples that stand side by side; returns arrays by name."""
    spikes = arrays["spikes"]  # (time, batch, lines)
    steps, batch, lines = spikes.shape
    source = Source(data=spikes.reshape(steps, batch * lines).T.astype(np.int32))
    made = {}
    for name, settings in program["populations"].items():
        values = {key: arrays[f"{name}/{key}"] for key in ("du", "dv", "vth", "mantissa", "exponent", "u0", "v0")}
        made[name] = LIF(
            shape=(batch * settings["size"],),
            u=side_by_side(values["u0"], batch),
            v=side_by_side(values["v0"], batch),
            du=side_by_side(values["du"], batch),
            dv=side_by_side(values["dv"], batch),
            vth=side_by_side(values["vth"], batch),
            bias_mant=side_by_side(values["mantissa"], batch),
            bias_exp=side_by_side(values["exponent"], batch),
        )
    synapses = []
    for number, link in enumerate(program["connections"]):
        weights = csr_matrix(arrays[f"weights/{number}"].astype(np.int32))
        blocks = csr_matrix(kron(identity(batch, dtype=np.int32, format="csr"), weights, format="csr"))
        synapse = Sparse(weights=blocks, weight_exp=int(link["exponent"]))
        sender = source if link["source"] == program["input"] else made[link["source"]]
        sender.s_out.connect(synapse.s_in)
        synapse.a_out.connect(made[link["target"]].a_in)
        synapses.append(synapse)
    sinks, monitors = {}, {}
    for name in program["spikes"]:
        sinks[name] = Sink(shape=made[name].s_out.shape, buffer=steps)
        made[name].s_out.connect(sinks[name].a_in)
    for name in program["voltages"]:
        monitors[name] = Monitor()
        monitors[name].probe(made[name].v, steps)
    any_population = next(iter(made.values()))
    try:
        any_population.run(condition=RunSteps(num_steps=steps), run_cfg=Loihi1SimCfg(select_tag="fixed_pt"))
        results = {}
        for name, sink in sinks.items():
            data = sink.data.get().T.reshape(steps, batch, -1)
            results["spikes/" + name] = data.astype(np.int8)
        for name, monitor in monitors.items():
            data = monitor.get_data()[made[name].name]["v"]
            results["voltages/" + name] = np.asarray(data).reshape(steps, batch, -1).astype(np.int32)
    finally:
        any_population.stop()
    return results


def main(folders):
    """Run every folder; a fault in one does not stop the others."""
    for folder in map(Path, folders):
        try:
            program = json.loads((folder / "program.json").read_text())
            with np.load(folder / "arrays.npz", allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            chunk = int(program["chunk"])
            whole = arrays["spikes"]
            parts = [
                run(program, dict(arrays, spikes=whole[:, first : first + chunk]))
                for first in range(0, whole.shape[1], chunk)
            ]
            joined = {name: np.concatenate([part[name] for part in parts], axis=1) for name in parts[0]}
            np.savez_compressed(folder / "result.npz", **joined)
            answer = {"error": None}
        except Exception as error:  # told in one line; the client raises it
            answer = {"error": f"{type(error).__name__}: {' '.join(str(error).split())}"}
        (folder / "result.json").write_text(json.dumps(answer))


if __name__ == "__main__":
    main(sys.argv[1:])
