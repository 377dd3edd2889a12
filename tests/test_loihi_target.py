"""The compiled network against the graph's own float semantics, written out here in plain numpy."""

from __future__ import annotations

from typing import Any

import nir
import numpy as np
import pytest

from hardware_targets.loihi.compiler import compile
from hardware_targets.loihi.target import target
from neurospin.errors import InputError, TargetError, UnknownName

DT = 1e-3


def ones(n: int, value: float = 1.0) -> np.ndarray:
    return np.full(n, value)


def graph(nodes: dict[str, nir.NIRNode], edges: str, **metadata: Any) -> nir.NIRGraph:
    """Edges as "input>w>lif>output lif>rec>lif"."""
    pairs = [pair for path in edges.split() for pair in zip(path.split(">"), path.split(">")[1:], strict=False)]
    return nir.NIRGraph(nodes, list(dict.fromkeys(pairs)), metadata={"neurospin": {"dt": DT, **metadata}})


def ends(n_in: int, n_out: int) -> dict[str, nir.NIRNode]:
    return {
        "input": nir.Input({"input": np.array([n_in])}),
        "output": nir.Output({"output": np.array([n_out])}),
    }


class Float:
    """One population: forward Euler, strict threshold, reset in the same step; float64."""

    def __init__(self, node: Any, batch: int) -> None:
        self.node, n = node, np.asarray(node.r).size
        self.i, self.v = np.zeros((batch, n)), np.zeros((batch, n))

    def step(self, x: np.ndarray) -> np.ndarray:
        node = self.node
        if hasattr(node, "tau_syn"):
            self.i = self.i + DT / node.tau_syn * (node.w_in * x - self.i)
            x = self.i
        if isinstance(node, nir.IF):
            self.v = self.v + DT * node.r * x
        else:
            tau = node.tau_mem if hasattr(node, "tau_mem") else node.tau
            self.v = self.v + DT / tau * (node.v_leak - self.v + node.r * x)
        if not hasattr(node, "v_threshold"):
            return self.v
        fired = self.v > node.v_threshold
        self.v = np.where(fired, node.v_reset, self.v)
        return fired.astype(float)


def spikes(rng: np.random.Generator, steps: int, batch: int, n: int, rate: float = 0.3) -> np.ndarray:
    return (rng.random((steps, batch, n)) < rate).astype(np.float32)


def run_aligned(g: nir.NIRGraph, x: np.ndarray, latency: int) -> np.ndarray:
    """The target's output for every input step: silence is appended, the latency is cut off."""
    padded = np.concatenate([x, np.zeros((latency, *x.shape[1:]), np.float32)])
    report = target.run(g, padded, dt=DT)
    assert report.latency_steps == latency
    assert report.spikes.shape[:2] == padded.shape[:2]
    return report.spikes[latency:]


@pytest.mark.parametrize("seed", range(4))
def test_binary_integrators_are_exact_with_ties_at_the_threshold(seed: int) -> None:
    rng = np.random.default_rng(seed)
    w = [rng.choice([-1.0, 1.0], (20, 12), p=[0.4, 0.6]), rng.choice([-1.0, 1.0], (8, 20), p=[0.4, 0.6])]
    neurons = [nir.IF(ones(n, 1 / DT), ones(n, 3.0), ones(n, 0.0)) for n in (20, 8)]
    nodes = {
        **ends(12, 8),
        "w0": nir.Linear(w[0]),
        "n0": neurons[0],
        "w1": nir.Linear(w[1]),
        "n1": neurons[1],
    }
    g = graph(nodes, "input>w0>n0>w1>n1>output")
    x = spikes(rng, 80, 6, 12)
    exact = [Float(n, 6) for n in neurons]
    # whole numbers: the float voltage meets the threshold exactly, where a strict comparison must not spike
    met = 0
    expected = []
    for t in range(80):
        hidden = exact[0].step(x[t] @ w[0].T)
        met += int((exact[0].v == 3.0).sum())
        expected.append(exact[1].step(hidden @ w[1].T))
    assert met > 50
    assert 0.02 < np.mean(expected) < 0.9
    assert np.array_equal(run_aligned(g, x, 2), np.array(expected))
    # an integrator without leak has no lowest voltage: that it stops somewhere is told
    assert {a["what"].split(",")[0] for a in compile(g, DT).approximations} == {
        "voltage stops where inhibition goes on"
    }
    assert min(a["size"] for a in compile(g, DT).approximations) > 100


