import pytest
import torch

import neurospin as ns
from neurospin.surrogate import spike

ALL = [ns.ArcTan(), ns.ArcTan(5.0), ns.FastSigmoid(), ns.FastSigmoid(10.0), ns.Triangle(), ns.Triangle(0.3)]
ALL += [
    ns.SuperSpike(),
    ns.SuperSpike(3.0),
    ns.Sigmoid(),
    ns.Sigmoid(4.0),
    ns.StraightThrough(),
    ns.StraightThrough(0.5),
]


@pytest.mark.parametrize("surrogate", ALL)
def test_the_derivative_is_that_of_the_value(surrogate):
    d = torch.linspace(-2.05, 2.05, 411, dtype=torch.float64)
    h = 1e-6
    slope = (surrogate.value(d + h) - surrogate.value(d - h)) / (2 * h)
    torch.testing.assert_close(surrogate.derivative(d), slope, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("surrogate", ALL)
def test_a_spike_is_strict_and_its_gradient_is_the_surrogate(surrogate):
    d = torch.tensor([-1.0, -1e-7, 0.0, 1e-7, 1.0], requires_grad=True)
    s = spike(d, surrogate)
    assert s.tolist() == [0, 0, 0, 1, 1]
    (g,) = torch.autograd.grad((s * torch.arange(5.0)).sum(), d)
    torch.testing.assert_close(g, torch.arange(5.0) * surrogate.derivative(d).detach())
