"""Image-computable cores and fitted twins against real recordings."""

import numpy as np
import pytest
import torch

import neurospin as ns
from experiments.twins import objects92, piriform
from neurospin.errors import InputError
from neurospin.twins import Convolution, Recurrent, Twin, fit, gabors, geometry, score, set_filters
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
    shown, monkey, _, _ = objects92.images(shared_data("objects92"))
    told = {}
    for neuron in ("rate", "lif"):
        patterns = objects92.core(neuron, 4000.0)[0](shown)[0]
        told[neuron] = geometry.compare_rdms(geometry.rdm(patterns), monkey, "spearman")
    assert told == pytest.approx({"rate": 0.207, "lif": 0.247}, abs=0.003)


@pytest.mark.data
def test_a_spiking_twin_of_a_population_in_the_piriform_cortex():
    """One fold and one seed of `experiments/twins/piriform.py`."""
    data = piriform.recording(shared_data("piriform") / "aPCx_15_spikes.npz")
    data = piriform.tiers(data, piriform.FOLDS[1])
    found = fit(Twin(Recurrent(64, "lif"), dt=0.05), data, seed=0, iterations=200, weight_decay=1.0)
    assert found.model.parameter_count() == pytest.approx(14_087, rel=0.001)
    scores = score(found, data, dt=0.1)
    assert np.median(scores.cc_norm[scores.reliable()]) > 0.83
    assert score(found, data).means()["bits_per_spike"] > 0.035
    assert ns.check(ns.to_graph(found.model.core), "loihi") == []
