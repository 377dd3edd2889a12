"""What a run says of one learner: every number by name, those of other tools under theirs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neurospin.continual import Perceptron, Stream, metrics
from neurospin.continual.learner import Learner
from neurospin.continual.tally import Tally
from neurospin.energy import operations
from neurospin.network import Network
from neurospin.plasticity import Rule
from neurospin.runs.config import Experiment
from neurospin.runs.train import Trained, build_code, seed_of
from neurospin.synapses import Dense

COUNTED = 32  # test samples on which operations are counted


def summaries(experiment: Experiment, learned: Mapping[str, Trained], stream: Stream) -> dict[str, dict[str, Any]]:
    """The entries of all learners; a learner with the rule `joint` is the reference of intransigence for its kind of neuron."""
    found = {name: _summary(experiment, name, trained, stream) for name, trained in learned.items()}
    for name, trained in learned.items():
        kind = experiment.learners[name].neuron
        joint = [n for n, other in experiment.learners.items() if other.rule == "joint" and other.neuron == kind]
        reference = np.diag(learned[joint[0]].result.accuracy_matrix) if joint else None
        found[name]["intransigence"] = (
            None if reference is None else metrics.intransigence(trained.result.accuracy_matrix, reference)
        )
    return found


def _summary(experiment: Experiment, name: str, trained: Trained, stream: Stream) -> dict[str, Any]:
    """The entry of one learner; None where something does not apply or was not measured."""
    matrix, tally, network = trained.result.accuracy_matrix, trained.result.tally, trained.network
    few = max(1, min(5, len(matrix) // 2))
    whole = bool(np.isfinite(matrix).all())
    untrained = np.array(tally.untrained)
    return {
        "title": experiment.learners[name].title,
        "accuracy_matrix": [[None if np.isnan(value) else float(value) for value in row] for row in matrix],
        "average_accuracy": trained.result.average_accuracy,
        "backward_transfer": trained.result.backward_transfer,
        "forward_transfer": metrics.forward_transfer(matrix, untrained) if whole and len(untrained) else None,
        "forgetting": trained.result.forgetting,
        "learning_accuracy": trained.result.learning_accuracy,
        "plasticity_loss": metrics.plasticity_loss(matrix, few),
        "window_accuracy": metrics.window_accuracy(matrix, min(5, len(matrix))),
        "anytime_accuracy": metrics.anytime_accuracy(matrix) if whole else None,
        "stability_gap": tally.stability_gap,
        "regret": float(np.mean(np.array(stream.optimum) - np.diag(matrix))) if stream.optimum else None,
        **trained.believed,
        "bits_per_synapse": trained.result.bits_per_synapse,
        **_wear(trained.rule, tally),
        "parameters": network.parameter_count(),
        "private_parameters_per_task": network.private_parameters if isinstance(network, Perceptron) else 0,
        "seconds": trained.seconds,
        "neurobench": _neurobench(experiment, network, stream, trained.result.average_accuracy),
    }


def _wear(rule: Rule, tally: Tally) -> dict[str, Any]:
    """Sign changes and programming events: of a synapse on average, and of the one that had most."""
    written = [writes for p in rule.parameters() if (writes := rule.writes(p)) is not None]
    synapses, samples = sum(w.numel() for w in written), max(1, tally.samples)
    events = sum(float(w.sum()) for w in written)
    return {
        "flips_per_synapse": tally.flips_per_synapse,
        "most_flips": tally.most_flips,
        "pulses_per_synapse_and_sample": events / synapses / samples if written else None,
        "most_writes": int(max(float(w.max()) for w in written)) if written else None,
    }


@torch.no_grad()
def _neurobench(experiment: Experiment, network: Learner, stream: Stream, accuracy: float) -> dict[str, Any]:
    """Under the names of NeuroBench (Yik et al., Nature Communications 16:1545, 2025, doi:10.1038/s41467-025-56739-4).

    `Footprint` in bytes of the parameters; `SynapticOperations` and `MembraneUpdates` per sample, of spiking networks.
    """
    weights = torch.cat([value.flatten() for value in _acting(network)])
    found: dict[str, Any] = {
        "ClassificationAccuracy": None if stream.real else accuracy,
        "ParameterCount": network.parameter_count(),
        "Footprint": 4 * network.parameter_count(),
        "ConnectionSparsity": float((weights == 0).double().mean()),
    }
    if not isinstance(network, Network) or not any(block.spiking for block in network.neurons().values()):
        return found
    x = stream.tasks[-1].test_x[:COUNTED]
    shown = build_code(experiment)(x, torch.Generator().manual_seed(seed_of(experiment, "target")))
    spikes = network(shown, record=("spikes",)).spikes
    spiking = [spikes[name] for name, block in network.neurons().items() if block.spiking]
    counts = operations(network, shown)
    fired = sum(float(s.sum()) for s in spiking) / sum(s.numel() for s in spiking)
    return {
        **found,
        "ActivationSparsity": 1 - fired,
        "SynapticOperations": {
            "Effective_MACs": (counts["macs"] + counts["input_macs"]) / len(x),
            "Effective_ACs": counts["synaptic"] / len(x),
        },
        "MembraneUpdates": counts["neuron_updates"] / len(x),
    }


def _acting(network: Learner) -> list[Tensor]:
    """The weights with which a learner computes."""
    if isinstance(network, Perceptron):
        return [kind.value(stored) for kind, stored in zip(network.kinds, network.stored, strict=True)]
    dense = [block for _, block in network.named_blocks() if isinstance(block, Dense)]
    return [block.kind.value(block.stored) for block in dense]
