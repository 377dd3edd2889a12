"""Accelerated models: the same spikes, membranes and gradients as the user's own loop."""

import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional

import neurospin as ns
from tests.frontends_tools import exact_, inputs, quiet

snn, norse = quiet("snntorch"), quiet("norse.torch")
surrogate, utils = quiet("snntorch.surrogate"), quiet("snntorch.utils")
pytestmark = pytest.mark.filterwarnings("ignore")


def once(neuron, current, state):
    """Spikes and the states to hand on, in the neuron's own order; a recurrent one takes its spikes as well."""
    results = neuron(current, *(state if isinstance(state, tuple) else (state,)))
    return results[0], results if isinstance(neuron, snn.RLeaky | snn.RSynaptic) else results[1:]


class Tutorial(nn.Module):
    """A loop over time with hand-passed states that returns spikes and membranes."""

    def __init__(self, one, two, static=False):
        super().__init__()
        self.fc1, self.lif1, self.fc2, self.lif2, self.static = nn.Linear(6, 9), one, nn.Linear(9, 4), two, static

    def forward(self, x):
        state1, state2 = self.lif1.reset_mem(), self.lif2.reset_mem()
        spikes, membranes = [], []
        for step in range(15):
            cur = self.fc1(x if self.static else x[step])
            spk, state1 = once(self.lif1, cur, state1)
            spk, state2 = once(self.lif2, self.fc2(spk), state2)
            spikes.append(spk)
            membranes.append(state2[-1])
        return torch.stack(spikes), torch.stack(membranes)


