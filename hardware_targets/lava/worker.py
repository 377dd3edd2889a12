"""Runs compiled programs with lava-nc, in a Python of its own; imports nothing of neurospin, nor torch.

    python worker.py FOLDER [--memory BYTES]

FOLDER/jobs.json is a list of folders under FOLDER. Each holds `program.json` and `program.npz` (the
integers that `hardware_targets.loihi.program.save` wrote), `job.json` (`record`, `voltages`, `part`) and
`input.npz` (`spikes`, zeros and ones, `(time, batch, size)`). Each gets `output.npz`: `spikes/NAME` (uint8) and
`voltages/NAME` (int32, after the reset), `(time, batch, size)`. Where `program.json` says that the program is not whole,
Lava's `floating_pt` runs it with the same fractions, and voltages are float64. FOLDER/report.json says at the end
`{"ok": true, "lava": VERSION, "seconds": …}` or `{"ok": false, "error": "one line"}`.

Samples lie side by side as neurons of their own (block-diagonal synapses), `part` of them in one run: they
never meet, each has fresh state, and Lava's cost per step hardly grows with the width.
"""

import argparse
import json
import resource
import sys
import time
from pathlib import Path

import numpy as np
from scipy import sparse


def main():
    """Run every job of the folder; the exit status is 1 when one failed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--memory", type=int, default=0, help="address space of each process, bytes")
    options = parser.parse_args()
    if options.memory:
        resource.setrlimit(resource.RLIMIT_AS, (options.memory, options.memory))
    start = time.perf_counter()
    try:
        from importlib.metadata import version

        for name in json.loads((options.folder / "jobs.json").read_text()):
            run_job(options.folder / name)
        report = {"ok": True, "lava": version("lava-nc"), "seconds": time.perf_counter() - start}
    except BaseException as error:
        text = " ".join(str(error).split()) or "no message"
        report = {"ok": False, "error": f"{type(error).__name__}: {text}"}
    (options.folder / "report.json").write_text(json.dumps(report))
    return 0 if report["ok"] else 1


def run_job(folder):
    """Run one program on all samples, part by part, and write `output.npz`."""
    job = json.loads((folder / "job.json").read_text())
    structure = json.loads((folder / "program.json").read_text())
    with np.load(folder / "program.npz", allow_pickle=False) as file:
        arrays = {key: file[key] for key in file.files}
    with np.load(folder / "input.npz", allow_pickle=False) as file:
        spikes = file["spikes"]
    pieces = []
    for i in range(0, spikes.shape[1], job["part"]):
        scratch = folder / f"part{i}"
        scratch.mkdir()
        part = spikes[:, i : i + job["part"]]
        pieces.append(run_part(structure, arrays, part, job["record"], job["voltages"], scratch))
    output = {key: np.concatenate([piece[key] for piece in pieces], axis=1) for key in pieces[0]}
    np.savez(folder / "output.npz", **output)


def run_part(structure, arrays, spikes, record, voltages, folder):
    """Some samples side by side through one Lava network."""
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi1SimCfg
    from lava.proc.io.source import RingBuffer as Source
    from lava.proc.lif.process import LIF

    steps, batch, width = spikes.shape
    # Lava wants time last
    whole = structure["whole"]
    kind = np.int32 if whole else np.float64
    source = Source(data=spikes.reshape(steps, batch * width).T.astype(kind))
    senders = {structure["input"]: source.s_out}
    receivers = {}
    for i, population in enumerate(structure["populations"]):
        given = {key: arrays[f"population/{i}/{key}"] for key in STATE}
        get = {key: np.tile(a.astype(kind), batch) for key, a in (given if whole else fractions(given)).items()}
        get["u"], get["v"] = get.pop("u0"), get.pop("v0")
        neurons = LIF(shape=(batch * population["size"],), **get)
        senders[population["name"]], receivers[population["name"]] = neurons.s_out, neurons
    for i, projection in enumerate(structure["projections"]):
        parts = [arrays[f"projection/{i}/{part}"] for part in ("data", "indices", "indptr", "shape")]
        weights = sparse.csr_matrix((parts[0].astype(kind), *parts[1:3]), tuple(parts[3]))
        if not whole:
            weights, projection = weights * 2.0 ** (projection["exponent"] + 6), {**projection, "exponent": 0}
        synapses = connect(weights, projection, batch)
        senders[projection["source"]].connect(synapses.s_in)
        synapses.a_out.connect(receivers[projection["target"]].a_in)
    SpikeFile, SpikeFileModel, VoltageFile, VoltageFileModel = file_processes(kind)
    files, models = {}, {}
    for i, name in enumerate(record):
        files[f"spikes/{name}"] = (folder / f"spikes{i}.raw", np.uint8)
        sink = SpikeFile(shape=senders[name].shape, path=str(files[f"spikes/{name}"][0]))
        senders[name].connect(sink.a_in)
        models[sink] = SpikeFileModel
    for i, name in enumerate(voltages):
        files[f"voltages/{name}"] = (folder / f"voltages{i}.raw", kind)
        probe = VoltageFile(shape=receivers[name].v.shape, path=str(files[f"voltages/{name}"][0]))
        probe.state.connect_var(receivers[name].v)
        models[probe] = VoltageFileModel
    try:
        config = Loihi1SimCfg(select_tag="fixed_pt" if whole else "floating_pt", exception_proc_model_map=models)
        source.run(condition=RunSteps(num_steps=steps), run_cfg=config)
    finally:
        source.stop()
    return {key: np.fromfile(path, dtype).reshape(steps, batch, -1) for key, (path, dtype) in files.items()}


def fractions(given):
    """Registers as Lava's floating-point neuron counts: decays of 1 or less, no exponents, no shift of the threshold."""
    return {
        "du": (given["du"] + 1) / 4096, "dv": given["dv"] / 4096, "vth": given["vth"] * 64.0,
        "bias_mant": given["bias_mant"] * 2.0 ** given["bias_exp"], "bias_exp": 0 * given["bias_exp"],
        "u0": given["u0"], "v0": given["v0"],
    }  # fmt: skip


