"""Products of a few rows with a matrix in panels, against float64."""

import numpy as np
import pytest

from neurospin.scan.panels import FEW, MANY, panels, times


@pytest.mark.parametrize("rows", [1, FEW, FEW + 1, MANY - 1, MANY, MANY + 1, 2 * MANY + FEW + 1])
@pytest.mark.parametrize(("inner", "columns"), [(1, 1), (3, 15), (70, 16), (33, 17), (512, 65)])
def test_a_product_equals_that_in_double(rows, inner, columns):
    random = np.random.default_rng(rows * inner)
    g, m = (random.standard_normal(shape).astype(np.float32) for shape in ((rows, inner), (inner, columns)))
    y = np.full((rows + 1, columns), np.nan, np.float32)
    packed = panels(m)
    times(g, packed, y[:-1])
    exact = g.astype(float) @ m.astype(float)
    bound = inner * 2.0**-24 * (np.abs(g).astype(float) @ np.abs(m).astype(float))  # of a running sum in float32
    assert (np.abs(y[:-1] - exact) <= bound).all()
    assert np.isnan(y[-1]).all()  # nothing beyond its rows
    assert packed.ctypes.data % 64 == 0 and packed.shape == (-(-columns // 16), inner, 16)


def test_nothing_to_sum_gives_zeros():
    y = np.full((3, 20), np.nan, np.float32)
    times(np.zeros((3, 0), np.float32), panels(np.zeros((0, 20), np.float32)), y)
    assert (y == 0).all()
