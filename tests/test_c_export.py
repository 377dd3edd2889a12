"""The C program gives every spike and every voltage of the emulator, compiles without a warning, and runs clean."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import nir
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import neurospin as ns
from hardware_targets.c.export import export, write
from hardware_targets.c.source import source
from hardware_targets.loihi import emulator
from hardware_targets.loihi.compiler import compile
from hardware_targets.loihi.program import Population, Program, Projection
from neurospin.cli import app
from tests.graphs import graphs
from tests.test_loihi_emulator import random_program

GCC = ("gcc", "-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-Wconversion", "-Wshadow")
SANITIZE = ("-O1", "-fsanitize=undefined", "-fno-sanitize-recover=all")
needs_gcc = [
    pytest.mark.gcc,
    pytest.mark.skipif(not (shutil.which("gcc") and shutil.which("valgrind")), reason="no gcc or no valgrind"),
]


def build(program: Program, folder: Path, *options: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in write(program).items():
        (folder / name).write_text(text)
    command = [*GCC, *options, "-o", "network", "main.c", "network.c"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "network"


def lines(spikes: np.ndarray) -> str:
    """Spikes `(time, batch, channels)` as the program reads them: an empty line begins a sample."""
    samples = ["\n".join("".join(map(str, row)) for row in spikes[:, b]) for b in range(spikes.shape[1])]
    return "\n\n".join(samples) + "\n"


def execute(command: list[str], program: Program, spikes: np.ndarray) -> np.ndarray:
    done = subprocess.run(command, input=lines(spikes), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    spiking = program.population(program.output).spiking
    rows = [[int(value) for value in (row if spiking else row.split())] for row in done.stdout.splitlines()]
    return np.array(rows).reshape(spikes.shape[1], len(spikes), -1).transpose(1, 0, 2)


def watched(program: Program, name: str, spiking: bool) -> Program:
    """The same program, giving the spikes or the voltages of one population."""
    population = replace(program.population(name), spiking=spiking)
    populations = tuple(population if p.name == name else p for p in program.populations)
    return replace(program, output=name, output_shape=(population.size,), populations=populations)


def same(program: Program, name: str, spiking: bool, spikes: np.ndarray, folder: Path) -> np.ndarray:
    chosen = watched(program, name, spiking)
    got = execute([str(build(chosen, folder, *SANITIZE))], chosen, spikes)
    ours = emulator.run(program, spikes, (name,), (name,))
    wanted = (ours.spikes if spiking else ours.voltages)[name]
    np.testing.assert_array_equal(got, wanted)
    return wanted


class TestRandom:
    """Random programs to the ends of their registers, and compiled random graphs, under UBSan."""

    pytestmark = needs_gcc

    def test_random_programs_give_the_emulator_s_voltages_and_spikes(self, tmp_path):
        seen = {"spikes": 0, "clips": 0, "late": 0, "cut": 0}

        @settings(max_examples=12)
        @given(st.integers(0, 2**32 - 1))
        def compare(seed: int) -> None:
            rng = np.random.default_rng(seed)
            program = random_program(rng)
            spikes = (rng.random((40, 2, 5)) < 0.4).astype(np.uint8)
            name, other = ("a", "b") if seed % 2 else ("b", "a")
            seen["clips"] += int((np.abs(same(program, name, False, spikes, tmp_path)) == 2**23 - 1).sum())
            seen["spikes"] += int(same(program, other, True, spikes, tmp_path).sum())
            seen["late"] += any(p.delay for p in program.projections)
            seen["cut"] += any(p.exponent < 0 for p in program.projections)

        compare()
        assert min(seen.values()) > 5, seen

    def test_random_graphs_give_the_target_s_output(self, tmp_path):
        styles, active = set(), []

        @settings(max_examples=10)
        @given(graphs(skips=True), st.integers(0, 2**32 - 1))
        def compare(made, seed: int) -> None:
            if ns.check(made.graph, "loihi"):
                return
            program = compile(made.graph, 1e-3)
            spikes = (np.random.default_rng(seed).random((40, 2, made.inputs)) < 0.4).astype(np.uint8)
            got = execute([str(build(program, tmp_path, *SANITIZE))], program, spikes)
            output = program.population(program.output)
            report = ns.deploy(made.graph, spikes.astype(np.float32), "loihi", dt=1e-3)
            units = got if output.spiking else output.voltage(got)
            np.testing.assert_array_equal(units.astype(np.float32), report.spikes.reshape(units.shape))
            styles.update(style for part in source(program).parts for _, style in part.synapses)
            active.append(float(np.any(got)))

        compare()
        assert {"dense"} <= styles and sum(active) > 5


def one_layer(weights: np.ndarray, exponent: int = 0, **registers: int) -> Program:
    n, inputs = weights.shape
    held = {"du": 400, "dv": 300, "vth": 2000, "bias_mant": 0, "bias_exp": 0, "u0": 0, "v0": 0, **registers}
    arrays = {key: np.full(n, value) for key, value in held.items()}
    layer = Population("n", (n,), True, 1, **arrays, scale=np.ones(n), zero=np.zeros(n))
    synapse = Projection("input", "n", weights, exponent, 0)
    return Program(1e-3, "input", (inputs,), "n", (n,), (layer,), (synapse,), ())


def matrix(kind: str) -> np.ndarray:
    rng = np.random.default_rng(1)
    if kind == "sparse":
        return rng.integers(1, 255, (40, 60)) * (rng.random((40, 60)) < 0.05)
    if kind == "two-valued":
        return np.where(rng.random((40, 60)) < 0.5, -1, 1) * 2 * rng.integers(1, 128, (40, 1))
    return -rng.integers(0, 256, (40, 60)) if kind == "negative" else 2 * rng.integers(-128, 128, (40, 60))


@pytest.mark.parametrize("kind", ["sparse", "two-valued", "negative", "mixed"])
def test_the_smallest_way_to_store_is_chosen(kind):
    program = one_layer(matrix(kind))
    layer = source(program).parts[1]
    assert layer.synapses == [("input", kind if kind in ("sparse", "two-valued") else "dense")]
    dense = 40 * 60
    nonzero = program.projections[0].weights.nnz
    # one byte for each weight; two for a sparse one and two for each source; one bit, and two bytes for each neuron
    expected = {"sparse": 2 * nonzero + 61, "two-valued": 60 * 5 + 40 * 2}.get(kind, dense)
    assert layer.flash == expected


@pytest.mark.parametrize("case", ["sparse", "two-valued", "negative", "mixed", "far", "deaf"])
def test_every_way_to_store_gives_the_same_spikes(case, tmp_path):
    if not shutil.which("gcc"):
        pytest.skip("no gcc")
    # far: a step brings more than one wrap takes back, so that the current leaves 32 bits; deaf: nothing arrives
    program = one_layer(matrix(case if case not in ("far", "deaf") else "mixed"))
    if case == "negative":
        program = one_layer(matrix(case), bias_mant=4000, bias_exp=5)
    if case == "far":
        program = one_layer(np.full((3, 400), 254) - np.eye(3, 400, dtype=int) * 2, 7, du=3)
    if case == "deaf":
        program = replace(one_layer(matrix("mixed"), bias_mant=3000, vth=200), projections=())
    spikes = (np.random.default_rng(2).random((50, 2, program.input_shape[0])) < 0.3).astype(np.uint8)
    same(program, "n", False, spikes, tmp_path)
    wanted = same(program, "n", True, spikes, tmp_path)
    assert wanted.any() and not wanted.all()
    assert ("int64_t" in write(program)["network.c"]) == (case == "far")


def network() -> ns.Network:
    blocks = [
        ns.Dense(12, 20, weight=ns.Binary(gain=9)), ns.LIF(20, 8e-3),
        ns.Dense(20, 10, weight=ns.Binary(gain=9)), ns.Recurrent(ns.CubaLIF(10, tau_syn=4e-3, tau_mem=8e-3), ns.Dense(10, 10)),
        ns.Dense(10, 4), ns.LI(4, 8e-3),
    ]  # fmt: skip
    return ns.Network(blocks, dt=1e-3)


class TestProgram:
    """One network with every kind of layer, as its user builds it."""

    pytestmark = needs_gcc

    def test_valgrind_finds_nothing_and_the_output_is_the_target_s(self, graph, tmp_path):
        program = compile(graph, 1e-3)
        build(program, tmp_path, "-g", "-O1")
        spikes = (np.random.default_rng(0).random((20, 2, 12)) < 0.5).astype(np.uint8)
        command = ["valgrind", "--quiet", "--error-exitcode=9", "--leak-check=full", str(tmp_path / "network")]
        got = execute(command, program, spikes)
        report = ns.deploy(graph, spikes.astype(np.float32), "loihi")
        facts = json.loads((tmp_path / "network.json").read_text())
        volts = got / np.array(facts["output"]["scale"]) + np.array(facts["output"]["zero"])
        np.testing.assert_array_equal(volts.astype(np.float32), report.spikes)
        assert np.abs(volts).max() > 0.01 and facts["latency_steps"] == report.latency_steps

    def test_counted_memory_is_what_the_compiler_lays_out(self, graph, tmp_path):
        program = compile(graph, 1e-3)
        made = source(program)
        build(program, tmp_path)
        subprocess.run(["gcc", "-std=c99", "-O0", "-c", "network.c"], cwd=tmp_path, check=True)
        listed = subprocess.run(["nm", "-S", "network.o"], cwd=tmp_path, capture_output=True, text=True, check=True)
        found = {}
        for line in listed.stdout.splitlines():
            fields = line.split()
            if len(fields) == 4 and fields[2] in "rbdRBD":
                found[fields[3]] = (int(fields[1], 16), "flash" if fields[2] in "rR" else "ram")
        counted = {
            array.name: (array.bytes, "ram" if array.values is None else "flash")
            for part in made.parts
            for array in part.arrays
        }
        assert found == counted and len(counted) > 15
        symbols = subprocess.run(["nm", "-u", "network.o"], cwd=tmp_path, capture_output=True, text=True, check=True)
        assert symbols.stdout.split() == []  # no library at all: no heap, no soft floats, no division helpers

    def test_the_makefile_works_and_bad_lines_are_told(self, graph, tmp_path):
        ns.export(graph, export, tmp_path / "c")
        subprocess.run(["make", "-s"], cwd=tmp_path / "c", check=True)
        for text, words in (("01\n", "expected 12"), ("0" * 13 + "\n", "more than 12"), ("0x\n", "0 or 1")):
            done = subprocess.run([tmp_path / "c" / "network"], input=text, capture_output=True, text=True)
            assert done.returncode == 1 and words in done.stderr
        readme = (tmp_path / "c" / "README.md").read_text()
        total = re.search(r"together\*\* \| \| \| (\d+) \| (\d+)", readme)
        assert total and int(total[1]) > 200 and int(total[2]) > 100


@pytest.fixture(scope="module")
def graph():
    return ns.to_graph(network())


def test_the_source_has_no_floats_no_heap_and_no_division(graph):
    code = re.sub(r"/\*.*?\*/", "", write(compile(graph, 1e-3))["network.c"], flags=re.S)
    assert not re.search(r"\b(float|double|malloc|free|while|goto)\b|[^/]/[^/*]|%", code)
    assert re.findall(r"#include\s+(\S+)", code) == ['"network.h"']


def test_the_shell_writes_a_graph_as_c(graph, tmp_path):
    ns.write(tmp_path / "net.nir", graph)
    place = ns.export(graph, export, tmp_path / "a")
    assert sorted(p.name for p in place.iterdir()) == [
        "Makefile", "README.md", "main.c", "network.c", "network.h", "network.json",
    ]  # fmt: skip
    ns.export(graph, export, place)  # an earlier export is written over
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "main.c").write_text("mine")
    with pytest.raises(ns.OutputError, match="an empty or a new folder"):
        ns.export(graph, export, tmp_path / "other")
    assert (tmp_path / "other" / "main.c").read_text() == "mine"
    with pytest.raises(ns.UnknownName, match="export: expected one of"):
        ns.export(graph, "cobol", tmp_path / "x")
    result = CliRunner().invoke(app, ["export", str(tmp_path / "net.nir"), "--to", "cobol"])
    assert result.exit_code and isinstance(result.exception, ns.UnknownName)
    big = ns.to_graph(ns.Network([ns.Dense(2, 2), ns.LIF(2, reset="subtract")], dt=1e-3))
    with pytest.raises(ns.TargetError, match="reset"):
        ns.export(big, export, tmp_path / "y")
    assert not (tmp_path / "y").exists()


def test_a_program_with_fractions_is_refused(graph):
    with pytest.raises(ns.TargetError, match="whole numbers"):
        write(compile(graph, 1e-3, ("weights", "arithmetic")))
    node = nir.NIRGraph(
        {"input": nir.Input({"input": np.array([2])}), "output": nir.Output({"output": np.array([2])})},
        [("input", "output")],
    )
    with pytest.raises(ns.TargetError):
        export(node, 1e-3)