@pytest.mark.parametrize("seed", range(4))
def test_binary_recurrent_network_of_representable_parameters_is_exact(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, c = 32, 0.37
    w, rec = c * rng.choice([-1.0, 1.0], (n, 16)), c * rng.choice([-1.0, 1.0], (n, n))
    node = nir.LIF(ones(n, 16 * DT), ones(n, 2.0), ones(n, 0.0), rng.uniform(0.1, 0.3, n), ones(n, 0.0))
    nodes = {**ends(16, n), "w": nir.Linear(w), "lif": node, "rec": nir.Linear(rec)}
    g = graph(nodes, "input>w>lif>output lif>rec>lif")
    x = spikes(rng, 100, 5, 16)
    exact, back, expected = Float(node, 5), np.zeros((5, n)), []
    for t in range(100):
        back = exact.step(x[t] @ w.T + back @ rec.T)
        expected.append(back)
    assert 0.02 < np.mean(expected) < 0.9
    assert np.array_equal(run_aligned(g, x, 1), np.array(expected))
    told = " ".join(a["what"] for a in compile(g, DT).approximations)
    assert "weights" not in told
    assert "decay" not in told


def test_one_binary_layer_as_wide_as_a_picture_loses_no_bit_of_any_weight() -> None:
    rng = np.random.default_rng(0)
    w = (0.0131 * rng.choice([-1.0, 1.0], (100, 784))).astype(np.float32)
    node = nir.LIF(ones(100, 0.02), ones(100), ones(100, 0.0), ones(100), ones(100, 0.0))
    g = graph({**ends(784, 100), "w": nir.Linear(w), "lif": node}, "input>w>lif>output")
    program = compile(g, DT)
    (synapses,) = program.projections
    assert synapses.exponent >= 0
    assert np.array_equal(np.sign(synapses.weights.toarray()), np.sign(w))
    assert all(np.unique(np.abs(row)).size == 1 for row in synapses.weights.toarray())


@pytest.mark.parametrize("kind", ["lif", "cuba"])
def test_trained_like_network_agrees_in_nearly_every_spike(kind: str) -> None:
    rng = np.random.default_rng(7)
    n, batch, steps = 64, 8, 120
    w, rec = rng.normal(0.1, 0.35, (n, 32)), rng.normal(0, 0.03, (n, n))
    bias, back_bias = rng.normal(0, 0.2, n), rng.normal(0, 0.1, n)
    tau = rng.uniform(5e-3, 3e-2, n)
    shared = (tau, ones(n, 4.0), rng.uniform(-0.1, 0.1, n), ones(n), rng.uniform(-0.2, 0.2, n))
    node = nir.LIF(*shared) if kind == "lif" else nir.CubaLIF(rng.uniform(3e-3, 9e-3, n), *shared)
    readout = nir.LI(ones(4, 0.02), ones(4), ones(4, 0.05))
    w_out = rng.normal(0, 0.3, (4, n))
    nodes = {
        **ends(32, 4), "w": nir.Affine(w, bias), "lif": node, "rec": nir.Affine(rec, back_bias),
        "out": nir.Linear(w_out), "li": readout,
    }  # fmt: skip
    g = graph(nodes, "input>w>lif>out>li>output lif>rec>lif")
    x = spikes(rng, steps, batch, 32, 0.2)
    exact, li, back = Float(node, batch), Float(readout, batch), np.zeros((batch, n))
    hidden, voltage = [], []
    for t in range(steps):
        # a recurrent Affine applies its bias in step 0 too
        back = exact.step(x[t] @ w.T + bias + back @ rec.T + back_bias)
        hidden.append(back)
        voltage.append(li.step(back @ w_out.T))
    report = target.run(g, x, dt=DT, record=["lif"])
    assert report.info["latency"] == {"lif": 1}
    assert report.latency_steps == 2
    assert 0.02 < np.mean(hidden) < 0.5
    differ = report.records["lif"][1:] != np.array(hidden)[:-1]
    # 8-bit weights move single spikes by a step, and the loop hands that on; twice what was measured
    assert differ.mean() < 0.04
    assert differ[:15].mean() < 0.01
    assert (
        abs(differ.shape[0] * np.mean(report.records["lif"][1:]) / np.sum(np.mean(hidden[:-1], axis=(1, 2))) - 1) < 0.01
    )
    error = np.abs(report.spikes[2:] - np.array(voltage)[:-2])
    assert error.mean() < 0.03 * np.abs(voltage).max()


def test_readout_voltage_comes_back_in_model_units() -> None:
    rng = np.random.default_rng(1)
    w = rng.normal(0, 0.3, (6, 10))
    li = nir.CubaLI(ones(6, 4e-3), ones(6, 2e-2), ones(6, 1.5), ones(6, 0.2))
    g = graph({**ends(10, 6), "w": nir.Affine(w, ones(6, 0.1)), "li": li}, "input>w>li>output")
    x = spikes(rng, 60, 3, 10)
    exact = Float(li, 3)
    expected = np.array([exact.step(x[t] @ w.T + 0.1) for t in range(60)])
    got = run_aligned(g, x, 1)
    assert got.dtype == np.float32
    assert np.abs(got - expected).max() < 4e-3 * np.abs(expected).max()


@pytest.mark.parametrize("kind", ["lif", "cuba"])
def test_biases_alone_fire_at_the_aligned_steps_at_any_depth(kind: str) -> None:
    """Populations start early by their depth; their biases must not act earlier for it."""
    n = 5
    drive = np.linspace(1.1, 3.0, n)

    def node() -> nir.NIRNode:
        shared = (ones(n, 16 * DT), ones(n), ones(n, 0.0), ones(n), np.linspace(-0.3, 0.2, n))
        return nir.LIF(*shared) if kind == "lif" else nir.CubaLIF(ones(n, 8 * DT), *shared)

    nodes: dict[str, nir.NIRNode] = ends(n, n)
    for k in range(3):
        nodes[f"w{k}"], nodes[f"n{k}"] = nir.Affine(np.zeros((n, n)), drive + 0.1 * k), node()
    nodes["w1"].weight[:] = np.eye(n) * 0.01  # type: ignore[attr-defined]
    nodes["w2"].weight[:] = np.eye(n) * 0.01  # type: ignore[attr-defined]
    nodes["w0"].weight[:] = np.eye(n) * 0.01  # type: ignore[attr-defined]
    g = graph(nodes, "input>w0>n0>w1>n1>w2>n2>output")
    report = target.run(g, np.zeros((70, 1, n), np.float32), dt=DT, record=["n0", "n1", "n2"])
    exact = [Float(nodes[f"n{k}"], 1) for k in range(3)]
    expected: list[list[np.ndarray]] = [[], [], []]
    for _ in range(70):
        x = np.zeros((1, n))
        for k in range(3):
            x = exact[k].step(x @ nodes[f"w{k}"].weight.T + nodes[f"w{k}"].bias)  # type: ignore[attr-defined]
            expected[k].append(x)
    for k in range(3):
        latency = report.info["latency"][f"n{k}"]
        assert latency == k + 1
        fired = report.records[f"n{k}"]
        assert fired[:latency].sum() == 0
        want = np.array(expected[k])
        assert want.sum() > 10
        first = [int(np.argmax(want[:, 0, j])) for j in range(n)]
        got = [int(np.argmax(fired[latency:, 0, j])) for j in range(n)]
        assert got == first
        assert np.abs(fired[latency:].sum(axis=0) - want[: 70 - latency].sum(axis=0)).max() <= 1


def test_loop_costs_one_step_and_skip_paths_line_up() -> None:
    """One spike in, by two paths of unequal depth: both must arrive together, then echo once a step."""
    relay = nir.IF(ones(1, 1 / DT), ones(1, 0.5), ones(1, 0.0))
    both = nir.IF(ones(1, 1 / DT), ones(1, 1.5), ones(1, 0.0))
    one = nir.Linear(np.ones((1, 1)))
    nodes = {
        **ends(1, 1),
        "a": one,
        "n": relay,
        "b": one,
        "skip": one,
        "m": both,
        "echo": nir.Linear(np.full((1, 1), 2.0)),
    }
    g = graph(nodes, "input>a>n>b>m>output input>skip>m m>echo>m")
    x = np.zeros((12, 1, 1), np.float32)
    x[3] = 1
    got = run_aligned(g, x, 2)
    assert got.ravel().tolist() == [0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1]
    (skip,) = [p for p in compile(g, DT).projections if p.source == "input" and p.target == "m"]
    assert skip.delay == 1


def test_a_loop_over_two_populations_is_late_and_says_so() -> None:
    relay = nir.IF(ones(1, 1 / DT), ones(1, 0.5), ones(1, 0.0))
    one = nir.Linear(np.ones((1, 1)))
    nodes = {**ends(1, 1), "a": one, "n": relay, "b": one, "m": relay, "c": one}
    g = graph(nodes, "input>a>n>b>m>output m>c>n")
    x = np.zeros((9, 1, 1), np.float32)
    x[0] = 1
    # the graph echoes in every step, the chip in every second one
    assert run_aligned(g, x, 2).ravel().tolist() == [1, 0, 1, 0, 1, 0, 1, 0, 1]
    (note,) = [a for a in compile(g, DT).approximations if "loop" in a["what"]]
    assert note["node"] == "n"
    assert note["size"] == 1


def test_a_delay_node_in_the_loop_makes_it_exact() -> None:
    relay = nir.IF(ones(1, 1 / DT), ones(1, 0.5), ones(1, 0.0))
    one = nir.Linear(np.ones((1, 1)))
    nodes = {**ends(1, 1), "a": one, "n": relay, "b": one, "m": relay, "c": nir.Delay(ones(1, 2 * DT))}
    g = graph(nodes, "input>a>n>b>m>output m>c>n")
    x = np.zeros((9, 1, 1), np.float32)
    x[0] = 1
    # two steps of delay and one for the back edge
    assert run_aligned(g, x, 2).ravel().tolist() == [1, 0, 0, 1, 0, 0, 1, 0, 0]
    assert compile(g, DT).approximations == ()


def test_convolution_pooling_scale_and_nesting_are_folded() -> None:
    rng = np.random.default_rng(2)
    kernel = rng.choice([-1.0, 1.0], (3, 1, 3, 3))
    inner = nir.NIRGraph(
        {
            "input": nir.Input({"input": np.array([1, 8, 8])}),
            "conv": nir.Conv2d((8, 8), kernel, 1, 0, 1, 1, np.zeros(3)),
            "output": nir.Output({"output": np.array([3, 6, 6])}),
        },
        [("input", "conv"), ("conv", "output")],
    )
    shape = (3, 3, 3)
    node = nir.IF(np.full(shape, 1 / DT), np.full(shape, 1.4), np.zeros(shape))
    final = nir.IF(ones(2, 1 / DT), ones(2, 1.6), ones(2, 0.0))
    w = rng.choice([-1.0, 1.0], (2, 27))
    nodes = {
        "input": nir.Input({"input": np.array([1, 8, 8])}), "block": inner,
        "pool": nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
        "scale": nir.Scale(np.full(shape, 0.5)), "n": node,
        "flat": nir.Flatten({"input": np.array(shape)}, 0), "w": nir.Linear(w), "m": final,
        "output": nir.Output({"output": np.array([2])}),
    }  # fmt: skip
    g = graph(nodes, "input>block>pool>scale>n>flat>w>m>output")
    x = (rng.random((40, 2, 1, 8, 8)) < 0.3).astype(np.float32)
    v, u, expected = np.zeros((2, 3, 3, 3)), np.zeros((2, 2)), []
    for t in range(40):
        windows = np.lib.stride_tricks.sliding_window_view(x[t, :, 0], (3, 3), axis=(1, 2))
        maps = np.einsum("bxyij,oij->boxy", windows, kernel[:, 0])
        pooled = maps.reshape(2, 3, 3, 2, 3, 2).sum(axis=(3, 5)) * 0.5
        v += pooled
        fired = v > 1.4
        v[fired] = 0
        u += fired.reshape(2, 27) @ w.T
        out = u > 1.6
        u[out] = 0
        expected.append(out)
    assert 0.02 < np.mean(expected) < 0.9
    report = target.run(g, np.concatenate([x, x[:2] * 0]), dt=DT, record=["n"])
    assert report.records["n"].shape == (42, 2, 3, 3, 3)
    assert np.array_equal(report.spikes[2:], np.array(expected))


def test_same_input_same_report_and_samples_do_not_meet() -> None:
    rng = np.random.default_rng(4)
    node = nir.LIF(ones(9, 0.01), ones(9), ones(9, 0.0), ones(9, 0.2), ones(9, 0.0))
    nodes = {**ends(6, 9), "w": nir.Affine(rng.normal(0, 1, (9, 6)), rng.normal(0, 0.1, 9)), "lif": node}
    g = graph(nodes, "input>w>lif>output")
    x = spikes(rng, 30, 5, 6)
    first, second = target.run(g, x, dt=DT, seed=0), target.run(g, x, dt=DT, seed=1)
    assert np.array_equal(first.spikes, second.spikes)
    assert first.to_json() == second.to_json()
    alone = target.run(g, x[:, 2:3], dt=DT)
    assert np.array_equal(first.spikes[:, 2:3], alone.spikes)
    assert first.spikes.sum() > 0


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda x: x * 0.5, InputError, "zeros and ones"),
        (lambda x: x[:, :, :3], InputError, "shape (time, batch, 4)"),
        (lambda x: x * np.nan, InputError, "finite"),
    ],
)
def test_input_that_is_no_spikes_is_refused(change: Any, error: type[Exception], words: str) -> None:
    node = nir.LIF(ones(4, 0.01), ones(4), ones(4, 0.0), ones(4), ones(4, 0.0))
    g = graph({**ends(4, 4), "lif": node}, "input>lif>output")
    with pytest.raises(error) as caught:
        target.run(g, change(np.ones((5, 1, 4), np.float32)), dt=DT)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_record_and_graph_that_does_not_fit_are_refused() -> None:
    node = nir.LIF(ones(4, 0.01), ones(4), ones(4, 0.0), ones(4), ones(4, 0.0))
    g = graph({**ends(4, 4), "lif": node}, "input>lif>output")
    with pytest.raises(UnknownName, match="lif"):
        target.run(g, np.ones((5, 1, 4), np.float32), dt=DT, record=["lf"])
    with pytest.raises(TargetError, match="time constant of a step or more"):
        target.run(g, np.ones((5, 1, 4), np.float32), dt=0.02)
