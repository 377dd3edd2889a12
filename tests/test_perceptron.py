"""`Perceptron` against torch's own layers, and that what is private to a task is declared, counted and refused."""

import numpy as np
import pytest
import torch
from torch import nn

import neurospin as ns
from neurospin.continual import Perceptron, learn, permuted, shortened
from neurospin.encode import Direct
from neurospin.plasticity import EWC, Kalman, Metaplastic


def seeded():
    return torch.Generator().manual_seed(3)


def test_relu_without_normalisation_is_torch():
    ours = Perceptron([7, 5, 3], generator=seeded())
    torch_ = nn.Sequential(nn.Linear(7, 5, bias=False), nn.ReLU(), nn.Linear(5, 3, bias=False))
    for layer, stored in zip((torch_[0], torch_[2]), ours.stored, strict=True):
        layer.weight.data.copy_(stored)
    x = torch.randn(4, 7)
    assert torch.equal(ours(x), torch_(x))
    assert ours.parameter_count() == 50 and ours.private_parameters == 0 and ours.hidden_state() == {}


def test_binary_layers_with_batch_normalisation_are_those_of_laborieux():
    """Signs of weights and of activations, torch's own BatchNorm1d without running statistics after every layer."""
    ours = Perceptron([7, 5, 3], ns.Binary(), activation="sign", normalisation="batch", generator=seeded())
    norms = [nn.BatchNorm1d(n, track_running_stats=False) for n in (5, 3)]
    x = torch.randn(6, 7)
    hidden = norms[0](x @ ours.stored[0].sign().t() / 7**0.5)
    wanted = norms[1](hidden.sign() @ ours.stored[1].sign().t() / 5**0.5)
    torch.testing.assert_close(ours(x), wanted)
    ours(x).square().sum().backward()
    assert ours.stored[0].grad is not None and bool(ours.stored[0].grad.abs().sum() > 0)
    assert sorted(ours.hidden_state()) == ["dense1", "dense2"]


def test_the_gradient_of_the_sign_is_one_up_to_one():
    net = Perceptron([1, 1, 1], activation="sign")
    for stored in net.stored:
        stored.data.fill_(1.0)
    x = torch.tensor([[-3.0], [-1.0], [0.0], [0.4], [1.5]], requires_grad=True)
    out = net(x)
    assert out[:, 0].tolist() == [-1, -1, 1, 1, 1]
    out.sum().backward()
    assert x.grad is not None and x.grad[:, 0].tolist() == [0, 1, 1, 1, 0]


