"""The emulator against the chip's equations, one neuron and one step at a time in Python integers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hardware_targets.loihi import emulator, fractions
from hardware_targets.loihi.program import Population, Program, Projection


def decayed(value: int, loss: int) -> int:
    """Loses `loss` parts of 4096, cut towards zero."""
    size = (abs(value) * (4096 - loss)) >> 12
    return size if value > 0 else -size


def scalar_run(program: Program, spikes: np.ndarray) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Spikes and voltages of every population for one sample, `(time, size)`."""
    steps = spikes.shape[0]
    out = {program.input: spikes.astype(int).tolist()}
    dense = {id(q): q.weights.toarray() for q in program.projections}
    voltages: dict[str, list[list[int]]] = {}
    state = {}
    for p in program.populations:
        out[p.name], voltages[p.name] = [], []
        state[p.name] = ([int(x) for x in p.u0], [int(x) for x in p.v0])
    for t in range(steps):
        fresh = {}
        for p in program.populations:
            us, vs = state[p.name]
            fired, volts = [], []
            for i in range(p.size):
                arriving = 0
                for q in program.projections:
                    past = t - 1 - q.delay
                    if q.target != p.name or past < 0:
                        continue
                    total = sum(int(w) for w, z in zip(dense[id(q)][i], out[q.source][past], strict=True) if z)
                    arriving += total << q.exponent if q.exponent > 0 else total >> -q.exponent
                u = decayed(us[i], int(p.du[i]) + 1) + (arriving << 6)
                if u > 2**23:
                    u -= 2**24
                elif u <= -(2**23):
                    u += 2**24
                v = decayed(vs[i], int(p.dv[i])) + u + (int(p.bias_mant[i]) << int(p.bias_exp[i]))
                v = max(min(v, 2**23 - 1), -(2**23) + 1)
                spike = v > int(p.vth[i]) << 6
                us[i], vs[i] = u, 0 if spike else v
                fired.append(int(spike))
                volts.append(vs[i])
            fresh[p.name] = fired
            voltages[p.name].append(volts)
        for name, fired in fresh.items():
            out[name].append(fired)
    names = [p.name for p in program.populations]
    return {n: np.array(out[n]) for n in names}, {n: np.array(voltages[n]) for n in names}


def population(name: str, size: int, **registers: int) -> Population:
    given = {"du": 4095, "dv": 0, "vth": 10, "bias_mant": 0, "bias_exp": 0, "u0": 0, "v0": 0, **registers}
    arrays = {key: np.full(size, value) for key, value in given.items()}
    return Population(name, (size,), True, 1, **arrays, scale=np.ones(size), zero=np.zeros(size))


def random_program(rng: np.random.Generator) -> Program:
    """Two populations, each projecting to both, with registers up to their very ends."""
    sizes = {"input": 5, "a": 4, "b": 3}
    populations = []
    for name in ("a", "b"):
        n = sizes[name]
        arrays = {
            "du": rng.choice([0, 1, 400, 2047, 4094, 4095], n), "dv": rng.choice([0, 1, 300, 2048, 4095], n),
            "vth": rng.choice([0, 1, 500, 20_000, 131_071], n), "bias_mant": rng.integers(-4096, 4096, n),
            "bias_exp": rng.integers(0, 8, n), "u0": rng.integers(-(2**23) + 1, 2**23, n),
            "v0": rng.integers(-(2**23) + 1, 2**23, n),
        }  # fmt: skip
        populations.append(Population(name, (n,), True, 1, **arrays, scale=np.ones(n), zero=np.zeros(n)))
    projections = []
    for source in sizes:
        for target in ("a", "b"):
            shape = (sizes[target], sizes[source])
            sign = rng.integers(3)
            full = 2 * rng.integers(-128, 128, shape) if sign == 2 else (1 - 2 * sign) * rng.integers(0, 256, shape)
            exponent = int(rng.integers(-8, 8))
            projections.append(Projection(source, target, full, exponent, int(rng.integers(0, 3))))
    return Program(1e-3, "input", (5,), "b", (3,), tuple(populations), tuple(projections), ())


@pytest.mark.parametrize("seed", range(12))
def test_every_spike_and_voltage_equals_scalar_integers(seed: int) -> None:
    rng = np.random.default_rng(seed)
    program = random_program(rng)
    spikes = (rng.random((40, 3, 5)) < 0.4).astype(np.uint8)
    result = emulator.run(program, spikes, ("a", "b"), ("a", "b"))
    for sample in range(3):
        fired, voltages = scalar_run(program, spikes[:, sample])
        for name in ("a", "b"):
            assert np.array_equal(result.spikes[name][:, sample], fired[name])
            assert np.array_equal(result.voltages[name][:, sample], voltages[name])


def test_random_programs_reach_wraps_clips_and_spikes() -> None:
    """Without these the comparison above would say little."""
    fired, clipped = 0, 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        program = random_program(rng)
        result = emulator.run(program, (rng.random((40, 3, 5)) < 0.4).astype(np.uint8), ("a",), ("a", "b"))
        fired += int(result.spikes["a"].sum())
        clipped += sum(int((np.abs(v) == 2**23 - 1).sum()) for v in result.voltages.values())
    assert fired > 500
    assert clipped > 20


def one_neuron(weight: int, exponent: int, **registers: int) -> Program:
    synapse = Projection("input", "n", np.array([[weight]]), exponent, 0)
    return Program(1e-3, "input", (1,), "n", (1,), (population("n", 1, **registers),), (synapse,), ())


