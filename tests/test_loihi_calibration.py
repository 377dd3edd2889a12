"""Scales that are shared or each neuron's own, stochastic rounding, and calibration on spikes."""

from __future__ import annotations

from pathlib import Path

import nir
import numpy as np
import pytest
import torch

import neurospin as ns
from hardware_targets.loihi import emulator, quantise
from hardware_targets.loihi.calibrate import calibrate
from hardware_targets.loihi.compiler import CAUSES, compile, layers
from hardware_targets.loihi.quantise import Grid, Scheme
from neurospin.errors import InputError, TargetError, UnknownName
from neurospin.target import get_target

DT = 1e-3
NEURON = ("neuron", "layer")


def graph(seed: int = 0, size: int = 40, inputs: int = 30) -> nir.NIRGraph:
    """A recurrent CubaLIF and a readout; rows of weights differ in size, as trained ones do."""
    rng = np.random.default_rng(seed)

    def full(value: float, n: int = size) -> np.ndarray:
        return np.full(n, value)

    spread = rng.lognormal(0, 0.7, (size, 1))
    nodes = {
        "input": nir.Input({"input": np.array([inputs])}),
        "w": nir.Affine(spread * rng.normal(0.3, 2.0, (size, inputs)), rng.normal(0, 0.3, size)),
        "r": nir.Linear(spread * rng.normal(0, 1.0, (size, size))),
        "cuba": nir.CubaLIF(full(5e-3), full(20e-3), full(1.0), full(0.0), full(0.2), full(0.0)),
        "out": nir.Linear(rng.normal(0, 1.0, (5, size))),
        "li": nir.CubaLI(full(5e-3, 5), full(20e-3, 5), full(1.0, 5), full(0.0, 5)),
        "output": nir.Output({"output": np.array([5])}),
    }
    edges = [
        ("input", "w"),
        ("w", "cuba"),
        ("cuba", "r"),
        ("r", "cuba"),
        ("cuba", "out"),
        ("out", "li"),
        ("li", "output"),
    ]
    return nir.NIRGraph(nodes, edges, metadata={"neurospin": {"dt": DT}})


def spikes(seed: int, steps: int = 60, batch: int = 12, inputs: int = 30) -> np.ndarray:
    return (np.random.default_rng(seed).random((steps, batch, inputs)) < 0.15).astype(np.float32)


def told(made: nir.NIRGraph) -> dict:
    return made.metadata["neurospin"]["quantisation"]["neurons"]


def errors(made: nir.NIRGraph, given: np.ndarray) -> dict[str, float]:
    """Root mean square of each population's error in thresholds, in plain numpy: a second way to what calibration looks at.

    Every population gets the spikes of the exact program, and is reset where that spikes.
    """
    exact, chip = compile(made, DT, ()), compile(made, DT, [c for c in CAUSES if c != "start"])
    names = tuple(p.name for p in exact.populations)
    run = emulator.run(exact, given, (exact.input, *names), (), names)
    found = {}
    for p in chip.populations:
        fired = run.spikes[p.name] if p.spiking else np.zeros_like(run.before_reset[p.name])
        true = run.before_reset[p.name] / exact.population(p.name).scale
        level = p.vth * 64 if p.spiking else 0 * p.vth
        aim = 0.2 if p.spiking else 0.0
        u, v = np.broadcast_to(p.u0, fired.shape[1:]).copy(), np.broadcast_to(p.v0, fired.shape[1:]).copy()
        total, count = 0.0, 0
        for t in range(p.depth, len(given)):
            arriving = np.zeros(fired.shape[1:], np.int64)
            for q in (q for q in chip.projections if q.target == p.name and t > q.delay):
                source = run.spikes[q.source][t - 1 - q.delay].astype(np.int64)
                sums = source @ q.weights.toarray().T.astype(np.int64)
                arriving += sums << q.exponent if q.exponent > 0 else sums >> -q.exponent
            u = np.sign(u) * (np.abs(u) * (4095 - p.du) >> 12) + (arriving << 6)
            v = np.sign(v) * (np.abs(v) * (4096 - p.dv) >> 12) + u + p.bias
            off = (v - level) / p.scale - (true[t] - aim)
            total, count = total + float(np.square(off).sum()), count + off.size
            v = np.where(fired[t] > 0, 0, v)
        found[p.name] = float(np.sqrt(total / count)) / (aim or 1.0)
    return found


@pytest.mark.parametrize("scaling", NEURON)
@pytest.mark.parametrize("rounding", ["nearest", "stochastic"])
def test_calibration_lowers_the_error_of_the_membrane_also_on_other_spikes(scaling: str, rounding: str) -> None:
    plain = graph()
    made = ns.calibrate(plain, spikes(1), "loihi", scaling=scaling, rounding=rounding)
    error = {name: entry["error"] for name, entry in told(made).items()}
    assert errors(made, spikes(1)) == pytest.approx(error, rel=1e-9)
    before = plain if scaling == "neuron" else _with(plain, scaling)
    first, second, other = errors(before, spikes(1)), errors(before, spikes(2)), errors(made, spikes(2))
    least = 0.25 if scaling == "neuron" else 0.95 if rounding == "nearest" else 0.5
    for name in ("cuba", "li"):
        assert error[name] < least * first[name]
        assert other[name] < least * second[name]


