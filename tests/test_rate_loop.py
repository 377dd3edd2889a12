"""Rate neurons that feed themselves: their loop is the equations step by step, and so are its gradients."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

import neurospin as ns
from neurospin.scan.dynamics import Dynamics
from neurospin.scan.rate_loop import rate_scan


@pytest.mark.parametrize("activation", ["rectified", "softplus"])
def test_the_loop_is_the_equations(activation):
    back = ns.Dense(4, 4, weight=ns.Float(gain=2), bias=True)
    neuron = ns.Rate(4, 20e-3, v_threshold=torch.tensor([0.0, 0.1, -0.2, 0.0]), activation=activation, dt=5e-3)
    net = ns.Network({"in": ns.Dense(3, 4), "rate": neuron, "back": back}, 5e-3,
                     [("input", "in"), ("in", "rate"), ("rate", "back"), ("back", "rate"), ("rate", "output")])  # fmt: skip
    x = torch.randn(7, 2, 3, generator=torch.Generator().manual_seed(0))
    run = net(x, record=("voltages",))
    v, r = torch.zeros(2, 4), None
    for t in range(7):
        current = net.blocks["in"](x[t : t + 1])[0] + (back.bias if r is None else r @ back.weight.T + back.bias)
        v = v + 0.25 * (current - v)
        above = v - neuron.v_threshold
        r = torch.relu(above) if activation == "rectified" else torch.log1p(torch.exp(above))
        torch.testing.assert_close(run.output[t], r, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(run.voltages["rate"][t], v, rtol=1e-5, atol=1e-6)
    first = net(x[:3])
    again = net(x[3:], first.state)
    assert torch.equal(torch.cat([first.output, again.output]), run.output)


@pytest.mark.parametrize("rectified", [True, False])
def test_gradients_are_those_of_finite_differences(rectified):
    draw = torch.Generator().manual_seed(1)

    def made(*shape):
        return torch.randn(shape, generator=draw, dtype=torch.float64).mul(0.5).requires_grad_()

    def loop(x, v, w, b, first, decay, gain, leak, threshold):
        found = rate_scan(
            x, (v,), Dynamics(decay, gain, leak), threshold, w, b, first, rectified=rectified, voltage=True
        )
        return found.output, found.voltage, found.state[0]

    shapes = [(4, 2, 3), (2, 3), (3, 3), (3,), (2, 3), (), (3,), (3,), ()]
    inputs = [made(*shape) for shape in shapes]
    assert gradcheck(loop, inputs) and gradgradcheck(loop, inputs)
