"""Memory lifetimes: two-state synapses, leaky integrators, chains of beakers."""

import math

import numpy as np
import pytest
import torch

from neurospin.plasticity import BennaFusi
from neurospin.theory import memory


def test_t19_a_two_state_synapse_fades_geometrically():
    q, count, draw = 0.2, 200_000, np.random.default_rng(0)
    pattern = draw.integers(0, 2, count) * 2 - 1
    state = draw.integers(0, 2, count) * 2 - 1
    state = np.where(draw.random(count) < q, pattern, state)
    for age in range(8):
        assert float((state * pattern).mean()) == pytest.approx(
            float(memory.two_state_trace(q, np.array(age))), abs=4 / math.sqrt(count)
        )
        state = np.where(draw.random(count) < q, draw.integers(0, 2, count) * 2 - 1, state)


@pytest.mark.parametrize("synapses", [1e4, 1e6, 1e8])
def test_t20_the_best_two_state_synapse(synapses):
    q, lifetime = memory.best_two_state(synapses)
    assert q == pytest.approx(math.e / math.sqrt(synapses), rel=0.03)
    assert lifetime == pytest.approx(math.sqrt(synapses) / math.e, rel=0.02)


@pytest.mark.parametrize("synapses", [1e3, 1e6])
def test_t21_the_best_leaky_integrator(synapses):
    window, lifetime = memory.best_leaky(synapses)
    assert window == pytest.approx(2 * synapses / math.e, rel=0.01)
    assert lifetime == pytest.approx(synapses / math.e, rel=0.01)


@pytest.mark.parametrize(("beakers", "slope"), [(8, -0.491), (12, -0.496)])
def test_t22_a_chain_fades_as_the_root_of_age(beakers, slope):
    ages = np.unique(np.geomspace(30, 4.0**beakers / 40, 40).astype(int))
    fitted = np.polyfit(np.log(ages), np.log(memory.chain_trace(beakers, ages)), 1)[0]
    assert fitted == pytest.approx(-0.5, abs=0.03)
    assert fitted == pytest.approx(slope, abs=0.03)


def test_the_rule_is_the_chain_of_the_theory():
    p = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    rule = BennaFusi(torch.optim.SGD([p], 1.0), beakers=6, rate=0.25)
    with torch.no_grad():
        p.fill_(1.0)
    seen = []
    for _ in range(200):
        p.grad = torch.zeros_like(p)
        rule.step()
        seen.append(float(p.detach()))
    np.testing.assert_allclose(seen, memory.chain_trace(6, np.arange(1, 201)), rtol=1e-9)


def test_t23_chains_remember_almost_as_many_patterns_as_synapses():
    """Lifetimes grow as the number of synapses over the variance, far above a two-state synapse's root."""
    lifetimes = []
    for synapses, beakers in ((1e4, 8), (1e5, 10), (1e6, 12)):
        ages = np.unique(np.geomspace(1, 4.0**beakers, 4000).astype(int))
        trace = memory.chain_trace(beakers, ages)
        dense = np.interp(np.arange(1, ages[-1]), ages, trace)
        variance = float(np.cumsum(dense**2)[int(min(synapses, ages[-1] - 2))])
        signal = np.sqrt(synapses / variance) * trace
        lifetime = float(ages[signal > 1][-1])
        lifetimes.append(lifetime)
        assert lifetime > 5 * memory.best_two_state(synapses)[1]
    growth = np.diff(np.log10(lifetimes))
    assert bool((growth > 0.8).all() and (growth < 1.0).all())  # a little less than linear: the variance grows
