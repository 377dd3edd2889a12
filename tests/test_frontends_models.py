"""Whole models of Norse and snnTorch: readouts with weights of their own, images, and what comes back from disk."""

import pytest
import torch
from torch import nn

import neurospin as ns
from neurospin.runs.checkpoint import load, save
from tests.frontends_tools import exact_, inputs, quiet
from tests.test_frontends_norse import double, run

norse, snn = quiet("norse.torch"), quiet("snntorch")
pytestmark = pytest.mark.filterwarnings("ignore")
DT = 2.0**-10


def lif(threshold=0.3):
    values = {"tau_mem_inv": torch.tensor(2.0**7), "tau_syn_inv": torch.tensor(2.0**8), "v_th": torch.tensor(threshold)}
    return norse.LIFCell(norse.LIFParameters(**values), dt=DT)


def box(threshold=0.3):
    values = {"tau_mem_inv": torch.tensor(2.0**7), "v_th": torch.tensor(threshold)}
    return norse.LIFBoxCell(norse.LIFBoxParameters(**values), dt=DT)


class Readout(nn.Module):
    """The LI readout of Norse that holds its own weights, in a loop over time."""

    def __init__(self):
        super().__init__()
        from norse.torch.module.leaky_integrator import LILinearCell

        p = norse.LIParameters(tau_syn_inv=torch.tensor(2.0**8), tau_mem_inv=torch.tensor(2.0**7))
        self.fc, self.lif, self.out = nn.Linear(6, 8), lif(), LILinearCell(8, 3, p, dt=DT)

    def forward(self, x):
        first = second = None
        found = []
        for step in x:
            spikes, first = self.lif(self.fc(step), first)
            voltage, second = self.out(spikes, second)
            found.append(voltage)
        return torch.stack(found)


def test_a_readout_with_its_own_weights_is_carried():
    g = torch.Generator().manual_seed(0)
    model, x = exact_(Readout(), g), inputs(g, 50, 4, 6)
    network = ns.from_norse(model, sample_input=x)
    assert [type(block).__name__ for _, block in network.named_blocks()] == ["Dense", "CubaLIF", "Dense", "CubaLI"]
    there = torch.from_numpy(ns.simulate(ns.to_graph(network), x.numpy(), dtype="float64").output)
    model, x = double(model), x.double()
    theirs = model(x)
    assert float(theirs.abs().max()) > 0.1
    torch.testing.assert_close(network.double()(x).output, theirs, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(there, theirs, rtol=1e-5, atol=1e-6)


def images(lift):
    layers = [
        nn.Conv2d(1, 4, 3, padding=1), box(), nn.AvgPool2d(2), nn.Conv2d(4, 6, 3, stride=2), lif(), nn.Flatten(),
        nn.Linear(6, 5), box(0.1),
    ]  # fmt: skip
    model = norse.SequentialState(*layers)
    return norse.Lift(model) if lift else model


@pytest.mark.parametrize("lift", [False, True])
def test_images_through_norse_are_carried(lift):
    g = torch.Generator().manual_seed(1)
    model, x = exact_(images(lift), g), inputs(g, 50, 4, 1, 8, 8)
    network = ns.from_norse(model, sample_input=x if lift else x[0])
    run_ours = network.double()(x.double(), record=("spikes",))
    assert torch.equal(run_ours.output, run(double(model), x.double()))
    assert all(0.01 < float(spikes.mean()) < 0.9 for spikes in run_ours.spikes.values())
    graph = ns.to_graph(
        ns.from_norse(exact_(images(lift), torch.Generator().manual_seed(1)), sample_input=x if lift else x[0])
    )
    assert ns.simulate(graph, x.numpy()).output.shape == (50, 4, 5)


NEURONS = [
    lambda: snn.Leaky(0.9, learn_beta=True, learn_threshold=True, init_hidden=True),
    lambda: snn.Leaky(torch.linspace(0.5, 0.9, 9), reset_mechanism="zero", init_hidden=True),
    lambda: snn.Synaptic(0.8, 0.9, reset_delay=False, init_hidden=True),
    lambda: snn.Synaptic(0.8, 0.9, reset_mechanism="zero", init_hidden=True),
    lambda: snn.RLeaky(0.9, linear_features=9, init_hidden=True),
    lambda: snn.Alpha(0.9, 0.4, learn_threshold=True, init_hidden=True),
    lambda: snn.Lapicque(R=1.7, C=2.3, time_step=0.3, init_hidden=True),
    lambda: snn.Leaky(0.9, graded_spikes_factor=0.5, init_hidden=True),
]


@pytest.mark.parametrize("make", NEURONS)
def test_a_carried_network_comes_back_from_disk(make, tmp_path):
    g = torch.Generator().manual_seed(2)
    network = ns.from_snntorch(exact_(nn.Sequential(nn.Linear(6, 9), make()), g))
    x = inputs(g, 30, 4, 6)
    save(network, tmp_path / "n.safetensors")
    again = load(tmp_path / "n.safetensors")
    assert again.config() == network.config()
    run, other = (net(x, record=("voltages",)) for net in (network, again))
    assert torch.equal(run.output, other.output) and 0.01 < float(run.output.mean()) < 0.9
    assert all(torch.equal(run.voltages[name], other.voltages[name]) for name in run.voltages)
    learned = [{name for name, p in net.named_parameters() if p.requires_grad} for net in (network, again)]
    assert learned[0] == learned[1]  # a factor that snnTorch fixes is not learned after loading
