"""The compiler's integers: registers within their widths, rounding, starts wound back, and every refusal."""

from __future__ import annotations

import itertools
from typing import Any

import nir
import numpy as np
import pytest

from hardware_targets.loihi import limits
from hardware_targets.loihi.compiler import compile
from hardware_targets.loihi.rewind import preimage, rewind
from neurospin.errors import TargetError

DT = 1e-3


def ones(n: int, value: float = 1.0) -> np.ndarray:
    return np.full(n, value)


def lif(n: int, **changes: Any) -> nir.LIF:
    given = {"tau": 0.02, "r": 1.0, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0, **changes}
    return nir.LIF(**{key: np.broadcast_to(np.asarray(value, float), (n,)).copy() for key, value in given.items()})


def chain(n_in: int, n_out: int, /, **nodes: nir.NIRNode) -> nir.NIRGraph:
    names = ["input", *nodes, "output"]
    every = {
        "input": nir.Input({"input": np.array([n_in])}),
        **nodes,
        "output": nir.Output({"output": np.array([n_out])}),
    }
    return nir.NIRGraph(every, list(itertools.pairwise(names)), metadata={"neurospin": {"dt": DT}})


@pytest.mark.parametrize("seed", range(30))
def test_registers_keep_their_widths_and_no_current_can_wrap(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n_in, n = int(rng.integers(1, 300)), int(rng.integers(1, 30))
    spread = 10.0 ** rng.uniform(-3, 3)
    weight = rng.normal(rng.choice([-0.5, 0.0, 0.5]), 1.0, (n, n_in)) * spread
    if seed % 3 == 0:
        weight = np.abs(weight)
    cuba = nir.CubaLIF(
        rng.uniform(1e-3, 1e-1, n), rng.uniform(1e-3, 1.0, n), rng.uniform(0.1, 10, n), rng.normal(0, 1, n),
        rng.uniform(0.5, 20, n), rng.uniform(-3, 0.4, n),
    )  # fmt: skip
    program = compile(chain(n_in, n, w=nir.Affine(weight, rng.normal(0, 3, n)), n=cuba), DT)
    (p,), (q,) = program.populations, program.projections
    weights = q.weights.toarray()
    assert p.du.min() >= 0
    assert p.du.max() <= 4095
    assert p.dv.min() >= 0
    assert p.dv.max() <= 4095
    assert p.vth.min() >= 0
    assert p.vth.max() < 2**17
    assert np.abs(p.bias_mant).max() < 2**12
    assert p.bias_exp.min() >= 0
    assert p.bias_exp.max() <= 7
    assert max(np.abs(p.u0).max(), np.abs(p.v0).max()) < 2**23
    assert -8 <= q.exponent <= 7
    if (weights > 0).any() and (weights < 0).any():
        assert weights.min() >= -256
        assert weights.max() <= 254
        assert (weights % 2 == 0).all()
    else:
        assert np.abs(weights).max() <= 255
    push = max(
        int(np.maximum(sign * weights[i], 0).sum()) * 2.0**q.exponent * 64 * 4096 / (int(p.du[i]) + 1)
        for i in range(n)
        for sign in (-1, 1)
    )
    assert push < 2**23
    unit = 2.0 ** (q.exponent + 6)
    gain = DT / cuba.tau_mem * cuba.r * DT / cuba.tau_syn
    wanted = gain[:, None] * weight
    off = np.abs(weights * unit / p.scale[:, None] - wanted).max(axis=1) / np.abs(wanted).max(axis=1)
    told = [a["size"] for a in program.approximations if "weights from input rounded to 8 bits" in a["what"]]
    assert off.max() == pytest.approx(told[0], rel=1e-6)
    zeroed = [a["size"] for a in program.approximations if "rounded to zero" in a["what"]]
    assert int(((weights == 0) & (weight != 0)).sum()) == (zeroed[0] if zeroed else 0)


def test_weights_of_one_row_use_the_eight_bits_when_a_neuron_needs_few_spikes_to_fire() -> None:
    rng = np.random.default_rng(0)
    weight = rng.normal(0, 1, (40, 20)) * rng.uniform(2, 20, (40, 1))
    (q,) = compile(chain(20, 40, w=nir.Linear(weight), n=lif(40)), DT).projections
    largest = np.abs(q.weights.toarray()).max(axis=1)
    assert np.median(largest) > 200
    assert largest.min() >= 100


@pytest.mark.parametrize("levels", [2, 3, 5, 9, 16])
def test_weights_of_few_levels_are_met_exactly(levels: int) -> None:
    rng = np.random.default_rng(levels)
    weight = 0.0137 * rng.integers(-(levels // 2), levels - levels // 2, (12, 30))
    program = compile(chain(30, 12, w=nir.Linear(weight), n=lif(12)), DT)
    assert not [a for a in program.approximations if "weights" in a["what"]]
    (p,), (q,) = program.populations, program.projections
    got = q.weights.toarray() * 2.0 ** (q.exponent + 6) / p.scale[:, None]
    assert np.allclose(got, DT / 0.02 * weight, rtol=1e-7, atol=0)


def test_preimage_is_found_for_every_value_and_factor() -> None:
    value = np.arange(-300, 301)
    for factor in (1, 2, 37, 2048, 4095, 4096):
        found = preimage(value, np.full(value.shape, factor))
        for wanted, x in zip(value.tolist(), found.tolist(), strict=True):
            size = (abs(x) * factor) >> 12
            assert (size if x > 0 else -size) == wanted


def test_start_is_wound_back_exactly() -> None:
    rng = np.random.default_rng(1)
    for steps in range(5):
        n = 50
        u, v, bias = (
            rng.integers(-3000, 3000, n),
            rng.integers(-30_000, 30_000, n),
            rng.integers(-500, 500, n),
        )
        du, dv = rng.integers(0, 1500, n), rng.integers(0, 1500, n)
        a, b = rewind(u, v, du, dv, bias, np.full(n, 2**22), steps)
        for _ in range(steps):
            a = np.sign(a) * (np.abs(a) * (4095 - du) >> 12)
            b = np.sign(b) * (np.abs(b) * (4096 - dv) >> 12) + a + bias
        assert np.array_equal(a, u)
        assert np.array_equal(b, v)


def test_start_that_cannot_be_wound_back_is_told() -> None:
    # leak of a half each step and a bias near the threshold: eight steps before, v would be far outside
    node = lif(3, tau=2 * DT, v_leak=0.9)
    names = {f"n{k}": lif(3, tau=2 * DT, v_leak=0.9) for k in range(12)}
    nodes: dict[str, nir.NIRNode] = {}
    for name in names:
        nodes[f"w{name}"] = nir.Linear(np.eye(3))
        nodes[name] = node
    told = {a["node"] for a in compile(chain(3, 3, **nodes), DT).approximations if "start" in a["what"]}
    assert "n0" not in told
    assert "n11" in told


def test_depths_follow_the_longest_path() -> None:
    nodes = {
        "input": nir.Input({"input": np.array([2])}), "a": lif(2), "b": lif(2), "c": lif(2), "d": lif(2),
        "output": nir.Output({"output": np.array([2])}),
    }  # fmt: skip
    edges = [("input", "a"), ("a", "b"), ("b", "c"), ("input", "d"), ("d", "c"), ("a", "c"), ("c", "output")]
    program = compile(nir.NIRGraph(nodes, edges), DT)
    assert {p.name: p.depth for p in program.populations} == {"a": 1, "b": 2, "c": 3, "d": 1}
    assert {(q.source, q.target): q.delay for q in program.projections} == {
        ("input", "a"): 0, ("a", "b"): 0, ("b", "c"): 0, ("input", "d"): 0, ("d", "c"): 1, ("a", "c"): 1,
    }  # fmt: skip
    assert program.latency == 3


def test_two_edges_from_one_population_add_up_in_one_projection() -> None:
    nodes = {
        "input": nir.Input({"input": np.array([2])}), "u": nir.Linear(np.array([[1.0, 2.0], [3.0, 4.0]])),
        "v": nir.Affine(np.array([[1.0, -2.0], [0.0, 4.0]]), np.array([0.5, 0.0])), "n": lif(2),
        "output": nir.Output({"output": np.array([2])}),
    }  # fmt: skip
    edges = [("input", "u"), ("input", "v"), ("u", "n"), ("v", "n"), ("n", "output")]
    program = compile(nir.NIRGraph(nodes, edges), DT)
    (p,), (q,) = program.populations, program.projections
    got = q.weights.toarray() * 2.0 ** (q.exponent + 6) / p.scale[:, None] / (DT / 0.02)
    assert np.allclose(got, [[2, 0], [3, 8]], rtol=0.01, atol=1e-9)
    assert p.bias / p.scale == pytest.approx([0.5 * DT / 0.02, 0], rel=0.01)


def refused(graph: nir.NIRGraph) -> list[str]:
    return [str(problem) for problem in limits.check(graph)]


@pytest.mark.parametrize(
    ("graph", "node", "words"),
    [
        (lambda: chain(3, 3, n=lif(3, tau=1e-4)), "n.tau", "a time constant of a step or more"),
        (lambda: chain(3, 3, n=lif(3, tau=-1.0)), "n.tau", "a positive time constant"),
        (lambda: chain(3, 3, n=lif(3, v_reset=2.0)), "n.v_threshold", "at or above v_reset"),
        (lambda: chain(3, 3, n=lif(3, r=np.nan)), "n.r", "finite numbers"),
        (lambda: chain(3, 3, t=nir.Threshold(ones(3)), n=lif(3)), "t", "a linear map"),
        (lambda: chain(3, 3, n=nir.I(ones(3))), "n", "a linear map"),
        (lambda: chain(3, 3, w=nir.Linear(np.eye(3))), "output", "population"),
        (lambda: chain(3, 3, n=lif(3), w=nir.Linear(2 * np.eye(3))), "output", "a population as it is"),
        (lambda: chain(3, 3, li=nir.LI(ones(3, 0.1), ones(3), ones(3)), n=lif(3)), "li", "feeds the output only"),
        (lambda: chain(3, 3, n=lif(3), d=nir.Delay(ones(3, 2e-3)), m=lif(3), e=nir.Delay(ones(3, 0.5)), k=lif(3)), "k", "63"),
        (lambda: chain(131_073, 131_073, n=lif(131_073)), "graph", "128 cores of 1024 neurons, got 129 cores"),
    ],
)  # fmt: skip
def test_graphs_that_do_not_fit_are_told_node_by_node(graph: Any, node: str, words: str) -> None:
    told = refused(graph())
    assert len(told) == 1
    assert told[0].startswith(f"{node}: expected")
    assert words in told[0]
    assert "\n" not in told[0]
    with pytest.raises(TargetError) as caught:
        compile(graph(), DT)
    assert words in str(caught.value)


def test_reset_by_subtraction_is_refused() -> None:
    graph = chain(3, 3, n=lif(3))
    assert refused(graph) == []
    graph.metadata["neurospin"]["reset"] = "subtract"
    assert "reset by subtraction" in refused(graph)[0]


def test_check_never_raises_on_broken_graphs() -> None:
    graph = chain(3, 3, n=lif(3))
    graph.edges.append(("n", "nowhere"))
    assert "nowhere" in refused(graph)[0]
    graph = chain(3, 3, w=nir.Linear(np.eye(3)), n=lif(3))
    graph.nodes["w"].weight = np.eye(4)  # type: ignore[attr-defined]
    assert len(refused(graph)) == 1
    assert len(limits.check("no graph")) == 1  # type: ignore[arg-type]
