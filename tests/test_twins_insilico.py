"""Most exciting inputs of neurons whose best stimulus is known."""

import numpy as np
import pytest
import torch

from neurospin.errors import InputError
from neurospin.twins import most_exciting_input


def gabor(phase):
    y, x = torch.meshgrid(torch.arange(16.0) - 7.5, torch.arange(16.0) - 7.5, indexing="ij")
    return torch.exp(-(x**2 + y**2) / 18) * torch.cos(0.9 * (x + 0.5 * y) + phase)


FILTERS = torch.stack([gabor(0.0), gabor(torch.tensor(torch.pi / 2))])


def simple(x):
    return torch.nn.functional.softplus((x[:, 0, None] * FILTERS).sum((-1, -2)))


def complex_cell(x):
    return ((x[:, 0, None] * FILTERS).sum((-1, -2)) ** 2).sum(1, keepdim=True)


@pytest.mark.parametrize("blur", [0.0, 0.5])
def test_a_simple_cell_is_excited_most_by_its_filter(blur):
    for unit in (0, 1):
        found = most_exciting_input(simple, (1, 16, 16), unit, norm=3.0, blur=blur)
        assert float(found.norm()) == pytest.approx(3.0, rel=1e-5)
        assert np.corrcoef(found.ravel(), FILTERS[unit].ravel())[0, 1] > (0.95 if blur else 0.999)


def test_a_complex_cell_is_excited_by_the_larger_axis_of_its_energy():
    axes = torch.linalg.eigh(torch.einsum("fi,fj->ij", FILTERS.flatten(1), FILTERS.flatten(1)))
    for seed in range(3):
        found = most_exciting_input(complex_cell, (1, 16, 16), 0, seed=seed, steps=500)
        assert float(complex_cell(found[None])) == pytest.approx(float(axes.eigenvalues[-1]), rel=0.01)


@pytest.mark.parametrize(
    "call",
    [
        lambda: most_exciting_input(simple, (1, 16, 16), 2),
        lambda: most_exciting_input(lambda x: 0 * simple(x), (1, 16, 16), 0),
        lambda: most_exciting_input(simple, (1, 16, 16), 0, norm=0.0),
        lambda: most_exciting_input(lambda x: x, (16,), 0, blur=1.0),
    ],
)
def test_what_cannot_be_excited_is_refused(call):
    with pytest.raises(InputError, match="expected"):
        call()