def test_layer_normalisation_belongs_to_no_task():
    net = Perceptron([6, 4, 3], normalisation="layer", generator=seeded())
    x = torch.randn(5, 6)
    hidden = x @ net.stored[0].t()
    hidden = (hidden - hidden.mean(1, keepdim=True)) / (hidden.var(1, unbiased=False, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(net(x), hidden.relu() @ net.stored[1].t())
    assert torch.equal(net(x)[:1], net(x[:1]))  # no sample depends on another one


def test_private_normalisation_is_counted_and_only_where_the_task_is_told():
    net = Perceptron([64, 8, 10], activation="sign", normalisation="batch", private_tasks=2, generator=seeded())
    assert net.private_parameters == 2 * (8 + 10)
    assert net.parameter_count() == 64 * 8 + 8 * 10 + 2 * net.private_parameters
    x = torch.rand(9, 64)
    first = net(x)
    net.gains[3].data.fill_(3.0)  # of the last layer, for the second task
    assert torch.equal(net(x), first)
    net.enter(1)
    assert not torch.equal(net(x), first)
    rule = Metaplastic(net.parameters())
    with pytest.raises(ns.InputError, match="private_tasks: expected 0"):
        learn(net, permuted("digits", 2), rule, encode=Direct(1))
    with pytest.raises(ns.InputError, match="expected 0 to 1, got 2"):
        learn(net, permuted("digits", 3, scenario="task"), rule, encode=Direct(1))
    kept = [p.detach().clone() for p in net.gains[:2]]
    learn(net, permuted("digits", 2, scenario="task"), rule, encode=Direct(1), epochs=1, batch_size=500)
    assert all(not torch.equal(a, b) for a, b in zip(kept, net.gains[:2], strict=True))


def test_a_gain_of_another_task_is_not_moved():
    net = Perceptron([64, 8, 10], activation="sign", normalisation="batch", private_tasks=2, generator=seeded())
    learn(
        net, permuted("digits", 1, scenario="task"), Metaplastic(net.parameters()), encode=Direct(1), epochs=1,
        batch_size=500,
    )  # fmt: skip
    assert all(bool((gain == 1).all()) for gain in net.gains[2:])


def test_a_perceptron_learns_a_stream_with_rules_of_every_kind():
    stream = permuted("digits", 2)
    for make in (
        lambda p: Kalman(p, batch_size=50),
        lambda p: EWC(torch.optim.Adam(p, 5e-3), 10.0, fisher="sampled", fisher_samples=50),
    ):
        net = Perceptron([64, 32, 10], generator=seeded())
        found = learn(net, stream, make(net.parameters()), encode=Direct(1), epochs=2, batch_size=50, test="own")
        assert found.learning_accuracy > 0.7  # chance is 0.1
        assert np.isnan(found.accuracy_matrix[0, 1]) and found.forgetting == pytest.approx(-found.backward_transfer)


def test_the_fisher_information_of_a_part_is_that_of_these_samples():
    net = Perceptron([4, 3], generator=seeded())
    x, y = torch.randn(10, 4), torch.arange(10) % 3
    whole = ns.plasticity.Evidence(net, x, y, seed=5)
    part = whole.part(4)
    assert len(part.y) == 4 and whole.part(0) is whole and whole.part(10) is whole
    rows = [int((x == row).all(1).nonzero()) for row in part.x]
    assert torch.equal(part.y, y[rows]) and len(set(rows)) == 4
    p = net(part.x).softmax(-1)
    wanted = torch.stack([(p[:, c] * (1 - p[:, c]))[:, None] * part.x**2 for c in range(3)]).mean(1)
    torch.testing.assert_close(part.fisher("exact")[net.stored[0]], wanted)  # E[p (1 − p) x²], T26


def test_a_short_stream_has_the_same_tests():
    stream = permuted("digits", 2)
    short = shortened(stream, 100, seed=1)
    for task, whole in zip(short.tasks, stream.tasks, strict=True):
        assert task.train_x.shape == (100, 64) and torch.equal(task.test_x, whole.test_x)
        rows = {tuple(row) for row in whole.train_x.tolist()}
        assert all(tuple(row) in rows for row in task.train_x.tolist())
    with pytest.raises(ns.InputError, match=r"shortened\.samples"):
        shortened(stream, 0)


def test_a_constant_current_is_shown_at_every_step_and_computed_once():
    x = torch.rand(3, 6)
    shown = Direct(4)(x)
    assert shown.shape == (4, 3, 6) and shown.data_ptr() == x.data_ptr()
    net = ns.Network([ns.Dense(6, 5, weight=ns.Float(6.0)), ns.LIF(5), ns.Dense(5, 2), ns.LI(2)], dt=1e-3)
    grads = []
    for given in (shown, shown.clone()):
        net.zero_grad()
        run = net(given)
        run.output.square().sum().backward()
        grads.append([run.output.detach(), *(p.grad.clone() for p in net.parameters() if p.grad is not None)])
    for once, every in zip(*grads, strict=True):
        torch.testing.assert_close(once, every)
    with pytest.raises(ns.InputError, match=r"Direct\.steps"):
        Direct(0)


def test_refusals():
    with pytest.raises(ns.InputError, match=r"Perceptron\.sizes"):
        Perceptron([3])
    with pytest.raises(ns.InputError, match=r"Perceptron\.activation"):
        Perceptron([3, 2], activation="tanh")  # type: ignore[arg-type]
    with pytest.raises(ns.InputError, match="normalisation 'batch'"):
        Perceptron([3, 2], private_tasks=2)
    with pytest.raises(ns.InputError, match=r"permuted\.scenario"):
        permuted("digits", scenario="class")
