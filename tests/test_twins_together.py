"""Twins on disk, twins that share a core across instruments and behaviour, and what they say of what they never met."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from neurospin.errors import InputError, MissingFile
from neurospin.twins import (
    Convolution,
    Core,
    Counts,
    FeedForward,
    Fit,
    Recurrent,
    Signal,
    Twin,
    TwinData,
    fit,
    fit_together,
    generalisation,
    score,
    stimulated,
)
from tests.test_twins_fit import planted


def same(first, second, data):
    np.testing.assert_array_equal(first.predict(data), second.predict(data))
    np.testing.assert_array_equal(first.sample(data, seed=3), second.sample(data, seed=3))
    assert first.twin == second.twin and first.settings == second.settings
    assert (first.seed, first.iteration, first.seconds) == (second.seed, second.iteration, second.seconds)
    np.testing.assert_array_equal(first.losses, second.losses)
    np.testing.assert_array_equal(first.validation, second.validation)


def test_a_fit_comes_back_from_disk_as_it_was(tmp_path):
    data, _ = planted(stimuli=10, repeats=8, bins=3)
    for twin in (Twin(Recurrent((6, 5), "alif"), noise=0.1), Twin(FeedForward(7, "rate"), window=(0.05, 0.15))):
        found = fit(twin, data, iterations=4, seed=2, every=2)
        found.save(tmp_path / "x.npz")
        same(found, Fit.load(tmp_path / "x.npz"), data)
    changed = stimulated(found, [1, 3], 0.5)  # one constant per neuron where there was one for all
    changed.save(tmp_path / "x.npz")
    same(changed, Fit.load(tmp_path / "x.npz"), data)
    frozen = fit(twin, data, iterations=2, start=found, train_core=False)
    frozen.save(tmp_path / "x.npz")
    again = Fit.load(tmp_path / "x.npz")
    assert again.model.parameter_count() == frozen.model.parameter_count() < found.model.parameter_count()


def test_a_fit_with_maps_and_covariates_comes_back(tmp_path):
    draw = np.random.default_rng(0)
    shown = np.repeat(np.arange(6), 4)
    along = {"eye": draw.standard_normal((24, 2, 2)), "pupil": draw.standard_normal((24, 1, 1))}
    counts = Counts(draw.poisson(1.0, (24, 2, 3)).astype(float), 0.1)
    images = draw.standard_normal((6, 1, 9, 9)).astype(np.float32)
    data = TwinData({"stimulus": shown}, images, counts, covariates=along)
    core = Convolution((3, 2), (5, 3), (2, 1))
    twin = Twin(core, readout="gaussian2d", shifter="eye", modulator=("pupil",), nonlinearity="softplus")
    found = fit(twin, data, iterations=3)
    found.save(tmp_path / "x.npz")
    same(found, Fit.load(tmp_path / "x.npz"), data)


def test_what_is_no_fit_is_refused(tmp_path):
    with pytest.raises(MissingFile):
        Fit.load(tmp_path / "none.npz")
    (tmp_path / "x.npz").write_bytes(b"PK not one")
    with pytest.raises(InputError, match=r"a file written by Fit\.save"):
        Fit.load(tmp_path / "x.npz")

    class Own(FeedForward):
        pass

    data, _ = planted(stimuli=10, bins=3)
    with pytest.raises(InputError, match="a core of the kinds FeedForward"):
        fit(Twin(Own(4)), data, iterations=1).save(tmp_path / "y.npz")
    assert not (tmp_path / "y.npz").exists() and issubclass(Own, Core)


def instruments():
    """One process, `tanh` of three mixtures of the stimulus, seen by an electrode, a scanner, high-gamma and a choice."""
    draw = np.random.default_rng(0)
    stimuli = draw.standard_normal((40, 6)).astype(np.float32)
    inner = np.tanh(stimuli @ draw.standard_normal((6, 3)))
    shown = np.repeat(np.arange(40), 6)
    table = {"stimulus": shown, "tier": np.where(np.arange(240) % 6 < 4, "train", "test")}

    def units(n):
        return inner @ draw.standard_normal((3, n)) * 0.7

    rates = np.exp(0.5 + units(5))[shown][:, None] * np.ones((1, 4, 1))
    spikes = TwinData(table, stimuli, Counts(draw.poisson(rates).astype(float), 0.1))
    bold = units(4)[shown][:, None] * np.ones((1, 2, 1))
    scan = TwinData(table, stimuli, Signal(bold + 0.3 * draw.standard_normal(bold.shape), 0.2))
    power = np.exp(units(3))[shown][:, None] * np.ones((1, 4, 1))
    gamma = TwinData(table, stimuli, Signal(draw.gamma(8.0, power / 8.0), 0.1))
    logit = 2 * inner[shown, 0] - inner[shown, 1]
    chosen = np.where(draw.random(240) < 1 / (1 + np.exp(-logit)), "left", "right")
    choice = TwinData({**table, "choice": chosen}, stimuli).choices(duration=0.4)
    return [
        (Twin(FeedForward(24, "rate")), spikes),
        (Twin(FeedForward(24, "rate"), observation="gaussian", steps=2), scan),
        (Twin(FeedForward(24, "rate"), observation="gamma"), gamma),
        (Twin(FeedForward(24, "rate"), observation="choice", steps=4), choice),
    ]


def test_instruments_and_choices_share_one_core():
    recordings = instruments()
    fits = fit_together(recordings, iterations=150)
    cores = [found.model.core for found in fits]
    assert all(core is cores[0] for core in cores)
    assert len({found.model.filter for found in fits}) == 4
    for found, (_, data) in zip(fits[:3], recordings[:3], strict=True):
        assert score(found, data).means()["cc_norm"] > 0.9
    assert score(fits[3], recordings[3][1]).means()["bits_per_spike"] > 0.2
    assert all(len(found.losses) == 150 and found.losses[-1] < found.losses[0] for found in fits)
    with pytest.raises(InputError, match="one core, step and size of stimuli"):
        fit_together([recordings[0], (replace(recordings[1][0], steps=1), recordings[1][1])])


def test_one_recording_together_is_a_fit_and_the_core_learns_from_all():
    first, second, *_ = instruments()
    alone, together = fit(*first, iterations=5), fit_together([first], iterations=5)[0]
    np.testing.assert_array_equal(alone.losses, together.losses)
    both = fit_together([first, second], iterations=1, lr=1e-3)
    model = fit(*first, iterations=1, lr=1e-3).model
    core = both[0].model.core
    assert not all(torch.equal(a, b) for a, b in zip(core.parameters(), model.core.parameters(), strict=True))


def test_a_twin_of_choices_is_the_logistic_regression_where_its_core_passes_the_stimulus_on():
    draw = np.random.default_rng(1)
    stimuli = np.abs(draw.standard_normal((300, 3))).astype(np.float32)  # positive, which a rectifier leaves alone
    chosen = (draw.random((300, 3)) * np.exp(stimuli @ draw.standard_normal((3, 3)))).argmax(1)
    data = TwinData({"stimulus": np.arange(300), "answer": chosen}, stimuli).choices("answer")
    assert data.units["option"].tolist() == [0, 1, 2] and data.counts().shape == (300, 1, 3)
    twin = Twin(FeedForward(3, "rate", tau_mem=1.2, bias=0.0), observation="choice", tau_filter=1.2)
    start = fit(twin, data, iterations=1)
    with torch.no_grad():
        start.model.core.named_blocks()[0][1].stored.copy_(torch.eye(3))
        start.model.core.named_blocks()[0][1].bias.zero_()
    found = fit(twin, data, iterations=600, batch=300, lr=0.05, weight_decay=0.0, start=start, train_core=False)
    told = found.predict(data)[:, 0]
    whole = told.sum(1, keepdims=True)
    np.testing.assert_allclose(whole, 1, rtol=1e-5)
    regression = LogisticRegression(C=1e6, max_iter=1000).fit(stimuli, chosen)
    np.testing.assert_allclose(told, regression.predict_proba(stimuli), atol=2e-3)
    frequencies = np.bincount(chosen) / 300
    bits = (log_loss(chosen, np.tile(frequencies, (300, 1))) - log_loss(chosen, told / whole)) / np.log(2)
    assert score(found, data).means()["bits_per_spike"] == pytest.approx(bits, rel=1e-5)
    drawn = found.sample(data, seed=0)[:, 0]
    assert set(np.unique(drawn)) == {0.0, 1.0} and (drawn.sum(1) == 1).all()
    with pytest.raises(InputError, match="a column 'choice'"):
        data.choices()
    with pytest.raises(InputError, match="two options or more"):
        data.select(chosen == 1).choices("answer")
    with pytest.raises(InputError, match="a choice has no gain"):
        Twin(FeedForward(3), observation="choice", modulator=("pupil",))


def test_what_is_learned_by_heart_does_not_generalise():
    data, _ = planted(stimuli=12, repeats=16, bins=2)
    data = replace(data, trials={**data.trials, "half": np.where(data.trials["stimulus"] < 6, "a", "b")})
    names = replace(data, stimuli=np.eye(12, dtype=np.float32))  # nothing tells what two stimuli have in common
    twin = Twin(FeedForward(24, "rate"))
    found = {n: generalisation(twin, d, "half", iterations=150) for n, d in (("features", data), ("names", names))}
    means = {
        n: [np.mean([s.means()["bits_per_spike"] for s in scores]) for scores in (g.seen, g.unseen)]
        for n, g in found.items()
    }
    assert found["names"].groups.tolist() == ["a", "b"]
    assert means["names"][0] > 0.1 and means["names"][1] < 0.02
    assert means["features"][1] > 0.3 * means["features"][0] > 0.1
    assert "| half | cc_norm seen |" in str(found["names"])
    for by, words in (("third", "'third'"), ("tier", "test trials")):
        with pytest.raises(InputError, match=words):
            generalisation(twin, data, by, iterations=1)
