"""The conformance suite on our targets, on wrong ones that it must catch, and on one of another package."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import neurospin as ns
from experiments.conformance import table as generator
from hardware_targets import conformance
from hardware_targets.conformance import CASES, judge, refuses, told, verdict
from hardware_targets.reference import Reference
from neurospin.target import Problem, get_target, targets

ROOT = Path(__file__).resolve().parents[2]
LAVA = [pytest.mark.lava, pytest.mark.xdist_group("lava")]


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
@pytest.mark.parametrize("name", ["reference", "loihi", "crossbar"])
def test_our_targets_keep_the_contract_or_refuse_with_a_listed_reason(name, case):
    judge(get_target(name), case)


@pytest.mark.parametrize("name", ["CubaLIF", "loop", "subtract"])
@pytest.mark.parametrize("target", [pytest.param("lava", marks=LAVA)])
def test_lava_too(target, name):
    (status,) = [s for s in targets() if s.name == target]
    if not status.available:
        pytest.skip(status.reason)
    judge(get_target(target), CASES[name])


@pytest.mark.parametrize("name", ["reference", "loihi", "crossbar"])
def test_broken_graphs_and_wrong_input_are_refused(name):
    told(get_target(name))
    refuses(get_target(name))


def test_loihi_gives_nearly_every_spike_and_every_case_is_busy():
    for case in CASES.values():
        assert verdict(get_target("reference"), case).agreement == 1.0
        found = verdict(get_target("loihi"), case)
        assert not found.runs or found.agreement > 0.98, case.name
        rate = Reference().run(case.make(), case.spikes(40, 4), dt=1e-3).spikes
        assert np.abs(rate).mean() > 0.05, case.name


def test_a_delay_cannot_be_recorded_on_the_chip_and_that_is_told():
    case = CASES["delay"]
    with pytest.raises(ns.UnknownName, match="record: expected one of n, got 'd'"):
        ns.deploy(case.make(), case.spikes(5, 1), "loihi", record=["d"])


class Wrong(Reference):
    """A reference that breaks the contract in one way."""

    def __init__(self, fault):
        self.fault, self.calls = fault, 0

    def check(self, graph):
        if self.fault == "refuses, but runs":
            return [Problem("w", "less", "more", "use less")]
        return super().check(graph)

    def run(self, graph, spikes, *, dt, seed=0, record=()):
        if self.fault == "forgets the bias":
            graph.nodes["w"].bias[:] = 0
        report = super().run(graph, spikes, dt=dt, seed=seed, record=record)
        self.calls += 1
        if self.fault == "lies about its latency":
            return dataclasses.replace(report, latency_steps=1)
        if self.fault == "graded spikes":
            return dataclasses.replace(report, records={n: a * 0.9 for n, a in report.records.items()})
        if self.fault == "chance":
            report.spikes[self.calls % 5] = 1
        if self.fault == "says nothing":
            return dataclasses.replace(report, info={})
        return report


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("forgets the bias", "agreement"),
        ("lies about its latency", "agreement"),
        ("graded spikes", "other than 0 and 1"),
        ("chance", "same seed"),
        ("says nothing", "no latency"),
        ("refuses, but runs", "refused, but not listed"),
    ],
)
def test_the_suite_catches_a_wrong_target(fault, words):
    with pytest.raises(AssertionError, match=words):
        judge(Wrong(fault), CASES["bias"])


def test_a_case_that_is_listed_but_runs_is_caught():
    target = Wrong("none")
    target.unsupported = {"bias": "no biases"}
    with pytest.raises(AssertionError, match="but it runs"):
        judge(target, CASES["bias"])


OUTSIDE = """
from hardware_targets.reference import Reference
from neurospin.target import Problem

class MyChip(Reference):
    name = "mychip"
    unsupported = {"subtract": "its neurons reset to zero"}

    def check(self, graph):
        if graph.metadata.get("neurospin", {}).get("reset") == "subtract":
            return [Problem("", "reset to a value", "reset by subtraction", "train with reset='value'")]
        return super().check(graph)

target = MyChip()
"""


@pytest.mark.parametrize("honest", [True, False])
def test_a_target_of_another_package_is_tested_by_one_command(honest, tmp_path):
    source = OUTSIDE if honest else OUTSIDE.replace('{"subtract": "its neurons reset to zero"}', "{}")
    (tmp_path / "mychip.py").write_text(source)
    info = tmp_path / "mychip-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mychip\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[neurospin.targets]\nmychip = mychip:target\n")
    command = [
        sys.executable, "-m", "pytest", "-q", "-p", "hardware_targets.conformance", "-p", "no:cacheprovider",
        "--pyargs", "hardware_targets.conformance", "--neurospin-target", "mychip",
    ]  # fmt: skip
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path})
    assert done.returncode == (0 if honest else 1), done.stdout + done.stderr
    assert (f"{len(CASES) + 2} passed" if honest else f"1 failed, {len(CASES) + 1} passed") in done.stdout
    assert honest or "not listed in `unsupported`" in done.stdout


def test_the_table_of_the_docs_is_current():
    text = generator.PAGE.read_text(encoding="utf-8")
    assert generator.page(text) == text
    assert set(conformance.UNSUPPORTED) <= set(generator.NAMES)
    assert all(set(listed) <= set(CASES) for listed in conformance.UNSUPPORTED.values())
