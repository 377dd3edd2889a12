"""Experiments in a twin: lesions and currents do what they do to the equations, and searches keep the best."""

import numpy as np
import pytest
import torch

import neurospin as ns
from neurospin.errors import InputError, UnknownName
from neurospin.twins import (
    FeedForward,
    Recurrent,
    Track,
    Twin,
    fit,
    geometry,
    lesioned,
    most_exciting_input,
    respond,
    search,
    stimulated,
    tuning,
)
from tests.test_twins_fit import planted


@pytest.fixture(scope="module")
def fitted():
    data, _ = planted(stimuli=12, bins=3)
    return data, {n: fit(Twin(FeedForward(16, n)), data, iterations=40, lr=0.03) for n in ("rate", "lif")}


def test_any_stimulus_is_answered_and_tuning_curves_average_equal_values(fitted):
    data, fits = fitted
    told = respond(fits["lif"], data.stimuli)
    shown = data.trials["stimulus"]
    np.testing.assert_allclose(told[shown], fits["lif"].predict(data), rtol=1e-6)
    values = np.arange(12) % 3
    kinds, curves = tuning(fits["lif"], data.stimuli, values)
    assert kinds.tolist() == [0, 1, 2]
    np.testing.assert_allclose(curves[1], told[values == 1].mean((0, 1)))
    with pytest.raises(InputError, match="one per stimulus"):
        tuning(fits["lif"], data.stimuli, [1.0])


@pytest.mark.parametrize("neuron", ["rate", "lif"])
def test_the_input_that_excites_a_fitted_unit_most_is_its_planted_filter(neuron):
    data, rates = planted(stimuli=100, repeats=8, bins=2)
    filters = np.linalg.lstsq(data.stimuli, np.log(rates[:, 0]) - 1, rcond=None)[0]
    found = fit(Twin(FeedForward(32, neuron)), data, iterations=150)
    for unit in range(3):
        best = most_exciting_input(lambda x: found.model(x).mean(0), (5,), unit, norm=2.0, steps=50).numpy()
        assert best @ filters[:, unit] / np.linalg.norm(best) / np.linalg.norm(filters[:, unit]) > 0.8
        drawn = np.random.default_rng(0).standard_normal((200, 5))
        drawn *= 2 / np.linalg.norm(drawn, axis=1, keepdims=True)
        assert respond(found, best[None]).mean(1)[0, unit] > np.quantile(respond(found, drawn).mean(1)[:, unit], 0.95)


@pytest.mark.parametrize("neuron", ["rate", "lif"])
def test_a_lesion_is_the_readout_without_the_neuron(fitted, neuron):
    data, fits = fitted
    found, cut = fits[neuron], [2, 5, 11]
    before = found.predict(data)
    copy = lesioned(found, cut)
    shown = torch.as_tensor(data.stimuli)
    assert float(copy.model.spikes(shown)[..., cut].detach().abs().sum()) == 0
    kept = found.model.readout.weight.detach().clone()
    with torch.no_grad():
        found.model.readout.weight[:, cut] = 0
        without = found.predict(data)
        found.model.readout.weight.copy_(kept)
    np.testing.assert_allclose(copy.predict(data), without, rtol=1e-6)
    np.testing.assert_array_equal(found.predict(data), before)
    assert not np.array_equal(without, before)


@pytest.mark.parametrize("neuron", ["rate", "lif"])
def test_a_current_is_a_larger_bias(fitted, neuron):
    data, fits = fitted
    found, shown = fits[neuron], torch.as_tensor(data.stimuli)
    copy = stimulated(found, [0, 3], 0.7)
    synapse = found.model.core.named_blocks()[0][1]
    kept = synapse.bias.detach().clone()
    with torch.no_grad():
        synapse.bias[[0, 3]] += 0.7
        expected = found.model.spikes(shown)
        synapse.bias.copy_(kept)
        torch.testing.assert_close(copy.model.spikes(shown), expected, rtol=1e-4, atol=1e-5)
        assert float(expected[..., [0, 3]].sum()) > float(found.model.spikes(shown)[..., [0, 3]].sum())


