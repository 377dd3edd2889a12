"""The twin of one neuron: its equations as a loop, scikit-learn, planted neurons, and two real receptors."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d
from sklearn.linear_model import LogisticRegression

from neurospin.errors import InputError
from neurospin.twins import EscapeLIF, fit_escape_lif
from tests.shared_data import shared_data

NEURON = EscapeLIF(
    tau_mem=5e-3, kernel=6 * np.exp(-np.arange(10) / 3.0), current=3.0, threshold=6.0,
    adaptation=np.array([4.0, 1.0]), tau_adaptation=np.array([3e-3, 50e-3]), dt=1e-3,
)  # fmt: skip


def noise(steps, seed=0):
    found = gaussian_filter1d(np.random.default_rng(seed).standard_normal(steps), 2)
    return found / found.std()


def by_hand(neuron, stimulus, spikes):
    """Voltage and probability, bin by bin, from the recurrences."""
    decay, v, trace = np.exp(-neuron.dt / neuron.tau_mem), 0.0, np.zeros(len(neuron.adaptation))
    voltages, told = [], []
    for t in range(len(stimulus)):
        current = neuron.current + sum(k * stimulus[t - i] for i, k in enumerate(neuron.kernel) if i <= t)
        v = decay * v + (1 - decay) * current
        voltages.append(v)
        told.append(1 / (1 + np.exp(neuron.threshold + neuron.adaptation @ trace - v)))
        v = 0.0 if spikes[t] else v
        trace = (trace + spikes[t]) * np.exp(-neuron.dt / neuron.tau_adaptation)
    return np.array(voltages), np.array(told)


def test_teacher_forcing_is_the_recurrence():
    stimulus = noise(400)
    spikes = NEURON.simulate(stimulus, seed=1)[0]
    assert 20 < spikes.sum() < 200
    voltages, told = by_hand(NEURON, stimulus, spikes)
    np.testing.assert_allclose(NEURON.voltage(stimulus, spikes), voltages, atol=1e-10)
    np.testing.assert_allclose(NEURON.probabilities(stimulus, spikes), told, atol=1e-10)
    mean = spikes.mean()
    gain = np.sum(np.log(np.where(spikes > 0, told / mean, (1 - told) / (1 - mean)))) / spikes.sum() / np.log(2)
    assert NEURON.bits_per_spike(stimulus, spikes) == pytest.approx(gain, rel=1e-10)


def test_a_free_neuron_fires_as_often_as_it_says_it_would():
    stimulus = noise(1000)
    trials = NEURON.simulate(stimulus, trials=40, seed=2)
    told = np.stack([NEURON.probabilities(stimulus, spikes) for spikes in trials])
    assert told.mean() == pytest.approx(trials.mean(), rel=0.03)
    for low, high in ((0.05, 0.2), (0.2, 0.5), (0.5, 0.9)):
        inside = (told > low) & (told < high)
        assert trials[inside].mean() == pytest.approx(told[inside].mean(), rel=0.06)


def test_a_planted_neuron_is_found_again():
    stimulus = noise(24_000)
    spikes = NEURON.simulate(stimulus, seed=3)[0]
    twin = fit_escape_lif(stimulus[:20_000], spikes[:20_000], lags=10, tau_adaptation=(3e-3, 50e-3), ridge=0.1)
    assert twin.parameters == 15
    assert twin.tau_mem == pytest.approx(NEURON.tau_mem, rel=0.15)
    currents = [np.convolve(stimulus, neuron.kernel) for neuron in (twin, NEURON)]
    assert np.corrcoef(currents)[0, 1] > 0.995
    assert twin.kernel.sum() == pytest.approx(NEURON.kernel.sum(), rel=0.1)
    np.testing.assert_allclose(twin.adaptation, NEURON.adaptation, rtol=0.2)
    held = stimulus[20_000:], spikes[20_000:]
    assert twin.bits_per_spike(*held) == pytest.approx(NEURON.bits_per_spike(*held), abs=0.02)


def test_weights_are_those_of_scikit_learn_at_the_time_constant_found():
    stimulus = noise(3000)
    spikes = NEURON.simulate(stimulus, seed=4)[0]
    twin = fit_escape_lif(stimulus, spikes, lags=3, tau_adaptation=(5e-3,), ridge=2.0)
    zero = replace(twin, kernel=np.zeros(3), current=0.0, threshold=0.0, adaptation=np.zeros(1))
    features = [by_hand(replace(zero, kernel=row), stimulus, spikes)[0] for row in np.eye(3)]
    features.append(by_hand(replace(zero, current=1.0), stimulus, spikes)[0])
    told = by_hand(replace(zero, adaptation=np.ones(1)), stimulus, spikes)[1]
    features.append(-np.log(1 / told - 1))
    x = np.stack(features, 1)
    scale = x.std(0)
    theirs = LogisticRegression(C=0.5, tol=1e-10, max_iter=10_000).fit(x / scale, spikes)
    ours = np.concatenate([twin.kernel, [twin.current], twin.adaptation])
    np.testing.assert_allclose(ours, theirs.coef_[0] / scale, rtol=1e-3)
    assert -twin.threshold == pytest.approx(theirs.intercept_[0], rel=1e-3)


@pytest.mark.parametrize(
    "call",
    [
        lambda s, y: fit_escape_lif(s, y[:-1]),
        lambda s, y: fit_escape_lif(s, 2 * y),
        lambda s, y: fit_escape_lif(s, 0 * y),
        lambda s, y: fit_escape_lif(s, y, lags=0),
        lambda s, y: fit_escape_lif(s, y, dt=0.0),
        lambda s, y: fit_escape_lif(s, y, tau_adaptation=(0.0,)),
        lambda s, y: fit_escape_lif(np.where(s > 1, np.nan, s), y),
        lambda s, y: NEURON.bits_per_spike(s, 0 * y),
    ],
)
def test_what_is_no_spike_train_is_refused(call):
    stimulus = noise(200)
    with pytest.raises(InputError, match="expected"):
        call(stimulus, NEURON.simulate(stimulus)[0])


@pytest.mark.data
@pytest.mark.parametrize(("number", "bar"), [(1, 1.99), (2, 1.66)])
def test_auditory_receptors_of_a_grasshopper(number, bar):
    with np.load(shared_data("grasshopper", f"grasshopper{number}.npz")) as file:
        stimulus, spikes = file["stim"].astype(float), file["spikes"].astype(float)
    twin = fit_escape_lif(stimulus[:8000], spikes[:8000])
    found = twin.bits_per_spike(stimulus, spikes, skip=8000)
    assert twin.parameters <= 31 and found >= bar
    lagged = np.stack([np.append(np.zeros(lag), stimulus[: len(stimulus) - lag]) for lag in range(25)], axis=1)
    blind = LogisticRegression(C=1.0).fit(lagged[:8000], spikes[:8000]).predict_proba(lagged[8000:])[:, 1]
    y, mean = spikes[8000:], spikes[8000:].mean()
    gain = np.sum(y * np.log(blind / mean) + (1 - y) * np.log((1 - blind) / (1 - mean))) / y.sum() / np.log(2)
    assert gain == pytest.approx({1: 0.884, 2: 0.824}[number], abs=0.005)
