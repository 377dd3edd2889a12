"""The emulator against lava-nc 0.10, fixed point: every spike and every readout's voltage."""

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from hardware_targets.lava.client import Lava
from hardware_targets.loihi.compiler import compile_graph
from hardware_targets.loihi.emulator import emulate
from tests.graphs import graphs, random_spikes

pytestmark = [pytest.mark.lava, pytest.mark.xdist_group("lava")]
collected = []


@settings(max_examples=80, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(graphs(skips=True, largest=12))
def _collect(made):
    collected.append(made)


def test_every_spike_equals_lava():
    """Feed-forward and recurrent graphs of random sizes, weights, decays, biases and resets."""
    lava = Lava()
    if lava.unavailable():
        pytest.skip(lava.unavailable())
    _collect()
    jobs, spiking = [], 0
    recurrent = [made for made in collected if made.back][:20]
    forward = [made for made in collected if not made.back][-20:]  # the first ones are the simplest
    for number, made in enumerate(recurrent + forward):
        program = compile_graph(made.graph, made.dt)
        spikes = random_spikes(made, 60, 4, seed=number, rate=0.6)
        names = list(program.populations)
        traced = [n for n in names if not program.populations[n].spiking]
        jobs.append((program, spikes, names, traced))
    assert len(recurrent) >= 15 and len(forward) >= 15
    for (program, spikes, names, traced), (fired, voltages) in zip(jobs, lava.execute(jobs), strict=True):
        ours = emulate(program, spikes, names, traced)
        for name in names:
            np.testing.assert_array_equal(ours.spikes[name], fired[name])
            spiking += int(fired[name].sum())
        for name in traced:
            np.testing.assert_array_equal(ours.voltages[name], voltages[name])
    assert spiking > 5000