def file_processes(kind):
    """Lava processes that write spikes and voltages of this kind straight to a file, and their models.

    Lava's own sinks hand their buffers back one number at a time, which takes longer than the run.
    """
    from lava.magma.core.decorator import implements, requires, tag
    from lava.magma.core.model.py.model import PyLoihiProcessModel
    from lava.magma.core.model.py.ports import PyInPort, PyRefPort
    from lava.magma.core.model.py.type import LavaPyType
    from lava.magma.core.process.ports.ports import InPort, RefPort
    from lava.magma.core.process.process import AbstractProcess
    from lava.magma.core.resources import CPU
    from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

    class SpikeFile(AbstractProcess):
        def __init__(self, *, shape, path):
            super().__init__(shape=shape, path=path)
            self.a_in = InPort(shape=shape)

    @implements(proc=SpikeFile, protocol=LoihiProtocol)
    @requires(CPU)
    @tag("fixed_pt")
    class SpikeFileModel(PyLoihiProcessModel):
        a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, kind)

        def run_spk(self):
            append(self.proc_params["path"], self.a_in.recv().astype(np.uint8))

    class VoltageFile(AbstractProcess):
        def __init__(self, *, shape, path):
            super().__init__(shape=shape, path=path)
            self.state = RefPort(shape=shape)

    @implements(proc=VoltageFile, protocol=LoihiProtocol)
    @requires(CPU)
    @tag("fixed_pt")
    class VoltageFileModel(PyLoihiProcessModel):
        state: PyRefPort = LavaPyType(PyRefPort.VEC_DENSE, kind)

        def post_guard(self):
            return True

        def run_post_mgmt(self):
            append(self.proc_params["path"], self.state.read().astype(kind))

    return SpikeFile, SpikeFileModel, VoltageFile, VoltageFileModel


def append(path, array):
    """Add the bytes of an array to a file."""
    with Path(path).open("ab") as file:
        file.write(array.tobytes())


DENSE = 8
"""Synapses with at least one weight in so many are a dense process."""
STATE = ("du", "dv", "vth", "bias_mant", "bias_exp", "u0", "v0")


def connect(weights, projection, batch):
    """The synapses of every sample, block by block."""
    from lava.proc.dense.process import DelayDense, Dense
    from lava.proc.sparse.process import Sparse

    exponent, delay = projection["exponent"], projection["delay"]
    whole = sparse.kron(sparse.eye(batch, dtype=weights.dtype), weights, format="csr").astype(weights.dtype)
    if delay:
        return DelayDense(weights=whole.toarray(), delays=np.full(whole.shape, delay), weight_exp=exponent)
    if whole.nnz * DENSE >= np.prod(whole.shape):
        return Dense(weights=whole.toarray(), weight_exp=exponent)
    return Sparse(weights=whole, weight_exp=exponent, num_message_bits=1)


if __name__ == "__main__":
    sys.exit(main())
