"""Runs a compiled program on SANA-FE's Loihi; imports nothing of neurospin. SANA-FE is GPL: this file runs alone.

    python worker.py FOLDER

FOLDER holds `program.json` and `program.npz` (the integers that `hardware_targets.loihi.program.save` wrote), `input.npz`
(`spikes`, zeros and ones, `(time, batch, size)`) and `job.json`: `cores`, a list of `[population, first neuron, neurons]`, one
for each core in order; `voltages`, the populations whose voltage is wanted. It gets `output.npz`: `spikes/NAME` (uint8) of
every population, `voltages/NAME` (int32, after the reset) and, one for each sample, `energy/PART` (joules),
`seconds`, `synaptic`, `neuron_updates` and `packets`. FOLDER/report.json says at the end `{"ok": true, "sanafe": VERSION}` or
`{"ok": false, "error": "one line"}`.

SANA-FE counts voltages in units of 64 of the chip's, and its steps are those of the program.
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np

INPUTS = 1024
"""Input units of one core of SANA-FE's Loihi."""


def main(folder):
    """Run every sample; the exit status is 1 when one failed."""
    try:
        run(folder)
        report = {"ok": True, "sanafe": version("sanafe")}
    except BaseException as error:
        text = " ".join(str(error).split()) or "no message"
        report = {"ok": False, "error": f"{type(error).__name__}: {text}"}
    (folder / "report.json").write_text(json.dumps(report))
    return 0 if report["ok"] else 1


def run(folder):
    """All samples, one after the other, each on a fresh chip."""
    import sanafe

    job, structure = (json.loads((folder / name).read_text()) for name in ("job.json", "program.json"))
    arrays, spikes = (load(folder / name) for name in ("program.npz", "input.npz"))
    architecture, results = sanafe.load_loihi(), []
    for sample in range(spikes["spikes"].shape[1]):
        network = build(sanafe, architecture, job, structure, arrays, spikes["spikes"][:, sample])
        chip = sanafe.SpikingChip(architecture)
        chip.load(network)
        steps = len(spikes["spikes"])
        results.append(chip.sim(steps, spike_trace=True, potential_trace=True, processing_threads=1))
    np.savez(folder / "output.npz", **gathered(results, job, structure))


def load(path):
    """The arrays of an npz file, by name."""
    with np.load(path, allow_pickle=False) as file:
        return {key: file[key] for key in file.files}


def build(sanafe, architecture, job, structure, arrays, spikes):
    """The network on its cores; inputs have cores of their own behind them."""
    network, cores = sanafe.Network(), architecture.cores()
    groups = {structure["input"]: network.create_neuron_group("input", structure["inputs"])}
    for i in range(structure["inputs"]):
        neuron = groups[structure["input"]].neurons[i]
        train = spikes[:, i].astype(bool).tolist()
        neuron.set_attributes(soma_hw_name=f"loihi_inputs[{i % INPUTS}]", model_attributes={"spikes": train})
        neuron.map_to_core(cores[len(job["cores"]) + i // INPUTS])
    places = {p["name"]: k for k, p in enumerate(structure["populations"])}
    for population in structure["populations"]:
        name, k = population["name"], places[population["name"]]
        group = groups[name] = network.create_neuron_group(
            f"population{k}", population["size"], log_spikes=True, log_potential=name in job["voltages"]
        )
        get = {
            key: arrays[f"population/{k}/{key}"].astype(float) for key in ("du", "dv", "vth", "bias_mant", "bias_exp")
        }
        for i in range(population["size"]):
            group.neurons[i].set_attributes(
                soma_hw_name="loihi_lif", default_synapse_hw_name="loihi_dense_synapse", log_spikes=True,
                log_potential=name in job["voltages"], dendrite_hw_name="loihi_dendrites",
                model_attributes={
                    "threshold": float(get["vth"][i]), "leak_decay": float((4096 - get["dv"][i]) / 4096),
                    "input_decay": float((4095 - get["du"][i]) / 4096), "reset": 0.0, "reset_mode": "hard",
                    "bias": float(get["bias_mant"][i] * 2 ** get["bias_exp"][i] / 64), "force_update": True,
                },
            )  # fmt: skip
    for number, (name, first, count) in enumerate(job["cores"]):
        for i in range(first, first + count):
            groups[name].neurons[i].map_to_core(cores[number])
    for k, projection in enumerate(structure["projections"]):
        data, targets, starts = (arrays[f"projection/{k}/{part}"] for part in ("data", "indices", "indptr"))
        rows = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
        weights = (data.astype(float) * 2.0 ** projection["exponent"]).tolist()
        pairs = list(zip(targets.tolist(), rows.tolist(), strict=True))
        groups[projection["source"]].connect_neurons_sparse(groups[projection["target"]], {"w": weights}, pairs)
    return network


def gathered(results, job, structure):
    """Traces and sums as arrays, samples on the second axis."""
    found = {}
    steps, sizes = results[0]["timesteps_executed"], {p["name"]: p["size"] for p in structure["populations"]}
    numbers = {f"population{k}": name for k, name in enumerate(sizes)}
    for name, size in sizes.items():
        found[f"spikes/{name}"] = np.zeros((steps, len(results), size), np.uint8)
    for sample, result in enumerate(results):
        for t, fired in enumerate(result["spike_trace"]):
            for address in fired:
                if address.group_name in numbers:
                    found[f"spikes/{numbers[address.group_name]}"][t, sample, address.neuron_offset] = 1
    column = 0
    for name in (name for name in sizes if name in job["voltages"]):
        volts = [np.asarray(result["potential_trace"])[:, column : column + sizes[name]] for result in results]
        found[f"voltages/{name}"] = np.rint(64 * np.stack(volts, 1)).astype(np.int32)
        column += sizes[name]
    for part in results[0]["energy"]:
        found[f"energy/{part}"] = np.array([result["energy"][part] for result in results])
    for key, theirs in (("seconds", "sim_time"), ("synaptic", "spikes"), ("neuron_updates", "neurons_updated"),
                        ("packets", "packets_sent")):  # fmt: skip
        found[key] = np.array([result[theirs] for result in results], float)
    return found


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
