"""Norse models carried over: every spike, in float64 where only the order of rounding differs."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import neurospin as ns
from neurospin.network import Recurrent
from neurospin.neurons import DiscreteLIF
from tests.frontends_tools import exact_, inputs, quiet

norse = quiet("norse.torch")
pytestmark = pytest.mark.filterwarnings("ignore")
KINDS = ["LIFCell", "LIF", "LIFBoxCell", "IAFCell", "IAF", "LICell", "LI", "LIBoxCell", "LSNNCell", "LSNN"]
SPIKING = [k for k in KINDS if not k.startswith("LI") or k.startswith("LIF")]
PARAMETERS = {"LIF": "LIF", "LIFBox": "LIFBox", "IAF": "IAF", "LI": "LI", "LIBox": "LIBox", "LSNN": "LSNN"}


def run(model, x):
    """A Norse model on a sequence, step by step where it takes steps."""
    if any(isinstance(m, norse.Lift | norse.LIF | norse.LI | norse.IAF | norse.LSNN | norse.LIFRecurrent)
           for m in model.modules()):  # fmt: skip
        return model(x)[0]
    state, out = None, []
    for t in x:
        y, state = model(t, state)
        out.append(y)
    return torch.stack(out)


def double(model):
    """In float64, constants as they are: Norse keeps them outside its parameters."""
    for m in model.double().modules():
        if hasattr(m, "p"):
            m.p = type(m.p)(*[v.detach().double() if isinstance(v, torch.Tensor) else v for v in m.p])
    return model


@st.composite
def cells(draw, kinds=KINDS):
    """A neuron of Norse whose inverse time constants are powers of two: 1/τ is then exact in float32."""
    kind = draw(st.sampled_from(kinds))
    name = kind.removesuffix("Cell")
    values = {}
    size = draw(st.sampled_from([(), (7,)])) if kind in ("LIFCell", "LIFBoxCell", "LIBoxCell") else ()
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))

    def number(low, high):
        return low + (high - low) * torch.rand(size, generator=generator)

    if name != "IAF":
        values["tau_mem_inv"] = torch.full(size, 2.0 ** draw(st.integers(5, 9)))
    if name in ("LIF", "LI", "LSNN"):
        values["tau_syn_inv"] = torch.full(size, 2.0 ** draw(st.integers(6, 9)))
    if kind in SPIKING:
        rest = float(draw(st.sampled_from([0.0, 0.0, -0.25])))
        if name != "IAF":
            values["v_leak"] = torch.full(size, rest)
        values["v_th"], values["v_reset"] = number(0.1, 0.6), rest - number(0.0, 0.3)
    if name == "LSNN":
        values |= {"tau_adapt_inv": torch.tensor(2.0**5), "beta": number(0.05, 0.4)}
        values["v_leak"], values["v_reset"] = torch.tensor(0.0), -number(0.0, 0.3)
    return getattr(norse, kind)(getattr(norse, f"{name}Parameters")(**values), dt=2.0**-10), generator


@settings(max_examples=60, deadline=None)
@given(cells())
def test_every_spike_and_every_voltage_of_every_neuron_is_carried(drawn):
    cell, g = drawn
    model = exact_(norse.SequentialState(nn.Linear(5, 7), cell, nn.Linear(7, 4)), g)
    x = inputs(g, 40, 6, 5)
    network = ns.from_norse(model)
    assert network.dt == 2.0**-10
    ours, theirs = network.double()(x.double()).output, run(double(model), x.double())
    torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-11)


@settings(max_examples=30, deadline=None)
@given(cells([kind for kind in SPIKING if not kind.startswith("LSNN")]))
def test_in_float32_a_spike_differs_only_where_rounding_meets_the_threshold(drawn):
    cell, g = drawn
    model, x = exact_(norse.SequentialState(nn.Linear(5, 7), cell), g), inputs(g, 40, 6, 5)
    network = ns.from_norse(model)
    ours, theirs = network(x).output, run(model, x)
    wrong = ours != theirs
    wide = ns.from_norse(model).double()
    name = list(network.neurons())[-1]
    free = copy.deepcopy(wide.neurons()[name])
    free.v_threshold.fill_(1e9)  # the voltage before the reset
    for b, n in wrong.any(0).nonzero().tolist():
        t = int(wrong[:, b, n].float().argmax())
        before = wide(x[:t].double()).state[name] if t else None
        current = wide.named_blocks()[0][1](x[t : t + 1].double())
        voltage = free.scan(current, before, voltage=True).voltage
        threshold = wide.neurons()[name].v_threshold.expand(7)[n]
        assert abs(float(voltage[0, b, n] - threshold)) < 2e-6


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(["LIFRecurrentCell", "LIFRecurrent", "LSNNRecurrentCell", "LSNNRecurrent"]), st.integers(0, 2**31)
)
def test_recurrence_is_carried(kind, seed):
    g = torch.Generator().manual_seed(seed)
    name = "LSNN" if kind.startswith("LSNN") else "LIF"
    values = {"tau_mem_inv": torch.tensor(128.0), "tau_syn_inv": torch.tensor(256.0), "v_th": torch.tensor(0.31)}
    p = getattr(norse, f"{name}Parameters")(**values)
    weights = {"input_weights": torch.randint(-20, 40, (7, 5), generator=g) / 64,
               "recurrent_weights": torch.randint(-40, 40, (7, 7), generator=g) / 64}  # fmt: skip
    weights = {key: nn.Parameter(value) for key, value in weights.items()}
    model = norse.SequentialState(getattr(norse, kind)(5, 7, p, dt=2.0**-10, **weights))
    x = inputs(g, 40, 6, 5)
    network = ns.from_norse(model, sample_input=x[:3] if "Cell" not in kind else x[0])
    theirs = run_recurrent(double(model), x.double(), "Cell" in kind)
    assert theirs.sum() > 0 and torch.equal(network.double()(x.double()).output, theirs)


def run_recurrent(model, x, steps):
    if not steps:
        return model(x)[0]
    state, out = None, []
    for t in x:
        y, state = model(t, state)
        out.append(y)
    return torch.stack(out)


def test_gradients_are_norses():
    g = torch.Generator().manual_seed(3)
    model = exact_(norse.SequentialState(nn.Linear(5, 7), norse.LIF(), nn.Linear(7, 3), norse.LI()), g)
    network, x = ns.from_norse(model), inputs(g, 30, 4, 5)
    cotangent = torch.randn(30, 4, 3)
    (model(x)[0] * cotangent).sum().backward()
    (network(x).output * cotangent).sum().backward()
    for (_, block), layer in zip(network.named_blocks()[::2], list(model)[::2], strict=True):
        scale = float(layer.weight.grad.abs().max())
        torch.testing.assert_close(block.stored.grad, layer.weight.grad, rtol=1e-4, atol=1e-5 * scale)


@pytest.mark.parametrize(
    "neuron",
    [
        lambda: ns.LIF(9, 8e-3),
        lambda: ns.LIF(9, 8e-3, v_reset=-0.2, r=2.0),
        lambda: ns.LIF(9, 8e-3, reset="subtract"),
        lambda: ns.IF(9, r=2.0**10),
        lambda: ns.CubaLIF(9, 8e-3, 4e-3, w_in=5.0),
        lambda: Recurrent(ns.CubaLIF(9, 8e-3, 4e-3, w_in=5.0), ns.Dense(9, 9)),
        lambda: ns.CubaLI(9, 8e-3, 4e-3, w_in=4e-3 * 2**10),
        lambda: ns.LI(9, 8e-3),
        lambda: DiscreteLIF(9, 0.75),
    ],
)
def test_to_norse_and_back(neuron):
    g = torch.Generator().manual_seed(5)
    network = ns.Network([ns.Dense(6, 9), neuron()], dt=2.0**-10)
    for name, block in network.named_blocks():
        if isinstance(block, ns.Dense):
            block.stored.data = (
                torch.randint(-20 if "rec" not in name else -40, 60, block.stored.shape, generator=g) / 64
            )
    model, x = ns.to_norse(network), inputs(g, 40, 5, 6)
    ours = network(x).output
    assert ours.abs().sum() > 10
    torch.testing.assert_close(model(x)[0], ours, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ns.from_norse(model)(x).output, ours, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("model", "word"),
    [
        (lambda: norse.SequentialState(nn.Linear(2, 3), norse.LIFCell(norse.LIFParameters(method="adjoint"))), "adjoint"),
        (lambda: norse.SequentialState(nn.Linear(2, 3), norse.LICell(norse.LIParameters(v_leak=torch.tensor(0.5)))), "v_leak"),
        (lambda: norse.SequentialState(nn.Linear(2, 3), norse.LIFCell(dt=1e-3), norse.LIFCell(dt=2e-3)), "dt"),
        (lambda: norse.SequentialState(nn.Linear(2, 3), norse.LIFAdExCell()), "LIFAdExCell"),
        (lambda: nn.Linear(2, 3), "Norse neurons"),
    ],
)  # fmt: skip
def test_what_cannot_be_carried_is_refused_by_name(model, word):
    with pytest.raises(ns.InputError, match=word):
        ns.from_norse(model())


@pytest.mark.parametrize(
    ("neuron", "word"),
    [(lambda: ns.ALIF(3), "ALIF"), (lambda: ns.LIF(3, v_leak=-0.1), "v_leak"), (lambda: ns.LIF(3, learn=["tau_mem"]), "learn"),
     (lambda: ns.LI(3, r=2.0), "gain"), (lambda: DiscreteLIF(3, reset="subtract next"), "reset")],
)  # fmt: skip
def test_to_norse_refuses_by_name(neuron, word):
    with pytest.raises(ns.InputError, match=word):
        ns.to_norse(ns.Network([ns.Dense(2, 3), neuron()], dt=1e-3))
