"""CPU seconds of a fit of 250 iterations to 200 units and 1000 trials of 20 bins: `python experiments/twins/speed.py`."""

import numpy as np
import torch

from neurospin.twins import Counts, FeedForward, Recurrent, Twin, TwinData, fit, score

torch.set_num_threads(1)


def main(units=200, trials=1000, bins=20, features=20):
    draw = np.random.default_rng(0)
    stimuli = draw.standard_normal((trials // 2, features)).astype(np.float32)
    shown = np.repeat(np.arange(trials // 2), 2)
    rates = np.exp(-1 + stimuli @ draw.standard_normal((features, units)) * 0.15)
    counts = draw.poisson(rates[shown][:, None], (trials, bins, units)).astype(np.float64)
    data = TwinData({"stimulus": shown}, stimuli, Counts(counts, 0.05)).split("stimulus", test=0.2, val=0)
    print("| core | batch | CPU s | CC_norm on 100 unseen stimuli |\n|---|---|---|---|")
    for core in (FeedForward(64, "rate"), FeedForward(64, "lif"), Recurrent(64, "rate"), Recurrent(64, "lif")):
        for batch in (64, 256):
            found = fit(Twin(core), data, iterations=250, batch=batch)
            name = f"{type(core).__name__} {core.neuron}"
            print(
                f"| {name} | {batch} | {found.seconds:.1f} | {score(found, data).means()['cc_norm']:.3f} |", flush=True
            )


if __name__ == "__main__":
    main()