def same(model, fast, x, call=None):
    """Spikes (and membranes) equal, gradients to 1e-5 of the largest."""
    theirs, ours = (call or model)(x), fast(x)
    pairs = list(zip(theirs, ours, strict=True)) if isinstance(theirs, tuple) else [(theirs, ours)]
    cotangents = [torch.randn_like(a) for a, _ in pairs]
    for k, (a, b) in enumerate(pairs):
        assert torch.equal(a, b) if k == 0 else torch.allclose(a, b, rtol=1e-6, atol=1e-6)
        assert float(a.abs().sum()) > 0
    gradients = []
    for results in zip(*pairs, strict=True):
        model.zero_grad()
        sum((r * c).sum() for r, c in zip(results, cotangents, strict=True)).backward()
        gradients.append({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys() and gradients[0]
    for name, g in gradients[0].items():
        scale = float(g.abs().max()) + 1e-12
        torch.testing.assert_close(gradients[1][name], g, rtol=1e-4, atol=1e-5 * scale, msg=name)


def graded(neuron):
    neuron.graded_spikes_factor = torch.tensor(2.0)
    return neuron


CASES = list(itertools.product(["zero", "subtract", "none"], [True, False]))


@pytest.mark.parametrize(("mechanism", "delay"), CASES)
@pytest.mark.parametrize("kind", ["Leaky", "Synaptic", "RLeaky", "RSynaptic"])
def test_a_loop_of_the_user_is_reproduced(kind, mechanism, delay):
    g = torch.Generator().manual_seed(2)
    if kind == "RSynaptic" and not delay:
        pytest.skip("snnTorch itself cannot run it")
    options = {"reset_mechanism": mechanism, "reset_delay": delay, "threshold": 0.7, "learn_beta": True}
    options |= {"learn_threshold": True, **({"linear_features": 9} if kind.startswith("R") else {})}
    one = getattr(snn, kind)(*((0.8,) if kind.endswith("Synaptic") else ()), 0.9, **options)
    two = snn.Leaky(torch.full((4,), 0.8), learn_beta=True, threshold=0.5, reset_mechanism=mechanism, reset_delay=delay)
    model = exact_(Tutorial(one, two), g)
    x = inputs(g, 15, 5, 6)
    fast = ns.accelerate(model, x)
    assert set(map(id, fast.parameters())) == set(map(id, model.parameters()))
    told = fast.report["lif1"]
    blocked = mechanism == "subtract" and not delay
    blocked = blocked or (kind != "Leaky" and mechanism == "zero" and delay)  # its threshold is learned
    blocked = blocked or (kind.startswith("R") and mechanism == "none")
    assert told.startswith("left alone") if blocked else told == "fused"
    same(model, fast, x)


@pytest.mark.parametrize(
    "spike_grad",
    [surrogate.atan(alpha=3.0), surrogate.fast_sigmoid(slope=10), surrogate.sigmoid(slope=5), surrogate.triangular(),
     surrogate.straight_through_estimator(), surrogate.spike_rate_escape(), surrogate.SFS(slope=5, B=0.1)],
)  # fmt: skip
def test_surrogates_are_snntorchs(spike_grad):
    g = torch.Generator().manual_seed(2)
    one, two = snn.Leaky(0.9, spike_grad=spike_grad), snn.Leaky(0.8, spike_grad=spike_grad)
    model, x = exact_(Tutorial(one, two), g), inputs(g, 15, 5, 6)
    fast = ns.accelerate(model, x)
    assert set(fast.report.values()) == {"fused"}
    same(model, fast, x)


def test_one_input_at_every_step_and_graded_spikes():
    g = torch.Generator().manual_seed(2)
    one = snn.Leaky(0.9, graded_spikes_factor=2.0, learn_graded_spikes_factor=True)
    model, x = exact_(Tutorial(one, snn.Alpha(0.9, 0.8), static=True), g), inputs(g, 5, 6)
    fast = ns.accelerate(model, x)
    assert fast.report["lif1"] == "fused" and "two currents" in fast.report["lif2"]
    same(model, fast, x)


def stepped(model):
    """The user's loop over an `nn.Sequential`."""

    def call(x):
        utils.reset(model)
        out = [model(t) for t in x]
        return tuple(map(torch.stack, zip(*out, strict=True)))

    return call


def test_a_sequential_convolutional_model_becomes_one_over_sequences():
    g = torch.Generator().manual_seed(2)
    model = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.MaxPool2d(2), snn.Leaky(0.9, init_hidden=True), nn.Flatten(),
        nn.Linear(27, 4), snn.Leaky(0.8, init_hidden=True, output=True),
    )  # fmt: skip
    exact_(model, g)
    x = inputs(g, 12, 4, 1, 8, 8)
    fast = ns.accelerate(model, x[0])
    assert set(fast.report.values()) == {"fused"}
    same(model, fast, x, stepped(model))


class Functional(nn.Module):
    """As the convolutional tutorial: functional pooling, view, counts."""

    def __init__(self):
        super().__init__()
        self.conv, self.lif1, self.fc, self.lif2 = nn.Conv2d(1, 3, 3), snn.Leaky(0.9), nn.Linear(27, 4), snn.Leaky(0.8)

    def forward(self, x):
        mem1, mem2 = self.lif1.init_leaky(), self.lif2.init_leaky()
        out = []
        for t in range(x.size(1)):
            spk1, mem1 = self.lif1(functional.max_pool2d(self.conv(x[:, t]), 2), mem1)
            spk2, mem2 = self.lif2(self.fc(spk1.view(x.size(0), -1)), mem2)
            out.append(spk2)
        return sum(out)


def test_functional_pooling_batch_first_and_counts():
    g = torch.Generator().manual_seed(2)
    model, x = exact_(Functional(), g), inputs(g, 4, 7, 1, 8, 8)
    same(model, ns.accelerate(model, x), x)


def test_dropout_acts_in_training_only():
    model = nn.Sequential(nn.Linear(6, 9), nn.Dropout(0.5), snn.Leaky(0.9, init_hidden=True))
    fast, x = ns.accelerate(model), torch.ones(200, 8, 6)
    fast.train()
    assert not torch.equal(fast(x), fast(x))
    fast.eval()
    assert torch.equal(fast(x), fast(x)) and not model.training


@pytest.mark.parametrize("kind", ["LIF", "LI", "IAF", "LSNN", "LIFCell", "LIFBoxCell", "LICell"])
def test_norse_models_keep_their_values_and_gradients(kind):
    g = torch.Generator().manual_seed(2)
    cell = getattr(norse, kind)(dt=2.0**-10)
    model = exact_(norse.SequentialState(nn.Linear(6, 9), cell), g, low=-20)
    x = inputs(g, 30, 4, 6)
    if kind.endswith("Cell"):
        model = norse.Lift(model)
    fast = ns.accelerate(model, x)
    assert set(fast.report.values()) == {"fused"}
    theirs, ours = model(x)[0], fast(x)[0]
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    cotangent = torch.randn_like(theirs)
    found = []
    for result in (theirs, ours):
        model.zero_grad()
        (result * cotangent).sum().backward()
        found.append(next(model.parameters()).grad.clone())
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=2e-5 * float(found[0].abs().max()))