def test_a_changed_twin_exports_as_it_is(fitted):
    data, _ = fitted
    found = fit(Twin(Recurrent((8, 8))), data, iterations=3)
    copy = stimulated(lesioned(found, [1]), [0], 2.0, block="neurons1")
    given = copy.model.inputs(torch.as_tensor(data.stimuli))
    ran = ns.simulate(ns.to_graph(copy.model.core), given.numpy())
    np.testing.assert_array_equal(ran.output, copy.model.core(given).output.detach().numpy())
    with pytest.raises(UnknownName, match="neurons1"):
        lesioned(found, [1], block="neuron1")
    with pytest.raises(InputError, match="whole numbers from 0 below 8"):
        lesioned(found, [8])


def test_geometry_is_followed_over_learning():
    data, _ = planted(stimuli=12, bins=3)
    track = Track(data.stimuli, {"dimension": geometry.participation_ratio})
    found = fit(
        Twin(FeedForward(16, "rate")),
        data.select(data.trials["tier"] != "val"),
        iterations=25,
        every=10,
        observer=track,
    )
    assert track.iterations == [0, 10, 20, 25]
    last = found.model.spikes(torch.as_tensor(data.stimuli)).mean(0).detach().double().numpy()
    assert track.values["dimension"][-1] == pytest.approx(geometry.participation_ratio(last))
    assert track.values["dimension"][0] != track.values["dimension"][-1]


def test_every_measure_is_followed_over_learning():
    data, _ = planted(stimuli=12, bins=3)
    draw = np.random.default_rng(0)
    shown = np.repeat(data.stimuli[:6], 4, axis=0) + 0.1 * draw.standard_normal((24, *data.stimuli.shape[1:]))
    conditions = np.repeat(np.arange(6), 4)[::-1]  # in any order
    every = geometry.measures(labels=np.array([1, 1, 1, -1, -1, -1]), reference=draw.standard_normal((6, 5)))
    track = Track(shown[::-1].copy(), every, conditions)
    found = fit(Twin(FeedForward(16, "rate")), data, iterations=4, every=4, observer=track)
    assert set(track.values) == set(geometry.MEASURES) and track.iterations == [0, 4]
    last = found.model.spikes(torch.as_tensor(shown, dtype=torch.float32)).mean(0).detach().double().numpy()
    expected = geometry.crossnobis(last.reshape(6, 4, -1)[:, ::-1].swapaxes(0, 1)).mean()
    assert track.values["crossnobis"][-1] == pytest.approx(expected)
    assert all(len(values) == 2 for values in track.values.values())
    track.look(5, np.ones((24, 3)))
    assert np.isnan(track.values["ccgp"][-1])
    with pytest.raises(InputError, match="equally often"):
        Track(shown, every, np.r_[1, conditions[1:]]).look(0, draw.standard_normal((24, 3)))


def test_a_search_keeps_the_best_and_is_the_same_for_the_same_seed():
    pytest.importorskip("optuna", reason="optuna is not installed")
    data, _ = planted(stimuli=12, bins=2)

    def make(trial):
        lr = trial.suggest_float("lr", 1e-3, 0.1, log=True)
        return Twin(FeedForward(8, "rate")), {"lr": lr, "iterations": 20}

    first, again = (search(make, data, budget=4, seed=2) for _ in range(2))
    assert first.losses == again.losses and len(first.losses) == 4
    assert first.loss == min(first.losses) == first.fit.validation[:, 1].min()
    assert first.fit.settings["lr"] == first.settings["lr"]
    with pytest.raises(InputError, match="validation trials"):
        search(make, data.select(data.trials["tier"] != "val"), budget=1)
