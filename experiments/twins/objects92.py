"""A fixed image-computable core, in its rate and its spiking form, against the inferior temporal cortex of monkeys.

`python experiments/twins/objects92.py FOLDER`, where FOLDER holds the files of Kriegeskorte et al. 2008; nothing is
fitted. Prints the table of `objects92.md`.
"""

import sys
import time
from pathlib import Path

import numpy as np
import torch
from scipy.io import loadmat

import neurospin as ns
from neurospin.twins import geometry

torch.set_num_threads(1)


def images(folder):
    """Grey images `(92, 1, 175, 175)` less their background, and dissimilarities of monkey and human cortex."""
    file = loadmat(folder / "Kriegeskorte_Neuron2008_supplementalData.mat", simplify_cells=True)
    monkey, human = (m["RDM"] for m in file["RDMs_mIT_hIT_fig1"])
    colours = np.stack([s["image"] for s in file["stimuli_92objs"]]).astype(np.float32)
    grey = torch.as_tensor(colours.mean(-1) / 255)[:, None]
    brains = loadmat(folder / "92_brainRDMs.mat")["RDMs"]
    people = np.stack([brains[0, i, 0]["RDM"][np.triu_indices(92, 1)] for i in range(4)])
    return grey - grey[:, :, :1, :1], monkey, human, people


def core(neuron, gain, wavelength=4.0):
    """Gabor filters of one wavelength and one layer of neurons; returns what it gives for images, pooled over 8 × 8."""
    filters = ns.twins.gabors(wavelength)
    made = ns.twins.Convolution(len(filters), filters.shape[-1], stride=2, neuron=neuron, tau_mem=10e-3)
    network = made.build((1, 175, 175), 1e-3, seed=0)
    ns.twins.set_filters(network, gain * filters)
    (_, synapse), (_, neurons) = network.named_blocks()

    def features(shown, steps=10):
        with torch.no_grad():
            current = synapse(shown[None]).expand(steps, -1, -1, -1, -1).contiguous()
            rate = neurons(current)[0].mean(0)
        return torch.nn.functional.avg_pool2d(rate, 8).flatten(1).double().numpy(), float(rate.mean())

    return features, network


def main(folder):
    shown, monkey, human, people = images(folder)
    low, high = geometry.noise_ceiling(people, "spearman")
    print("| core | spikes per neuron and step | monkey IT [95 %] | human IT | participation ratio | CPU s |")
    print("|---|---|---|---|---|---|")
    found = {}
    for neuron, gain in (
        ("rate", 1.0),
        ("rate", 4000.0),
        ("lif", 250.0),
        ("lif", 1000.0),
        ("lif", 4000.0),
        ("lif", 16000.0),
    ):
        began = time.process_time()
        values, rate = core(neuron, gain)[0](shown)
        own = geometry.rdm(values)
        told = geometry.rsa(own, monkey[None], "spearman", resamples=200)
        found[neuron, gain] = own
        spikes = f"{rate:.3f}" if neuron == "lif" else "–"
        print(
            f"| {neuron}, gain {gain:g} | {spikes} | {told.mean:.3f} [{told.low:.3f}, {told.high:.3f}] "
            f"| {geometry.compare_rdms(own, human):.3f} | {geometry.participation_ratio(values):.1f} "
            f"| {time.process_time() - began:.1f} |"
        )
    pixels = geometry.rdm(torch.nn.functional.avg_pool2d(shown, 7).flatten(1).double().numpy())
    print(
        f"| pixels | – | {geometry.compare_rdms(pixels, monkey):.3f} | {geometry.compare_rdms(pixels, human):.3f} | | |"
    )
    print()
    print(f"Human IT against monkey IT: {geometry.compare_rdms(human, monkey):.3f}.")
    print(f"Ceiling of human IT, four subjects: {low:.3f} to {high:.3f}.")
    draw, difference = np.random.default_rng(0), []
    square = [np.zeros((92, 92)) for _ in range(3)]
    upper = np.triu_indices(92, 1)
    for matrix, values in zip(square, (found["rate", 1.0], found["lif", 4000.0], monkey), strict=True):
        matrix[upper] = values
        matrix += matrix.T
    for _ in range(1000):
        order = draw.integers(0, 92, 92)
        i, j = order[upper[0]], order[upper[1]]
        i, j = i[i != j], j[i != j]
        rate, lif = (geometry.compare_rdms(square[k][i, j], square[2][i, j]) for k in (0, 1))
        difference.append(lif - rate)
    low, high = np.quantile(difference, [0.025, 0.975])
    print(
        f"LIF (gain 4000) less rate, the same images drawn for both: {np.mean(difference):+.3f} [{low:+.3f}, {high:+.3f}]."
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