@pytest.mark.parametrize("autapses", [True, False])
def test_recurrent_norse_models_keep_their_values_and_gradients(autapses):
    g = torch.Generator().manual_seed(2)
    layer = norse.LIFRecurrent(9, 8, dt=2.0**-10, autapses=autapses)
    model = exact_(norse.SequentialState(nn.Linear(6, 9), layer), g, low=-20)
    if not autapses:
        layer.recurrent_weights.data.fill_diagonal_(0.0)
    x = inputs(g, 30, 4, 6)
    fast = ns.accelerate(model, x)
    assert fast.report == {"1": "fused"}
    assert set(map(id, fast.parameters())) == set(map(id, model.parameters()))
    for step in range(2):  # again after a step of learning: the weights are the user's own
        found = []
        for call in (model, fast):
            model.zero_grad()
            out = call(x)[0]
            (out * torch.arange(8.0)).sum().backward()
            found.append([out.detach(), *(p.grad.clone() for p in model.parameters())])
        assert torch.equal(found[0][0], found[1][0]) and 0 < float(found[0][0].mean()) < 0.5
        for a, b in zip(found[0][1:], found[1][1:], strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=2e-5 * float(a.abs().max()))
            assert step or bool(a.any())
        with torch.no_grad():
            for p in model.parameters():
                p += 2.0**-6 * torch.round(p.grad / p.grad.abs().max() * 8)  # type: ignore[union-attr, operator]


def test_adaptive_norse_recurrence_is_left_alone_and_right():
    model = norse.SequentialState(nn.Linear(6, 5), norse.LSNNRecurrent(5, 4))
    x = (torch.rand(20, 3, 6) < 0.5).float() * 3
    fast = ns.accelerate(model, x)
    assert fast.report["1"].startswith("left alone: LSNNRecurrent")
    assert torch.equal(fast(x)[0], model(x)[0])


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: snn.RLeaky(0.9, all_to_all=False, V=0.5), "RecurrentOneToOne"),
        (lambda: snn.RLeaky(0.9, linear_features=9, reset_mechanism="zero"), "blanks the whole step"),
        (lambda: snn.RLeaky(0.9, linear_features=9, reset_mechanism="none"), "never resets"),
        (lambda: graded(snn.RLeaky(0.9, linear_features=9)), "graded spikes"),
        (lambda: snn.Alpha(0.9, 0.8), "two currents"),
    ],
)
def test_what_feeds_itself_otherwise_is_left_alone_and_right(make, word):
    g = torch.Generator().manual_seed(2)
    model, x = exact_(Tutorial(make(), snn.Leaky(0.8)), g), inputs(g, 15, 5, 6)
    fast = ns.accelerate(model, x)
    assert fast.report["lif1"].startswith("left alone") and word in fast.report["lif1"]
    same(model, fast, x)


@pytest.mark.parametrize(
    ("model", "word"),
    [
        (lambda: nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), snn.Leaky(0.9, init_hidden=True)), "BatchNorm1d"),
        (lambda: nn.Linear(2, 3), "snnTorch or of Norse"),
    ],
)
def test_refusals(model, word):
    with pytest.raises(ns.InputError, match=word):
        ns.accelerate(model())
