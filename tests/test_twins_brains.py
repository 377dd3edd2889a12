"""Image-computable cores and fitted twins against real recordings."""

import numpy as np
import pytest
import torch
from scipy.io import loadmat

import neurospin as ns
from neurospin.errors import InputError
from neurospin.twins import Convolution, Recurrent, Spikes, Twin, TwinData, fit, gabors, geometry, score, set_filters
from tests.shared_data import shared_data


def test_gabors_are_tuned_to_their_orientation_and_come_in_pairs():
    bank = gabors(6.0, orientations=4, phases=4)
    assert bank.shape == (16, 1, 15, 15)
    np.testing.assert_allclose(bank.sum((1, 2, 3)).numpy(), 0, atol=1e-6)
    np.testing.assert_allclose(bank.abs().sum((1, 2, 3)).numpy(), 1, rtol=1e-5)
    np.testing.assert_allclose(bank[0].numpy(), -bank[2].numpy(), atol=1e-6)  # on and off
    axis = torch.arange(15.0) - 7
    for k in range(4):
        wave = torch.cos(2 * np.pi / 6 * (axis[None] * np.cos(np.pi * k / 4) + axis[:, None] * np.sin(np.pi * k / 4)))
        answer = [float((bank[4 * j, 0] * wave).sum()) for j in range(4)]
        assert int(np.argmax(answer)) == k and answer[k] > 4 * np.delete(answer, k).max()
    with pytest.raises(InputError, match="wavelength ≥ 2"):
        gabors(1.0)
    core = Convolution(16, 15).build((1, 20, 20), 1e-3, seed=0)
    set_filters(core, bank)
    torch.testing.assert_close(core(torch.zeros(3, 1, 1, 20, 20)).output, torch.zeros(3, 1, 16, 20, 20))
    with pytest.raises(InputError, match="match channels"):
        set_filters(core, bank[:4])


@pytest.mark.data
def test_a_spiking_core_is_nearer_to_the_cortex_of_monkeys_than_its_rate_form():
    """The numbers of `experiments/twins/objects92.md`."""
    file = loadmat(shared_data("objects92") / "Kriegeskorte_Neuron2008_supplementalData.mat", simplify_cells=True)
    monkey = file["RDMs_mIT_hIT_fig1"][0]["RDM"]
    colours = np.stack([s["image"] for s in file["stimuli_92objs"]]).astype(np.float32)
    grey = torch.as_tensor(colours.mean(-1) / 255)[:, None]
    grey -= grey[:, :, :1, :1].clone()
    told = {}
    for neuron in ("rate", "lif"):
        core = Convolution(16, 9, stride=2, neuron=neuron, tau_mem=10e-3).build((1, 175, 175), 1e-3, seed=0)
        set_filters(core, 4000 * gabors(4.0))
        (_, synapse), (_, neurons) = core.named_blocks()
        with torch.no_grad():
            rates = neurons(synapse(grey[None]).expand(10, -1, -1, -1, -1).contiguous())[0].mean(0)
            pooled = torch.nn.functional.avg_pool2d(rates, 8).flatten(1).double().numpy()
        told[neuron] = geometry.compare_rdms(geometry.rdm(pooled), monkey, "spearman")
    assert told == pytest.approx({"rate": 0.207, "lif": 0.247}, abs=0.003)


@pytest.mark.data
def test_a_spiking_twin_of_a_population_in_the_piriform_cortex():
    """One fold and one seed of `experiments/twins/piriform.py`."""
    held = np.load(shared_data("piriform") / "aPCx_15_spikes.npz")
    time, trial = held["t_ms"] / 1e3, held["odor"].astype(int) * 10 + held["trial"]
    inside = (time >= 3.5) & (time < 6.5)
    kept = np.bincount(held["unit"][inside], minlength=199) / 450 > 0.5
    inside &= kept[held["unit"]]
    row = np.cumsum(kept) - 1
    spikes = Spikes(time[inside] - 3.5, row[held["unit"][inside]], trial[inside], 3.0)
    middle = 3.5 + (np.arange(60) + 0.5) * 0.05
    stimuli = np.zeros((15, 60, 18), np.float32)
    stimuli[np.arange(15), :, np.arange(15)] = (middle > 4) & (middle < 6)
    stimuli[:, :, 15:] = np.stack([middle > 0, (middle > 3.8) & (middle < 4), (middle > 4) & (middle < 4.2)], axis=1)
    repeat = np.tile(np.arange(10), 15)
    table = {"stimulus": np.repeat(np.arange(15), 10), "tier": np.where(np.isin(repeat, (1, 4, 7)), "test", "train")}
    data = TwinData(table, stimuli, spikes)
    found = fit(Twin(Recurrent(64, "lif"), dt=0.05), data, seed=0, iterations=200, weight_decay=1.0)
    assert found.model.parameter_count() == pytest.approx(14_087, rel=0.001)
    scores = score(found, data, dt=0.1)
    assert np.median(scores.cc_norm[scores.reliable()]) > 0.83
    assert score(found, data).means()["bits_per_spike"] > 0.035
    assert ns.check(ns.to_graph(found.model.core), "loihi") == []
