"""The benchmark harness: it refuses other dynamics, times fairly, and writes a table and a figure."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from experiments.benchmarks import bars, figure, measure, memory, pages, runners, table, timing, torch_peers
from experiments.benchmarks.torch_peers import Unsupported
from experiments.benchmarks.work import BETA, MODES, Work, data, loop

ROOT = Path(__file__).resolve().parents[1]
TINY = [Work("neuron", 20, 2, 16), Work("neuron", 40, 2, 16), Work("layer", 20, 4, 32)]


def test_plain_loops_against_steps_by_hand():
    """β = 0.9, θ = 1, input 0.8, 0.8, 0.8, 0.3: u = 0.8, 1.52 (spike), then as the reset has it."""
    x = torch.tensor([0.8, 0.8, 0.8, 0.3]).reshape(-1, 1, 1)
    wanted = {
        "A": [0, 1, 1, 0],  # 0.9 · 0.52 + 0.8 = 1.268 (spike), 0.9 · 0.268 + 0.3 = 0.5412
        "B": [0, 1, 1, 0],  # 0.9 · 1.52 + 0.8 − 1 = 1.168 (spike), 0.9 · 1.168 + 0.3 − 1 = 0.3512
        "C": [0, 0, 1, 1],
        "D": [0, 1, 0, 1],  # 0 + 0.8, 0.72 + 0.3 = 1.02 (spike)
    }
    for reset, spikes in wanted.items():
        assert loop(x, reset).flatten().tolist() == spikes
    x[2] = 0.6  # A: 1.068 (spike), B: 0.968
    assert loop(x, "A").flatten().tolist() == [0, 1, 1, 0]
    assert loop(x, "B").flatten().tolist() == [0, 1, 0, 1]
    feedback = torch.tensor([[-0.5]])  # of the spike in step 1, felt in step 2: 1.268 − 0.5
    x[2] = 0.8
    assert loop(x, "A", feedback).flatten().tolist() == [0, 1, 0, 0]


def test_products_are_exact_in_any_order():
    """Weights and inputs lie on a grid, so that float32 products equal float64 ones: spikes can be equal."""
    for mode in ("layer", "dense input", "training step"):
        numbers = data(Work(mode, 5, 3, 64))
        exact = numbers.x.double() @ numbers.weights[0].double().t()
        assert torch.equal((numbers.x @ numbers.weights[0].t()).double(), exact)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["ours", "snntorch"])
def test_equal_dynamics_pass(name, mode):
    assert " 0 of " in runners.agreement(name, Work(mode, 10, 3, 24))


def test_other_dynamics_are_refused(monkeypatch):
    """Another reset, another decay, spikes one step late: none may be timed as equal."""
    work = Work("neuron", 40, 4, 32)
    library = runners.LIBRARIES["snntorch"]
    for reset in "ACD":
        monkeypatch.setitem(runners.LIBRARIES, "snntorch", runners.Library(library.adapter, library.package, reset))
        with pytest.raises(Unsupported, match=rf"not those of class {reset}: \d+ of 5120 differ"):
            runners.agreement("snntorch", work)
    monkeypatch.setattr(torch_peers, "BETA", BETA - 0.01)
    with pytest.raises(Unsupported, match="not those of class A"):
        runners.agreement("ours", work)


def test_gradients_of_ours_are_those_of_the_plain_loop():
    """What is timed as the backward pass gives the gradient: against autograd through the loop, detached reset."""
    work = Work("layer", 20, 4, 16)
    numbers = data(work)
    weight = torch.nn.Parameter(numbers.weights[0].clone())
    torch_peers.ours(work, [weight])(numbers.x).backward(numbers.cotangent)
    other = torch.nn.Parameter(numbers.weights[0].clone())
    v, out = torch.zeros(4, 16), []
    for current in (numbers.x @ other.t()).unbind(0):
        u = BETA * v + current
        s = torch_peers._Spike.apply(u - 1.0)
        v = u - s.detach()
        out.append(s)
    torch.stack(out).backward(numbers.cotangent)
    assert weight.grad is not None
    assert other.grad is not None
    torch.testing.assert_close(weight.grad, other.grad, rtol=1e-4, atol=1e-4)


def test_medians_of_interleaved_rounds(monkeypatch):
    """With a clock of our own: order reversed every other round, median of CPU time, its spread."""
    clock, order = [0.0], []
    cost = {"a": iter([1.0] * 2 + [1.0, 5.0, 2.0]), "b": iter([4.0] * 5)}

    def call(name):
        def run():
            order.append(name)
            clock[0] += next(cost[name])

        return run

    monkeypatch.setattr(timing.time, "process_time", lambda: clock[0])
    monkeypatch.setattr(timing.time, "perf_counter", lambda: 2 * clock[0])
    times = timing.interleaved({"a": call("a"), "b": call("b")}, rounds=5, lasts=0.5)
    assert order == ["a", "a", "b", "b", *"ab", *"ba", *"ab"]  # long calls: three rounds
    assert times["a"] == timing.Time(cpu=2.0, wall=4.0, spread=5.0)
    assert times["b"] == timing.Time(cpu=4.0, wall=8.0, spread=1.0)


@pytest.fixture(scope="module")
def result():
    plan = measure.Plan(TINY, ["ours", "snntorch", "spyx"], rounds=2, lasts=1e-4, parameters=(512,))
    return measure.measure(plan, say=lambda text: None)


def test_the_table_has_everyone_and_the_figure_is_drawn(result, tmp_path, monkeypatch):
    again = json.loads(json.dumps(result))
    monkeypatch.setitem(figure.FIXED, "batch", 2)
    monkeypatch.setitem(figure.FIXED, "size", 16)
    assert figure.series(again, "time")["ours"][0] == [20, 40]
    text = table.write(again, tmp_path / "cpu.md")
    assert (tmp_path / "cpu.md").read_text() == text
    for cell in TINY:
        assert f"### {cell.mode}, T {cell.time}, B {cell.batch}, N {cell.size}" in text
    assert text.count("| ours |") == text.count("| snntorch |") == 3
    for cell in again["cells"]:
        assert set(cell["agreement"]) | set(cell["left out"]) == {"ours", "snntorch", "spyx"}
        assert all(took["cpu"] > 0 for took in cell["times"]["both"].values())
        for name, why in cell["left out"].items():
            assert why
            assert f"- {name} is not here: {why}" in text
    figure.draw(again, tmp_path / "speed")
    assert (tmp_path / "speed.svg").stat().st_size > 10_000
    assert (tmp_path / "speed.png").read_bytes()[:4] == b"\x89PNG"


def test_an_absent_library_is_told(monkeypatch):
    monkeypatch.setitem(runners.LIBRARIES, "rockpool", runners.Library(torch_peers.rockpool, "no_such_package", None))
    plan = measure.Plan([], ["rockpool"], rounds=1)
    assert measure.cell(TINY[0], plan)["left out"] == {"rockpool": "no_such_package is not installed"}


def test_promises_are_judged_by_ratios():
    def cell(mode, time, size, **cpu):
        one = {name: {"cpu": x, "wall": x, "spread": 1.0} for name, x in cpu.items()}
        return {"mode": mode, "time": time, "batch": 16, "size": size, "times": {"forward": one, "both": one}}

    took = {"ours": 1.0, "snntorch": 15.0, "limit: memory": 0.4, "ours, the loops alone": 0.8}
    fake = {
        "cells": [cell("neuron", 100, 512, **took), cell("neuron", 500, 512, ours=7.0)],
        "plasticity": [{"parameters": 8, "times": {"Metaplastic": {"cpu": 1.2}, "torch Adam, fused": {"cpu": 1.0}}}],
        "memory": [
            {"time": 500, "batch": 16, "size": 512,
             "bytes": {"ours": 4 * 4 * 500 * 16 * 512, "ours, recompute": 2 * 4 * 500 * 16 * 512}}
        ],
        "call": {"forward": 5e-5, "both": 2e-4},
    }  # fmt: skip
    told = [(bar.measured, bar.holds) for bar in bars.bars(fake)]
    assert told == [(15.0, True), (2.0, False), (7.0, False), (1.2, True), (4.0, False), (2.0, True), (200.0, False)]


def test_peak_memory_counts_the_arrays_of_a_pass():
    """At least input gradient, spikes and membrane; a name that is no library gives a reason, not a number."""
    work = Work("neuron", 100, 16, 1024)
    found = memory.measure("ours", [work, dataclasses.replace(work, time=300)])
    assert not isinstance(found, str), found
    short, long = found
    array = 4 * work.time * work.batch * work.size
    assert 1.9 < short / array < 20 and 1.9 < (long - short) / (2 * array) < 4
    assert "nobody" in str(memory.measure("nobody", [work]))


def test_the_pages_say_what_was_measured():
    """Nobody wrote a ratio by hand: the README and `docs/speed.md` are what the committed run gives."""
    result = json.loads((ROOT / "experiments/benchmarks/results/cpu.json").read_text())
    for path, wanted in (("README.md", pages.readme(result)), ("docs/speed.md", pages.page(result))):
        text = (ROOT / path).read_text(encoding="utf-8")
        assert pages.between(text, wanted) == text
    assert (ROOT / "experiments/benchmarks/results/cpu.md").read_text(encoding="utf-8") == table.render(result)
