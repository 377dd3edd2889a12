"""A rate and a spiking twin of a population in the piriform cortex, under one protocol.

`python experiments/twins/piriform.py FILE [--seeds 5]`, where FILE is the `.npz` of spikes (`t_ms, unit, odor, trial,
info`) of one area of Iurilli & Datta 2017. Prints the table of `piriform.md`.
"""

import argparse
from dataclasses import replace

import numpy as np
import torch

import neurospin as ns
from neurospin.twins import Spikes, Twin, TwinData

torch.set_num_threads(1)
WINDOW, DT, ODOUR = (3.5, 6.5), 0.05, (4.0, 6.0)  # seconds in the trial
FOLDS = ((0, 3, 6), (1, 4, 7), (2, 5, 8))  # test trials of each odour; the other seven train
SEARCH = [{"gain": gain, "weight_decay": decay} for gain in (1.5, 2.5) for decay in (0.3, 1.0)]
ITERATIONS = 200


def recording(path):
    """Units above 0.5 spikes a second; stimuli are zeros and ones in time: the odour, the trial, two onsets."""
    held = np.load(path)
    time = held["t_ms"] / 1e3
    odours, repeats = int(held["odor"].max()) + 1, int(held["trial"].max()) + 1
    trial = held["odor"].astype(int) * repeats + held["trial"]
    seconds = WINDOW[1] - WINDOW[0]
    inside = (time >= WINDOW[0]) & (time < WINDOW[1])
    number = np.bincount(held["unit"][inside], minlength=len(held["info"]))
    kept = number / (odours * repeats * seconds) > 0.5
    inside &= kept[held["unit"]]
    row = np.cumsum(kept) - 1
    spikes = Spikes(time[inside] - WINDOW[0], row[held["unit"][inside]], trial[inside], seconds)
    middle = WINDOW[0] + (np.arange(round(seconds / DT)) + 0.5) * DT
    stimuli = np.zeros((odours, len(middle), odours + 3), np.float32)
    for odour in range(odours):
        stimuli[odour, (middle > ODOUR[0]) & (middle < ODOUR[1]), odour] = 1
    stimuli[:, :, odours] = 1
    stimuli[:, (middle > 3.8) & (middle < 4.0), odours + 1] = 1  # the valve
    stimuli[:, (middle > 4.0) & (middle < 4.2), odours + 2] = 1
    table = {"stimulus": np.repeat(np.arange(odours), repeats), "repeat": np.tile(np.arange(repeats), odours)}
    return TwinData(table, stimuli, spikes, {"recording": held["info"][kept, 0]})


def tiers(data, test, val=()):
    repeat = data.trials["repeat"]
    tier = np.where(np.isin(repeat, test), "test", np.where(np.isin(repeat, val), "val", "train"))
    return replace(data, trials={**data.trials, "tier": tier})


def made(neuron, gain):
    return Twin(ns.twins.Recurrent(64, neuron, gain=gain), dt=DT)


def fitted(neuron, data, settings, seed):
    rest = {name: value for name, value in settings.items() if name != "gain"}
    return ns.twins.fit(made(neuron, settings["gain"]), data, seed=seed, iterations=ITERATIONS, **rest)


def search(neuron, data):
    """The settings with the best likelihood of one training trial of each odour, held out of the first fold."""
    held = tiers(data, FOLDS[0], [9])
    losses = [fitted(neuron, held, settings, seed=0).validation[-1, 1] for settings in SEARCH]
    return SEARCH[int(np.argmin(losses))]


def pooled(differences, resamples=2000):
    """95 % interval of the mean over units, of values in one or more folds, by a bootstrap over units."""
    sums, counts = np.nansum(differences, axis=0), np.isfinite(differences).sum(0)
    sums, counts = sums[counts > 0], counts[counts > 0]
    draws = np.random.default_rng(0).integers(0, len(sums), (resamples, len(sums)))
    low, high = np.quantile(sums[draws].sum(1) / counts[draws].sum(1), [0.025, 0.975])
    return sums.sum() / counts.sum(), low, high


def memory(path, bin=50, lags=(0, 1, 2, 5, 10, 20)):
    """How far back each core looks: norm of the gradient of what it gives in one bin by its input some bins before."""
    split = tiers(recording(path), FOLDS[0])
    settings = {"gain": 1.5, "weight_decay": 1.0}
    print(f"| bins before | {' | '.join(map(str, lags))} |\n{'|---' * (1 + len(lags))}|")
    for neuron in ("rate", "lif"):
        model = fitted(neuron, split, settings, seed=0).model
        given = model.inputs(torch.as_tensor(split.stimuli)).requires_grad_()
        (gradient,) = torch.autograd.grad(model.core(given).output[bin].sum(), given)
        norms = [float(gradient[bin - lag].norm()) for lag in lags]
        print(f"| {neuron} | " + " | ".join(f"{norm / norms[0]:.2g}" for norm in norms) + " |")


def main(path, seeds):
    data = recording(path)
    settings = {neuron: search(neuron, data) for neuron in ("rate", "lif")}
    print(f"{len(data.units['recording'])} units. Settings found: {settings}\n")
    apart, rows = {"cc_norm": [], "bits_per_spike": []}, []
    for fold in FOLDS:
        split = tiers(data, fold)
        fits = {n: [fitted(n, split, settings[n], seed) for seed in range(seeds)] for n in settings}
        told = ns.twins.compare(fits["rate"], fits["lif"], split, dt=0.1, targets=("reference", "loihi", "crossbar"))
        seconds = {n: np.mean([f.seconds for f in fits[n]]) for n in fits}
        print(
            f"Test trials {fold}; CPU seconds of a fit: rate {seconds['rate']:.1f}, LIF {seconds['lif']:.1f}\n\n{told}\n"
        )
        rows.append({name: (d.first, d.second) for name, d in told.measures.items()})
        scores = {n: [ns.twins.score(f, split, dt=0.1) for f in fits[n]] for n in fits}
        ok = scores["rate"][0].reliable()
        for name in apart:
            values = {n: np.mean([getattr(s, name) for s in scores[n]], axis=0) for n in fits}
            apart[name].append(np.where(ok | (name != "cc_norm"), values["lif"] - values["rate"], np.nan))
    print("| mean of the folds | rate | lif |\n|---|---|---|")
    for name in rows[0]:
        first, second = np.mean([row[name] for row in rows], axis=0)
        print(f"| {name.replace('_', ' ')} | {first:.4f} | {second:.4f} |")
    mean, low, high = pooled(np.stack(apart["cc_norm"]))
    print(f"\nCC_norm, LIF less rate, over units: {mean:+.4f} [{low:+.4f}, {high:+.4f}]")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--memory", action="store_true", help="how far back each core looks")
    arguments = parser.parse_args()
    memory(arguments.file) if arguments.memory else main(arguments.file, arguments.seeds)
