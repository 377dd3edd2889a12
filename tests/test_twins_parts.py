"""Readouts, observations and losses against plain loops, scipy and what was planted."""

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.ndimage import map_coordinates
from scipy.optimize import linear_sum_assignment
from scipy.signal import lfilter

from neurospin.errors import InputError
from neurospin.twins import Convolution, Counts, FeedForward, Signal, Twin, TwinData, fit, losses, score
from neurospin.twins.observations import OBSERVATIONS, convolved
from neurospin.twins.readouts import READOUTS, Modulator, Shifter

SIZE = (3, 5, 7)


def made(name, units=4, size=SIZE):
    return READOUTS[name](size, units, torch.Generator().manual_seed(0)).eval()


def maps(seed=0, bins=2, batch=3):
    return torch.randn((bins, batch, *SIZE), generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def test_linear_and_factorised_readouts_are_their_sums():
    phi, linear, factorised = maps(), made("linear"), made("factorised")
    u = linear(phi)[1, 2].detach().numpy()
    np.testing.assert_allclose(u, (linear.weight.detach() @ phi[1, 2].flatten()).numpy(), rtol=1e-4)
    for n in range(4):
        told = sum(factorised.weight[n, c] * (factorised.mask[n].reshape(5, 7) * phi[1, 2, c]).sum() for c in range(3))
        assert float(factorised(phi)[1, 2, n].detach()) == pytest.approx(float(told.detach()), rel=1e-4)
    expected = np.mean([float(factorised.weight[n].abs().sum() * factorised.mask[n].abs().sum()) for n in range(4)])
    assert float(factorised.penalty().detach()) == pytest.approx(expected, rel=1e-6)


def test_a_gaussian_readout_interpolates_at_its_place():
    phi, readout = maps(), made("gaussian2d")
    x, y = ((readout.place.detach().numpy() + 1) / 2 * [6, 4]).T
    for n in range(4):
        seen = [map_coordinates(phi[0, 1, c].numpy(), [[y[n]], [x[n]]], order=1)[0] for c in range(3)]
        assert float(readout(phi)[0, 1, n].detach()) == pytest.approx(
            readout.weight[n].detach().numpy() @ seen, rel=1e-4
        )
    readout.train()
    drawn = torch.stack([readout(phi)[0, 0] for _ in range(5)])
    assert (drawn.std(0) > 0).all()


def test_attention_looks_where_the_query_meets_the_key():
    phi, readout = maps(), made("attention")
    flat = phi[1, 0].flatten(1)
    keys = readout.key @ flat + readout.code
    for n in range(4):
        weight = torch.softmax(readout.query[n] @ keys / np.sqrt(8), dim=0)
        told = float((readout.weight[n] @ (flat @ weight)).detach())
        assert float(readout(phi)[1, 0, n].detach()) == pytest.approx(told, rel=1e-4)


def test_a_shifter_moves_the_map_and_a_modulator_scales():
    shifter = Shifter(2, torch.Generator().manual_seed(0))
    phi, eye = maps(), torch.zeros(2, 3, 2)
    torch.testing.assert_close(shifter(phi, eye), phi, rtol=1e-4, atol=1e-5)  # at first nothing moves
    with torch.no_grad():
        shifter.layers[2].bias.copy_(torch.atanh(torch.tensor([2 / 6, 0.0])))  # one pixel of seven along the width
    torch.testing.assert_close(shifter(phi, eye)[..., :-1], phi[..., 1:], rtol=1e-3, atol=1e-4)
    modulator = Modulator(1, 4, torch.Generator().manual_seed(0))
    assert torch.equal(modulator(torch.randn(2, 3, 1)), torch.ones(2, 3, 4))


ORACLES = {
    "poisson": lambda y, m, o: stats.poisson.logpmf(y, m),
    "bernoulli": lambda y, m, o: stats.bernoulli.logpmf(y, m),
    "gaussian": lambda y, m, o: stats.norm.logpdf(y, m, np.exp(o.log_variance.numpy() / 2)),
    "gamma": lambda y, m, o: stats.gamma.logpdf(y, np.exp(o.log_shape.numpy()), scale=m / np.exp(o.log_shape.numpy())),
}


@pytest.mark.parametrize("name", ORACLES)
def test_likelihoods_are_those_of_scipy(name):
    draw = np.random.default_rng(0)
    observation = OBSERVATIONS[name](3, 0.1).double()
    average, variance = torch.tensor([0.3, 0.5, 0.7]).double(), torch.tensor([0.2, 0.1, 0.3]).double()
    drive = observation.start(average, variance)
    with torch.no_grad():
        torch.testing.assert_close(observation.mean(drive[None, None])[0, 0], average, rtol=1e-5, atol=1e-6)
        y = (
            (draw.random((50, 2, 3)) < 0.5) * 1.0
            if name in ("poisson", "bernoulli")
            else draw.gamma(2, 0.3, (50, 2, 3))
        )
        mean = observation.mean(torch.as_tensor(draw.standard_normal((50, 2, 3)) * 0.3) + drive)
        ours = -observation.nll(mean, torch.as_tensor(y)).numpy()
        theirs = ORACLES[name](y, mean.numpy(), observation)
        left_out = theirs - ours  # a number that does not depend on the twin
        np.testing.assert_allclose(left_out[y > 0.9] if name == "poisson" else left_out, np.mean(left_out), atol=1e-6)
        drawn = torch.stack([observation.sample(mean[:1], torch.Generator().manual_seed(k)) for k in range(3000)])
        sd = drawn.std(0) / np.sqrt(3000)
        assert ((drawn.mean(0) - mean[:1]).abs() < 5 * sd).all()


def test_nonlinearities_are_undone_by_their_inverses():
    for nonlinearity in ("exp", "softplus", "elu"):
        observation = OBSERVATIONS["poisson"](4, 0.1, nonlinearity)
        value = torch.tensor([0.01, 0.3, 1.5, 4.0])
        torch.testing.assert_close(observation.mean(observation.start(value, value)), value, rtol=1e-3, atol=1e-5)


def test_the_haemodynamic_response_and_the_indicator_are_filters():
    bold = OBSERVATIONS["bold"](2, 2.0)
    drive = torch.randn(40, 3, 2, generator=torch.Generator().manual_seed(1))
    padded = np.concatenate([np.repeat(drive[:1].numpy(), 15, axis=0), drive.numpy()])
    told = lfilter(bold.kernel.numpy(), [1.0], padded, axis=0)[15:]
    np.testing.assert_allclose(bold.mean(drive).numpy(), told, atol=1e-5)
    time = (np.arange(16) + 0.5) * 2.0
    shape = stats.gamma.pdf(time, 6) - stats.gamma.pdf(time, 16) / 6
    np.testing.assert_allclose(bold.kernel.numpy(), shape / shape.sum(), atol=1e-6)
    assert 4 <= time[bold.kernel.argmax()] <= 6  # the peak of the canonical response
    still = convolved(torch.ones(5, 1, 1), bold.kernel)
    torch.testing.assert_close(still, torch.ones(5, 1, 1))  # at rest it stays

    calcium = OBSERVATIONS["calcium"](2, 0.1)
    decay, rate = np.exp(-0.1 / 0.5), drive.exp().numpy()
    told, _ = lfilter([1 - decay], [1.0, -decay], rate, axis=0, zi=decay * rate[:1])
    np.testing.assert_allclose(calcium.mean(drive).detach().numpy(), told, rtol=1e-4)


def recording(observation, units=5, stimuli=20, repeats=8, bins=12, dt=0.5, seed=0):
    """Signals of a planted drive that is linear in features, through an instrument."""
    draw = np.random.default_rng(seed)
    features = draw.standard_normal((stimuli, bins, 4)).astype(np.float32)
    features = np.repeat(features[:, ::4], 4, axis=1)
    true = OBSERVATIONS[observation](units, dt)
    drive = torch.as_tensor(features @ (draw.standard_normal((4, units)) * 0.4)).float().transpose(0, 1)
    with torch.no_grad():
        mean = true.mean(drive)
    shown = np.repeat(np.arange(stimuli), repeats)
    noisy = mean.transpose(0, 1).numpy()[shown]
    noise = draw.gamma(20, 1 / 20, noisy.shape) if observation == "gamma" else 1.0
    shift = 0.0 if observation == "gamma" else 0.3 * draw.standard_normal(noisy.shape)
    data = TwinData({"stimulus": shown}, features, Signal(noisy * noise + shift, dt))
    return data.split("trial", test=0.375, val=0, seed=seed)


@pytest.mark.parametrize("observation", ["gaussian", "gamma", "bold", "calcium"])
def test_signals_of_every_instrument_are_fitted(observation):
    data = recording(observation)
    found = fit(Twin(FeedForward(48, "rate", tau_mem=0.51), observation=observation, tau_filter=0.51), data, lr=0.03)
    assert score(found, data).means()["cc_norm"] > 0.97
    if observation == "gamma":
        assert float(found.model.observation.log_shape.detach().exp().median()) == pytest.approx(20, rel=0.2)
    else:
        assert float(found.model.observation.log_variance.detach().exp().median()) == pytest.approx(0.09, rel=0.1)


def test_a_gaussian_readout_finds_where_the_units_look():
    draw = np.random.default_rng(0)
    images = draw.standard_normal((300, 1, 9, 9)).astype(np.float32)
    places = np.array([[2, 3], [6, 5], [4, 4]])  # row, column
    rates = np.exp(0.8 * np.stack([images[:, 0, y, x] for y, x in places], axis=1) + 1)
    data = TwinData({"stimulus": np.arange(300)}, images, Counts(draw.poisson(rates)[:, None].astype(float), 0.1))
    twin = Twin(Convolution(6, 3, neuron="rate", bias=0.1), readout="gaussian2d")
    found = fit(twin, data, iterations=400, lr=0.03, batch=100)
    told = (found.model.readout.place.detach().numpy()[:, ::-1] + 1) / 2 * 8
    np.testing.assert_allclose(told, places, atol=0.5)


def test_behaviour_that_scales_the_responses_is_found():
    draw = np.random.default_rng(0)
    features = draw.standard_normal((16, 4)).astype(np.float32)
    shown = np.repeat(np.arange(16), 20)
    running = draw.random((320, 2, 1))
    rates = np.exp(features[shown] @ draw.standard_normal((4, 3)) * 0.3)[:, None] * np.exp(1.5 * running)
    data = TwinData(
        {"stimulus": shown}, features, Counts(draw.poisson(rates).astype(float), 0.1), covariates={"running": running}
    ).split("trial", test=0.3, val=0)
    plain, modulated = (
        fit(Twin(FeedForward(16, "rate"), modulator=names), data, iterations=150, lr=0.02)
        for names in ((), ("running",))
    )
    gain = modulated.model.modulator(torch.tensor([[[0.0]], [[1.0]]])).detach()
    np.testing.assert_allclose((gain[1] / gain[0]).log()[0].numpy(), 1.5, atol=0.4)
    assert score(modulated, data).means()["bits_per_spike"] > score(plain, data).means()["bits_per_spike"] + 0.02


def shared(seed=0, trials=40, bins=5, units=6, noise=1.0):
    """Two stimuli whose trials share a gain."""
    draw = np.random.default_rng(seed)
    gain = np.exp(noise * draw.standard_normal((trials, 1, 1)) - noise**2 / 2)
    z = draw.poisson(np.full((trials, bins, units), 2.0) * gain)
    return torch.as_tensor(z).float().transpose(0, 1), torch.as_tensor(np.arange(trials) % 2)


def batch(drawn, real, stimulus, weight=None):
    return losses.Batch(drawn, real, weight, drawn, drawn, stimulus, None)  # type: ignore[arg-type]


@pytest.mark.parametrize("term", [losses.PSTH(), losses.NoiseCorrelation(), losses.TrialMatching()])
def test_identical_trials_cost_nothing_in_any_order_and_others_do(term):
    z, stimulus = shared()
    order = torch.cat([torch.randperm(20) * 2, torch.randperm(20) * 2 + 1])
    assert float(term(batch(z, z, stimulus))) == 0
    back = torch.empty(40, dtype=torch.long)
    back[torch.cat([torch.arange(0, 40, 2), torch.arange(1, 40, 2)])] = order
    assert float(term(batch(z[:, back], z, stimulus))) == pytest.approx(0, abs=1e-9)
    assert float(term(batch(shared(1, noise=0.3)[0], z, stimulus))) > 1e-3


def test_sampled_statistics_are_those_of_numpy():
    (z, stimulus), (real, _) = shared(0), shared(1)
    correlation = losses.correlations(z, stimulus).numpy()
    apart = z.numpy() - np.stack([z[:, stimulus == s].mean(1).numpy() for s in (0, 1)], axis=1)[:, stimulus]
    np.testing.assert_allclose(correlation, np.corrcoef(apart.reshape(-1, 6).T), atol=1e-5)
    assert correlation[np.triu_indices(6, 1)].min() > 0.3  # the shared gain
    scale = real.numpy().std((0, 1))
    mine, theirs = ((x.numpy() / scale).mean(-1).T for x in (z, real))
    cost = 0.0
    for s in (0, 1):
        a, b = mine[stimulus == s], theirs[stimulus == s]
        distance = ((a[:, None] - b[None]) ** 2).mean(-1)
        cost += distance[linear_sum_assignment(distance)].sum() / 40
    assert float(losses.TrialMatching()(batch(z, real, stimulus))) == pytest.approx(cost, rel=1e-4)


def test_a_noise_correlation_is_learned_where_the_likelihood_is_blind_to_it():
    real, _ = shared(noise=0.6, trials=120)
    stimuli = np.eye(2, dtype=np.float32)
    data = TwinData({"stimulus": np.arange(120) % 2}, stimuli, Counts(real.transpose(0, 1).double().numpy(), 0.05))
    told = []
    for terms in ((), (losses.NoiseCorrelation(20.0), losses.PSTH(1.0))):
        twin = Twin(FeedForward(12, "rate", bias=1.0), noise=0.5)
        found = fit(twin, data, iterations=150, lr=0.02, terms=terms)
        z = torch.as_tensor(found.sample(data, seed=1)).transpose(0, 1)
        told.append(losses.correlations(z, torch.arange(120) % 2)[np.triu_indices(6, 1)].mean().item())
    wanted = losses.correlations(real, torch.arange(120) % 2)[np.triu_indices(6, 1)].mean().item()
    assert abs(told[1] - wanted) < 0.5 * abs(told[0] - wanted)


def test_a_core_fires_as_often_as_the_rate_loss_wants():
    draw = np.random.default_rng(0)
    data = TwinData({"stimulus": np.arange(20)}, draw.random((20, 4)).astype(np.float32),
                    Counts(draw.poisson(1.0, (20, 10, 3)).astype(float), 0.02))  # fmt: skip
    twin = Twin(FeedForward(20, "lif"))
    plain, tied = (fit(twin, data, iterations=150, lr=0.02, terms=t) for t in ((), (losses.Rate(1.0, hertz=8.0),)))
    shown = torch.as_tensor(data.stimuli)
    rates = [float(f.model.spikes(shown).mean().detach()) / 0.02 for f in (plain, tied)]
    assert abs(rates[1] - 8) < 2 < abs(rates[0] - 8)
    with pytest.raises(InputError, match="more than 0"):
        losses.Rate(hertz=0.0)(batch(shown, shown, shown))