def voltages_of(program: Program, spikes: list[int]) -> list[int]:
    array = np.array(spikes, np.uint8).reshape(-1, 1, 1)
    return emulator.run(program, array, (), ("n",)).voltages["n"].ravel().tolist()


@pytest.mark.parametrize(
    ("weights", "bias", "current"),
    [
        ([128] * 8 + [0], -4096, 2**23),  # 2^23 stays
        ([128] * 8 + [1], 4095, -(2**23) + 2**13),  # more comes in from below
        ([-128] * 8 + [0], -4096, 2**23),  # -2^23 does not stay
        ([-128] * 8 + [-1], -4096, 2**23 - 2**13),
        ([-128] * 7 + [-127, 0], 4095, -(2**23) + 2**13),
    ],
)
def test_current_wraps_beyond_its_bounds(weights: list[int], bias: int, current: int) -> None:
    neuron = population("n", 1, bias_mant=bias, bias_exp=7, vth=131_071, dv=4095)
    synapses = Projection("input", "n", np.array([weights]), 7, 0)
    program = Program(1e-3, "input", (9,), "n", (1,), (neuron,), (synapses,), ())
    spikes = np.zeros((2, 1, 9), np.uint8)
    spikes[0] = 1
    voltage = emulator.run(program, spikes, (), ("n",)).voltages["n"].ravel().tolist()
    assert voltage[1] == decayed(bias << 7, 4095) + current + (bias << 7)


def test_negative_exponent_cuts_towards_minus_infinity() -> None:
    assert voltages_of(one_neuron(-3, -1, vth=100), [1, 0]) == [0, -2 << 6]
    assert voltages_of(one_neuron(3, -1, vth=100), [1, 0]) == [0, 1 << 6]


def test_threshold_is_strict_and_reset_is_in_the_same_step() -> None:
    program = one_neuron(10, 0, vth=10)
    array = np.array([1, 1, 0, 0], np.uint8).reshape(-1, 1, 1)
    result = emulator.run(program, array, ("n",), ("n",))
    assert result.spikes["n"].ravel().tolist() == [0, 0, 1, 0]
    assert result.voltages["n"].ravel().tolist() == [0, 640, 0, 0]


def test_decays_cut_towards_zero_for_both_signs() -> None:
    for start in (1001, -1001):
        expected = decayed(decayed(start, 410), 410)
        assert voltages_of(one_neuron(0, 0, v0=start, dv=410, vth=100), [0, 0])[1] == expected


@pytest.mark.parametrize("whole", [True, False])
def test_samples_do_not_meet_and_parts_change_nothing(whole: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    program = replace(random_program(rng), whole=whole)
    spikes = (rng.random((30, 37, 5)) < 0.4).astype(np.uint8)
    together = emulator.run(program, spikes, ("a", "b"), ("b",))
    monkeypatch.setattr(fractions, "CHUNK_BYTES", 2 * 8 * 30 * 4)
    parts = emulator.run(program, spikes, ("a", "b"), ("b",))
    for sample in (0, 4, 15, 16, 36):
        alone = emulator.run(program, spikes[:, sample : sample + 1], ("a", "b"), ("b",))
        assert np.array_equal(together.voltages["b"][:, sample : sample + 1], alone.voltages["b"])
    assert np.array_equal(together.spikes["b"], parts.spikes["b"])
    assert np.array_equal(together.voltages["b"], parts.voltages["b"])
    assert together.operations == parts.operations
    assert together.spikes["b"].any()


def test_sparse_wide_and_delayed_projections_equal_scalar_integers() -> None:
    """Lists instead of rows, sums beyond 15 bits, populations that are no multiple of eight."""
    rng = np.random.default_rng(0)
    few = rng.integers(-120, 120, (19, 300)) * 2 * (rng.random((19, 300)) < 0.05)
    many = rng.integers(0, 256, (19, 300))
    for exponent, delay in ((2, 0), (-3, 5)):
        synapses = (
            Projection("input", "n", few, exponent, delay),
            Projection("input", "n", many, -6, 0),
            Projection("n", "n", -rng.integers(0, 256, (19, 19)), 1, delay),
        )
        neurons = population("n", 19, du=900, dv=200, vth=9000)
        program = Program(1e-3, "input", (300,), "n", (19,), (neurons,), synapses, ())
        spikes = (rng.random((40, 2, 300)) < 0.5).astype(np.uint8)
        result = emulator.run(program, spikes, ("n",), ("n",), ("n",))
        for sample in range(2):
            fired, voltages = scalar_run(program, spikes[:, sample])
            assert np.array_equal(result.spikes["n"][:, sample], fired["n"])
            assert np.array_equal(result.voltages["n"][:, sample], voltages["n"])
        assert 0.01 < result.spikes["n"].mean() < 0.9
        assert np.array_equal(np.where(result.spikes["n"], 0, result.before_reset["n"]), result.voltages["n"])


def test_operations_are_counted_spike_by_spike() -> None:
    rng = np.random.default_rng(5)
    program = random_program(rng)
    spikes = (rng.random((30, 2, 5)) < 0.4).astype(np.uint8)
    result = emulator.run(program, spikes, ("a", "b"))
    fired = {"input": spikes, **result.spikes}
    synaptic = 0
    for projection in program.projections:
        for _, _, source in np.argwhere(fired[projection.source]):
            synaptic += int((projection.weights.toarray()[:, source] != 0).sum())
    assert result.operations["synaptic"] == synaptic
    assert result.operations["neuron_updates"] == 30 * 2 * 7
    assert result.operations["spikes"] == sum(int(result.spikes[n].sum()) for n in ("a", "b"))
