"""The compiled time loop on several threads, after a fork, with constants that change, and over 12 000 steps."""

import os

import pytest
import torch

import neurospin as ns
from neurospin.scan import pool, scan
from neurospin.scan.long import checkpointed
from tests.test_scan_long import kept

pytest.importorskip("numba")
from neurospin.scan import cpu_ops


def block(size=37, **options):
    return ns.LIF(size, tau_mem=10e-3, r=10.0, dt=1e-3, **options)


def run(n, x, g):
    out, (v,) = n(x)
    return out, v, torch.autograd.grad((out * g).sum() + v.sum(), x)[0]


def test_threads_share_the_columns(monkeypatch):
    """Blocks end at multiples of 16 columns; 111 columns leave a tail, and each is computed once."""
    n = block()
    x, g = (0.6 * torch.randn(20, 3, 37)).requires_grad_(), torch.randn(20, 3, 37)
    alone = run(n, x, g)
    monkeypatch.setattr(cpu_ops, "PARALLEL", 100)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    calls = []
    pieces = cpu_ops.pairwise
    monkeypatch.setattr(cpu_ops, "pairwise", lambda edges: calls.append(edges) or pieces(edges))
    together = run(n, x, g)
    assert calls == [[0, 32, 64, 111]] * 2
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True)) and bool(alone[0].any())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_process_has_arrays_of_its_own():
    shape = (3, pool.SMALL)
    pool.clear()
    pool.empty(shape).fill_(1.0)
    assert pool.empty(shape)[0, 0] == 1  # used again
    n = block(4)
    x, g = torch.ones(9, 2, 4, requires_grad=True), torch.ones(9, 2, 4)
    truth = run(n, x, g)
    child = os.fork()
    if child == 0:
        try:
            fresh = bool((pool.empty(shape) == 0).all())  # pages that nobody has written
            same = all(torch.equal(a, b) for a, b in zip(truth, run(n, x, g), strict=True))
            os._exit(0 if fresh and same else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    pool.clear()


def test_arrays_in_use_are_not_given_again():
    pool.clear()
    first, second = pool.empty((pool.SMALL,)), pool.empty((pool.SMALL,))
    assert first.data_ptr() != second.data_ptr() and first.data_ptr() % 4096 == 0
    place = second.data_ptr()
    view = second[5:]
    del second
    third = pool.empty((pool.SMALL,))
    assert third.data_ptr() not in (place, first.data_ptr())
    del view
    assert pool.empty((pool.SMALL,)).data_ptr() == place
    pool.clear()


def test_a_constant_that_changes_is_seen():
    """The packed coefficients are kept between calls only while every constant has the same value."""
    x = torch.full((30, 1, 4), 0.7)
    for change in (
        lambda n: n.v_threshold.data.fill_(0.2),
        lambda n: n.v_threshold.numpy().fill(0.2),
        lambda n: n.load_state_dict({**n.state_dict(), "v_threshold": torch.tensor(0.2)}),
        lambda n: setattr(n, "reset", "subtract"),
        lambda n: n._buffers.update(v_threshold=torch.full((4,), 0.2)),
        lambda n: setattr(n.v_threshold, "data", torch.tensor(0.2)),
        lambda n: n._buffers.update(v_threshold=n.copy().v_threshold.fill_(0.2)),
    ):
        n = block(4)
        before, again = n(x)[0], n(x)[0]
        change(n)
        after = n(x)[0]
        truth = scan(x, n.initial(1), n.dynamics(), backend="reference").output
        assert torch.equal(before, again) and torch.equal(after, truth) and not torch.equal(before, after)


def test_a_copy_sees_its_own_constants():
    n, x = block(4), torch.full((30, 1, 4), 0.7)
    before, twin = n(x)[0], n.copy()
    twin.v_threshold.fill_(0.2)
    assert torch.equal(n(x)[0], before) and twin(x)[0].sum() > before.sum()


def test_kept_voltages_survive_every_backward_pass_but_the_last():
    """The last pass puts the gradient of the input in their place."""
    x, g = (0.6 * torch.randn(20, 3, 37)).requires_grad_(), torch.randn(20, 3, 37)
    truth = run(block(), x, g)[2]
    out = block()(x)[0]
    first, second, last = (torch.autograd.grad(out, x, g, retain_graph=kept)[0] for kept in (True, True, False))
    plain = torch.autograd.grad(block()(x)[0], x, g)[0]
    assert all(torch.equal(plain, found) for found in (first, second, last)) and not torch.equal(truth, plain)
    assert not last.requires_grad and last.grad_fn is None
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(out, x, g)
    g.requires_grad_()
    twice = []
    for free in (False, True):
        out = block()(x)[0]
        (again,) = torch.autograd.grad(out, x, g, create_graph=True)
        if free:
            torch.autograd.grad(out, x, g)  # frees the first graph; the second still reads the voltages
        twice += torch.autograd.grad(again.square().sum(), g)
    assert torch.equal(*twice) and bool(twice[0].any())


def test_12_000_steps_in_pieces_have_the_gradient_of_the_whole():
    n = block(5)
    x, g = (0.6 * torch.randn(12_000, 1, 5)).requires_grad_(), torch.randn(12_000, 1, 5)
    whole_bytes, (whole, end) = kept(lambda: n(x))
    pieces_bytes, (pieces, last) = kept(lambda: checkpointed(n, x, chunk=400))
    own = x.numel() * 4
    assert torch.equal(whole, pieces) and torch.equal(end[0], last[0])
    assert whole_bytes - own >= own and pieces_bytes - own < own / 100
    (truth,), (found,) = (torch.autograd.grad(o, x, g) for o in (whole, pieces))
    assert torch.equal(truth, found) and float(truth.abs().sum()) > 0


def test_the_memory_mode_of_a_neuron_is_that_of_its_scan():
    x, g = (0.6 * torch.randn(40, 8, 64)).requires_grad_(), torch.randn(40, 8, 64)
    found, bytes_kept = {}, {}
    for memory in ("float32", "bfloat16", "recompute"):
        n = block(64, memory=memory)
        size, (out, _) = kept(lambda n=n: n(x))
        bytes_kept[memory] = size / (4 * x.numel())
        (found[memory],) = torch.autograd.grad(out, x, g)
    assert torch.equal(found["float32"], found["recompute"])
    assert not torch.equal(found["float32"], found["bfloat16"])
    # spikes and voltages; spikes and half of the voltages; the caller's input
    assert [round(bytes_kept[m], 1) for m in ("float32", "bfloat16", "recompute")] == [2.0, 1.5, 1.0]
    with pytest.raises(ns.UnknownName, match=r"LIF\.memory"):
        block(memory="float16")
