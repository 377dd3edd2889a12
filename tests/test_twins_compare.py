"""Two twins are compared only under the same conditions, and a core on a target is scored by what it did there."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from neurospin.errors import GraphError, InputError
from neurospin.twins import FeedForward, Recurrent, Twin, compare, fit, fit_alike, run_on, score
from tests.test_twins_fit import planted

LIF = Twin(Recurrent(16, "lif"))
RATE = Twin(Recurrent(16, "rate"))


@pytest.fixture(scope="module")
def fits():
    data, _ = planted(stimuli=10, bins=3)
    data = replace(data, stimuli=(data.stimuli > 0).astype(np.float32))  # spikes, which every target takes
    return data, *[[fit(twin, data, seed=s, iterations=60) for s in (0, 1)] for twin in (RATE, LIF)]


def test_a_comparison_says_what_the_scores_say(fits):
    data, rate, lif = fits
    told = compare(rate, lif, data, targets=("reference",), resamples=400)
    assert told.names == ("rate", "lif") and told.seeds == 2
    assert told.parameters[0] == told.parameters[1] == lif[0].model.parameter_count()
    ok = score(rate[0], data).reliable()
    own = [np.mean([score(f, data).cc_norm[ok] for f in twins], axis=0) for twins in (rate, lif)]
    measure = told.measures["cc_norm"]
    assert (measure.first, measure.second) == pytest.approx((own[0].mean(), own[1].mean()))
    means = (own[1] - own[0])[np.random.default_rng(1).integers(0, len(own[0]), (4000, len(own[0])))].mean(1)
    assert (measure.low, measure.high) == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=0.03)
    bits = [score(f, data) for f in rate]
    pooled = np.mean([np.average(s.bits_per_spike, weights=s.spikes) for s in bits])
    assert told.measures["bits_per_spike"].first == pytest.approx(pooled)
    before, after = told.targets["reference"]
    assert "rate" in before and after["cc_norm_change"] == 0 and after["differing"] == 0
    assert "| parameters |" in str(told) and "after export: reference" in str(told)


def test_a_twin_compared_with_itself_does_not_differ(fits):
    data, _, lif = fits
    told = compare(lif, lif, data, resamples=50)
    assert all((d.difference, d.low, d.high) == (0, 0, 0) for d in told.measures.values())
    assert all(row["first"] == row["second"] for group in (told.statistics, told.geometry) for row in group.values())


def test_operations_are_those_that_a_person_counts(fits):
    data, rate, lif = fits
    works = compare(rate, lif, data, resamples=10).operations
    stimuli, steps = 10, 3
    assert works[0]["macs"] == stimuli * steps * 16 * 16 and works[0]["input_macs"] == stimuli * steps * 5 * 16
    model = lif[0].model
    shown = torch.as_tensor(data.stimuli)
    spikes = model.spikes(shown).detach()
    fed = float(model.inputs(shown).sum()) * 16 + float(spikes.sum()) * 16
    assert works[1]["synaptic"] == fed and works[1]["spikes"] == float(spikes.sum())


def test_loihi_changes_the_spikes_and_the_scores_say_by_how_much(fits):
    data, _, lif = fits
    ran = run_on(lif[0], data, "loihi")
    held = data.tier("test")
    assert ran.predictions.shape == (len(held), 3, 6) and 0 <= ran.differing < 1
    assert ran.report.info["approximations"]
    exact = run_on(lif[0], data, "reference")
    np.testing.assert_allclose(exact.predictions, lif[0].predict(held), rtol=1e-6)
    assert exact.differing == 0


def test_what_is_unfair_or_cannot_be_exported_is_refused(fits):
    data, rate, lif = fits
    with pytest.raises(InputError, match="the same seeds"):
        compare(rate, lif[:1], data)
    with pytest.raises(InputError, match=r"compare\.iterations"):
        compare(fit(RATE, data, seed=0, iterations=2), lif[0], data)
    with pytest.raises(InputError, match="parameters within 1 %"):
        compare(fit(Twin(Recurrent(15, "rate")), data, seed=0, iterations=60), lif[0], data)
    with pytest.raises(InputError, match=r"compare\.steps"):
        compare(fit(replace(RATE, steps=2), data, seed=0, iterations=60), lif[0], data)
    with pytest.raises(GraphError, match="ALIF"):
        run_on(fit(Twin(FeedForward(4, "alif")), data, iterations=1), data, "loihi")
    with pytest.raises(InputError, match="a spiking core"):
        run_on(rate[0], data, "loihi")
    analog = replace(data, stimuli=data.stimuli * 0.7)
    with pytest.raises(InputError, match="zeros and ones"):
        run_on(fit(LIF, analog, iterations=1), analog, "loihi")


def test_forms_are_searched_and_fitted_alike():
    pytest.importorskip("optuna", reason="optuna is not installed")
    data, _ = planted(stimuli=10, bins=3)

    def make(form, trial):
        decay = trial.suggest_float("weight_decay", 1e-3, 1.0, log=True)
        return Twin(FeedForward(8, form)), {"iterations": 20, "weight_decay": decay, "lr": 0.03}

    found = fit_alike(make, data, budget=3, seeds=(4, 5))
    assert list(found) == ["rate", "lif"] and [f.seed for f in found["lif"]] == [4, 5]
    both = replace(data, trials={**data.trials, "tier": np.where(data.trials["tier"] == "test", "test", "train")})
    for form, fits in found.items():
        decay = fits[0].settings["weight_decay"]
        again = fit(Twin(FeedForward(8, form)), both, seed=4, iterations=20, weight_decay=decay, lr=0.03)
        np.testing.assert_array_equal(again.predict(data), fits[0].predict(data))
        assert fits[0].settings["budget"] == 3 and len(fits[0].validation) == 0
    assert compare(found["rate"], found["lif"], data, resamples=20).seeds == 2
    with pytest.raises(InputError, match=r"compare\.budget"):
        compare(found["rate"], [replace(f, settings={**f.settings, "budget": 9}) for f in found["lif"]], data)
    with pytest.raises(InputError, match="validation trials"):
        fit_alike(make, replace(data, trials={n: c for n, c in data.trials.items() if n != "tier"}))
