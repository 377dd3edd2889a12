"""From an experiment to a run folder: train, export, deploy on every target, report.

A run folder holds all that a run is: `config.yaml`, `metrics.jsonl`, `checkpoints/`,
`network.safetensors`, `network.nir`, `certificates/`, `figures/`, `results.json`, `report.html`.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from neurospin.certificate import Certificate, certify
from neurospin.continual import Stream
from neurospin.continual.mixing import CITATIONS as MIXED
from neurospin.continual.share import Share
from neurospin.continual.streams import CITATIONS
from neurospin.data import SOURCES
from neurospin.errors import ConfigError, NeurospinError, unknown_name
from neurospin.files import replacing, write_text
from neurospin.graph.build import to_graph
from neurospin.graph.contract import neurons
from neurospin.graph.file import read, write
from neurospin.network import Network
from neurospin.plasticity import RULES, LevelLimited, Metaplastic
from neurospin.report.results import read_run
from neurospin.runs import checkpoint
from neurospin.runs.config import Experiment
from neurospin.runs.config import load as load_config
from neurospin.runs.folder import Folder
from neurospin.runs.lock import make_run_folder, only_one, sweep_out
from neurospin.runs.summary import summaries
from neurospin.runs.together import tell, together
from neurospin.runs.train import Observer, Silent, build_code, build_stream, seed_of, train
from neurospin.target import deploy, targets

PACKAGES = ("neurospin", "torch", "numpy", "scipy", "nir", "h5py", "safetensors", "scikit-learn")
NIR = "Pedersen et al., Nature Communications 15:8122, 2024, doi:10.1038/s41467-024-52259-9"
SURROGATE = "Neftci, Mostafa & Zenke, IEEE Signal Processing Magazine 36, 2019, doi:10.1109/MSP.2019.2931595"
SURROGATES = {
    "arctan": "Fang et al., ICCV 2021, doi:10.1109/ICCV48922.2021.00266",
    "fast_sigmoid": "Zenke & Ganguli, Neural Computation 30, 2018, doi:10.1162/neco_a_01086",
    "triangle": "Bellec et al., NeurIPS 2018, doi:10.48550/arXiv.1803.09574",
}
METRICS = "Lopez-Paz & Ranzato, NeurIPS 2017, arXiv:1706.08840"
TARGETS = {
    "loihi": "Davies et al., IEEE Micro 38, 2018, doi:10.1109/MM.2018.112130359",
    "lava": "Davies et al., IEEE Micro 38, 2018, doi:10.1109/MM.2018.112130359",
}


def prepare(experiment: Experiment, folder: Path) -> bool:
    """Give the run folder its configuration, or find that it belongs to this very experiment.

    Returns:
        Whether the run is already finished, but perhaps for its report.

    Raises:
        ConfigError: the folder holds another experiment.
    """
    sweep_out(folder)
    config = folder / "config.yaml"
    if not config.is_file():
        write_text(config, experiment.to_yaml())  # first of all: it makes the folder ours
    elif load_config(config) != experiment:
        raise ConfigError(
            str(folder), "a run of this experiment", "a run with another configuration", "choose another --output"
        )
    for name in ("figures", "certificates", "checkpoints"):
        (folder / name).mkdir(exist_ok=True)
    return (folder / "results.json").is_file()


def run(
    experiment: Experiment, folder: Path, observer: Observer, *, every: float = 60.0, report: bool = True
) -> dict[str, Any] | None:
    """Carry out an experiment, from where an earlier, unfinished run in the same folder left off.

    A run that was killed, at whatever moment, and gone on with gives bit for bit what it would have given (but
    for the seconds that it took), on one machine type and one version of torch.

    Under `torchrun` several processes train together, each on its part of every batch.

    Args:
        experiment: what to do.
        folder: the run folder; made when it is not there.
        observer: is told how it goes on.
        every: seconds of training that a kill may cost.
        report: whether figures and report are drawn.

    Returns:
        The content of `results.json`; None in all but the first of several processes.

    Raises:
        UnknownName: a target that no package registers; before anything is trained or written.
        ConfigError: a device that this machine lacks; likewise.
        Busy: another process is at work in the folder.
    """
    known = [target.name for target in targets()] if experiment.targets else []
    for name in experiment.targets:
        if name not in known:
            raise unknown_name("targets", name, known, "target")
    device = experiment.training.device
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "training.device", "a device of this machine", "cuda, and torch finds no GPU",
            "--set training.device=cpu, or a CUDA build of torch",
        )  # fmt: skip
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums do not depend on the number of cores, so that a seed fixes the result
    try:
        with together(device) as share:
            if share.rank:
                _help(experiment, folder, share)
                return None
            return _lead(experiment, folder, observer, every, report, share)
    finally:
        torch.set_num_threads(threads)


def _lead(
    experiment: Experiment, folder: Path, observer: Observer, every: float, report: bool, share: Share
) -> dict[str, Any]:
    """What the first process does: all that is written."""
    make_run_folder(folder)
    with only_one(folder):
        finished = prepare(experiment, folder)
        tell(share, finished)
        if finished:
            observer.say("already finished; nothing was run again")
            results = read_run(folder)
        else:
            results = _carry_out(experiment, folder, observer, every, share)
        if report and not (folder / "report.html").is_file():
            from neurospin.report.html import write_report  # figures and templates, which a sweep's cells do without

            observer.stage("drawing the report")
            write_report(folder)
    return results


def _help(experiment: Experiment, folder: Path, share: Share) -> None:
    """What the other processes do: their share of every batch."""
    if not tell(share):
        stream = build_stream(experiment)
        for name in experiment.learners:
            train(experiment, name, stream, folder, Silent(), share=share)


def _carry_out(experiment: Experiment, folder: Path, observer: Observer, every: float, share: Share) -> dict[str, Any]:
    stream = build_stream(experiment)
    learned = {name: train(experiment, name, stream, folder, observer, every, share) for name in experiment.learners}
    main = learned[experiment.main].network if experiment.main else None
    found, arrays = {}, _hidden(experiment, folder)
    if isinstance(main, Network):
        checkpoint.save(main, folder / "network.safetensors")
        write(folder / "network.nir", to_graph(main))
        spikes, labels = samples(experiment, stream)
        found = {
            name: _certificate(name, main, folder, spikes, labels, experiment, observer) for name in experiment.targets
        }
        arrays |= _activity(experiment, main, folder, spikes, found)
    with replacing(folder / "figures" / "arrays.npz") as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
    results = {
        "name": experiment.name,
        "seed": experiment.seed,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "citations": citations(experiment),
        "stream": {
            "kind": stream.kind,
            "dataset": stream.dataset,
            "scenario": stream.scenario,
            "tasks": [task.name for task in stream.tasks],
            "boundaries": stream.boundaries,
            "optimum": list(stream.optimum),
        },
        "learners": summaries(experiment, learned, stream),
        "main": experiment.main,
        "targets": found,
    }
    write_text(folder / "results.json", json.dumps(results, indent=2))
    return results


def samples(experiment: Experiment, stream: Stream) -> tuple[np.ndarray, np.ndarray]:
    """Spikes `(time, samples, pixels)` and labels on which targets are compared: test samples of all tasks in turn."""
    per_task = -(-experiment.samples // len(stream))
    x = torch.cat([task.test_x[:per_task] for task in stream.tasks])[: experiment.samples]
    y = torch.cat([task.test_y[:per_task] for task in stream.tasks])[: experiment.samples]
    return build_code(experiment)(x, torch.Generator().manual_seed(seed_of(experiment, "target"))).numpy(), y.numpy()


def _certificate(
    name: str,
    network: Network,
    folder: Path,
    spikes: np.ndarray,
    labels: np.ndarray,
    experiment: Experiment,
    observer: Observer,
) -> dict[str, Any]:
    """Whether a target is there, and the certificate of the network through the disk."""
    status = {target.name: target for target in targets()}
    if name in status and not status[name].available:
        observer.say(f"{name}: not here ({status[name].reason})")
        return {"available": False, "reason": status[name].reason, "certificate": None}
    observer.stage(f"running on {name}")
    try:
        certificate: Certificate = certify(
            network, spikes, name, labels=labels, seed=seed_of(experiment, "target"), graph=read(folder / "network.nir")
        )
    except NeurospinError as error:
        observer.say(f"{name}: {error}")
        return {"available": False, "reason": str(error), "certificate": None}
    content = certificate.to_dict()
    write_text(folder / "certificates" / f"{name}.json", json.dumps(content, indent=2))
    return {"available": True, "reason": "", "certificate": content}


def _hidden(experiment: Experiment, folder: Path) -> dict[str, np.ndarray]:
    """Hidden values of every learner after every task, where there are any."""
    arrays: dict[str, np.ndarray] = {}
    for learner in experiment.learners:
        place = Folder(folder, learner)
        for task in range(experiment.stream.tasks):
            if place.hidden(task).is_file():
                with np.load(place.hidden(task), allow_pickle=False) as hidden:
                    arrays.update({f"hidden/{learner}/{name}/{task + 1}": hidden[name] for name in hidden.files})
    return arrays


@torch.no_grad()
def _activity(
    experiment: Experiment, network: Network, folder: Path, spikes: np.ndarray, found: Mapping[str, Mapping[str, Any]]
) -> dict[str, np.ndarray]:
    """One sample on the network and on every target."""
    one = np.ascontiguousarray(spikes[:, :1])
    run_ = network(torch.from_numpy(one), record=("spikes", "voltages"))
    arrays: dict[str, np.ndarray] = {"raster/input": one[:, 0], "output": run_.output[:, 0].numpy()}
    graph = read(folder / "network.nir")
    spiking = neurons(graph, spiking=True)
    for name in spiking:
        arrays[f"raster/{name}"] = run_.spikes[name][:, 0].numpy()
        arrays[f"trace/{name}"] = run_.voltages[name][:, 0].numpy()
    for name, target in found.items():
        if not target["available"] or target["certificate"]["problems"]:
            continue
        latency = {node: agreement["latency_steps"] for node, agreement in target["certificate"]["nodes"].items()}
        padded = np.concatenate([one, np.zeros((max(latency.values(), default=0), *one.shape[1:]), np.float32)])
        report = deploy(graph, padded, name, seed=seed_of(experiment, "target"), record=spiking)
        for node in spiking:
            arrays[f"raster/{name}/{node}"] = report.records[node][latency[node] :][: len(one), 0]
    return arrays


def citations(experiment: Experiment) -> list[str]:
    """The sources of exactly what an experiment uses."""
    stream = experiment.stream
    names = [] if stream.kind == "linear" else stream.datasets or [stream.dataset]
    used = [*(SOURCES[name] for name in names), CITATIONS[stream.kind], METRICS]
    used += [MIXED[stream.ends]] if stream.ends in MIXED else []
    used += [SOURCES[stream.unknown]] if stream.unknown else []
    used += [RULES[learner.rule].citation for learner in experiment.learners.values() if learner.rule != "metaplastic"]
    used += [LevelLimited.citation for learner in experiment.learners.values() if learner.levels]
    if any(learner.m for learner in experiment.learners.values()) or experiment.network.weight == "binary":
        used.append(Metaplastic.citation)
    if any(learner.neuron == "lif" for learner in experiment.learners.values()):
        used += [SURROGATE, SURROGATES[experiment.network.surrogate]]
    used += [NIR] if experiment.main else []
    used += [TARGETS[name] for name in experiment.targets if name in TARGETS]
    return list(dict.fromkeys(used))
