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


@pytest.mark.parametrize("synapses", [1e4, 1e5, 1e6, 1e8])
def test_t20_the_best_two_state_synapse(synapses):
    q, lifetime = memory.best_two_state(synapses)
    assert q == pytest.approx(math.e / math.sqrt(synapses), rel=0.02)
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


@pytest.mark.parametrize(("rate", "apart"), [(0.25, 0.09), (0.01, 0.01)])
def test_the_rule_is_the_chain_of_the_theory(rate, apart):
    """Its pairs exchange as seldom as their own time allows: the flow of the theory up to the error of such Euler steps."""
    p = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    rule = BennaFusi(torch.optim.SGD([p], 1.0), beakers=6, rate=rate)
    with torch.no_grad():
        p.fill_(1.0)
    ages, seen = 4 ** np.arange(1, 6), []
    for _ in range(ages[-1]):
        p.grad = torch.zeros_like(p)
        rule.step()
        seen.append(float(p.detach()))
    np.testing.assert_allclose(np.array(seen)[ages - 1], memory.chain_trace(6, ages, rate), rtol=apart)


@pytest.mark.parametrize(
    ("synapses", "beakers", "lifetime"), [(1e4, 10, 638), (1e5, 12, 5395), (1e6, 13, 50_556), (1e7, 15, 439_634)]
)
def test_t23_chains_remember_almost_as_many_patterns_as_synapses(synapses, beakers, lifetime):
    """The lifetimes of a prototype, made by impulse responses; `t* = c² N/V`, far above a two-state synapse's root."""
    found, variance = memory.chain_lifetime(synapses, beakers)
    assert found == pytest.approx(lifetime, rel=1e-3)
    assert found * variance / synapses == pytest.approx(1.8, abs=0.1)
    assert found > 10 * memory.best_two_state(synapses)[1]


def test_the_noise_of_a_leaking_chain_is_the_sum_of_its_squared_trace():
    left, share = memory.chain(3, 0.125, leaking=True)
    u, flow = np.eye(3)[0], np.zeros((3, 3))
    for k in range(3):
        flow[k, k] -= 0.125 * 4.0**-k
        if k < 2:
            flow[k, k + 1] += 0.125 * 4.0**-k
            flow[k + 1, k] += 0.125 * 4.0**-k / 2
            flow[k + 1, k + 1] -= 0.125 * 4.0**-k / 2
    total = 0.0
    for age in range(10_000):
        if age < 50:
            assert u[0] == pytest.approx(float((share * left**age).sum()), rel=1e-9)
        total += u[0] ** 2
        u = u + flow @ u
    assert total == pytest.approx(memory.chain_lifetime(1e6, 3)[1], rel=1e-6)
