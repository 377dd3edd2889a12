"""Long sequences: in pieces, with the same gradients and less memory."""

import pytest
import torch

import neurospin as ns
from neurospin.scan.long import checkpointed, truncated


def kept(make):
    """Bytes that autograd keeps for the backward pass of what `make` gives."""
    seen = {}

    def pack(t):
        seen[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        result = make()
    return sum(seen.values()), result


def network():
    net = ns.Network([ns.Dense(8, 32, weight=ns.Float(gain=6)), ns.LIF(32), ns.Dense(32, 3), ns.LI(3)], dt=1e-3)

    def run(x, state):
        result = net(x, state)
        return result.output, result.state

    return net, run


def test_checkpointing_over_time_is_exact_and_keeps_less():
    net, run = network()
    x = (torch.rand(400, 4, 8) < 0.3).float()
    g = torch.randn(400, 4, 3)
    whole_bytes, (whole, end) = kept(lambda: run(x, None))
    pieces_bytes, (pieces, last) = kept(lambda: checkpointed(run, x, chunk=21))
    assert torch.equal(whole, pieces) and torch.equal(end["lif1"][0], last["lif1"][0])
    assert bool((end["lif1"][0] != 0).any()) and pieces_bytes < whole_bytes / 4
    parameters = list(net.parameters())
    for a, b in zip(*(torch.autograd.grad(o, parameters, g) for o in (whole, pieces)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_truncation_is_exact_where_the_past_cannot_matter():
    """With one step per τ the past is forgotten; with a slow membrane the truncated gradient differs."""
    g = torch.randn(60, 2, 5)
    for tau, exact in ((1e-3 * (1 + 1e-5), True), (50e-3, False)):
        x = torch.rand(60, 2, 5, requires_grad=True)
        n = ns.LI(5, tau_mem=tau, dt=1e-3)
        (truth,) = torch.autograd.grad(n(x)[0], x, g)
        outputs = list(truncated(n, x, chunk=7))
        assert torch.equal(torch.cat(outputs), n(x)[0])
        (found,) = torch.autograd.grad(torch.cat(outputs), x, g)
        assert torch.allclose(truth, found, rtol=1e-3, atol=1e-4) == exact


def test_a_chunk_of_nothing_is_refused():
    with pytest.raises(ns.InputError, match="at least 1 step"):
        checkpointed(ns.LI(3, dt=1e-3), torch.zeros(4, 1, 3), chunk=0)