def _with(plain: nir.NIRGraph, scaling: str) -> nir.NIRGraph:
    made = graph()
    loihi = get_target("loihi").adjusted(scaling=scaling)  # type: ignore[attr-defined]
    made.metadata["neurospin"]["quantisation"] = {"target": "loihi", **loihi.rounding(plain, DT)}
    return made


def test_scales_of_their_own_are_at_least_as_good_as_a_shared_one() -> None:
    found = {s: told(ns.calibrate(graph(), spikes(1), "loihi", scaling=s))["cuba"]["error"] for s in NEURON}
    assert found["neuron"] < 0.5 * found["layer"]


def test_a_layer_shares_scale_threshold_and_exponents() -> None:
    program = compile(graph(), DT, scheme=Scheme(scaling="layer"))
    for p in program.populations:
        assert np.unique(p.scale).size == np.unique(p.vth).size == np.unique(p.du).size == np.unique(p.dv).size == 1
    own = compile(graph(), DT)
    assert np.unique(own.population("cuba").vth).size > 20
    made = ns.calibrate(graph(), spikes(1), "loihi", scaling="layer")
    assert np.unique(compile(made, DT).population("cuba").vth).size == 1


def test_stochastic_rounding_is_right_in_the_mean_and_never_off_by_a_step() -> None:
    _, (layer, _) = layers(graph(), DT)
    neuron, matrices = layer.neuron, layer.matrices
    grid = layer.laid.grid
    steps = quantise.steps_of(matrices)
    true = matrices[0].data * np.repeat(grid.scale, 30) / 2.0 ** (grid.exponents[0] + 6) / steps[0]
    drawn = []
    for draw in range(1, 401):
        laid = quantise.laid(neuron, matrices, Grid(grid.scale, grid.exponents, np.full(40, draw)))
        drawn.append(laid.weights[0].mantissas.toarray().ravel() / steps[0])
    found = np.array(drawn)
    assert (np.abs(found - true) < 1).all()
    fraction = true - np.floor(true)
    deviation = np.sqrt(fraction * (1 - fraction) / len(found))
    z = (found.mean(0) - true) / np.maximum(deviation, 1e-9)
    far = deviation > 0.003
    assert far.sum() > 1000 and np.abs(z[far]).max() < 4.9 and 0.9 < z[far].std() < 1.1


def test_one_seed_rounds_the_same_and_another_differently() -> None:
    def run(seed: int) -> np.ndarray:
        return ns.deploy(graph(), spikes(3), "loihi", rounding="stochastic", seed=seed, record=["cuba"]).records["cuba"]

    np.testing.assert_array_equal(run(1), run(1))
    assert (run(1) != run(2)).any()
    np.testing.assert_array_equal(
        ns.deploy(graph(), spikes(3), "loihi", seed=1).spikes, ns.deploy(graph(), spikes(3), "loihi", seed=2).spikes
    )


@pytest.mark.parametrize("rounding", ["nearest", "stochastic"])
def test_a_file_carries_the_calibration_to_every_target_that_rounds_so(rounding: str, tmp_path: Path) -> None:
    made = ns.calibrate(graph(), spikes(1), "loihi", rounding=rounding, seed=3)
    ns.write(tmp_path / "g.nir", made)
    program, back = compile(made, DT), compile(ns.read(tmp_path / "g.nir"), DT)
    for p, q in zip(program.projections, back.projections, strict=True):
        assert p.exponent == q.exponent
        np.testing.assert_array_equal(p.weights.toarray(), q.weights.toarray())
    for p, q in zip(program.populations, back.populations, strict=True):
        np.testing.assert_array_equal(p.vth, q.vth)
    assert not [note for note in back.approximations if "anew" in note["what"]]
    assert "quantisation" not in graph().metadata["neurospin"]
    assert ("draw" in told(made)["cuba"]) == (rounding == "stochastic")


def test_weights_that_are_met_exactly_stay_so() -> None:
    torch.manual_seed(0)
    net = ns.Network([ns.Dense(30, 20, weight=ns.Binary(gain=7.3)), ns.LIF(20, 8e-3)], dt=DT)
    for rounding in ("nearest", "stochastic"):
        made = ns.calibrate(ns.to_graph(net), spikes(1), "loihi", rounding=rounding)
        assert not [
            n for n in compile(made, DT, scheme=Scheme(rounding=rounding)).approximations if "weights" in n["what"]
        ]


def test_what_is_wrong_is_told_in_one_line() -> None:
    with pytest.raises(UnknownName, match="neuron"):
        ns.deploy(graph(), spikes(1), "loihi", scaling="network")
    with pytest.raises(UnknownName, match="nearest"):
        ns.calibrate(graph(), spikes(1), "loihi", rounding="down")
    with pytest.raises(TargetError, match="says how it rounds"):
        ns.calibrate(graph(), spikes(1), "reference")
    with pytest.raises(InputError, match="zeros and ones"):
        ns.calibrate(graph(), 0.5 * spikes(1), "loihi")
    other = graph()
    other.metadata["neurospin"]["reset"] = "subtract"
    with pytest.raises(TargetError, match="reset"):
        ns.calibrate(other, spikes(1), "loihi")


def test_the_seed_of_a_calibration_settles_it() -> None:
    one, two = (calibrate(graph(), spikes(1), DT, Scheme(rounding="stochastic", seed=5)) for _ in range(2))
    for name, entry in one["neurons"].items():
        assert all(np.array_equal(entry[key], two["neurons"][name][key]) for key in entry)
