"""Settings for all tests, and the rule that on CI a test of Lava, real data or the browser must run."""

import os
from pathlib import Path

import hypothesis
import pytest
import torch

hypothesis.settings.register_profile(
    "neurospin",
    deadline=None,
    derandomize=True,
    max_examples=25,
    suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.data_too_large],
)
hypothesis.settings.load_profile("neurospin")
torch.set_num_threads(1)

ROOT = Path(__file__).resolve().parents[1]
REQUIRED = set(filter(None, os.environ.get("NEUROSPIN_REQUIRE", "").split(",")))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Turn a skip into a failure where `NEUROSPIN_REQUIRE` names one of the test's marks."""
    report = yield
    missing = REQUIRED & {mark.name for mark in item.iter_markers()}
    if report.skipped and not hasattr(report, "wasxfail") and missing:
        report.outcome = "failed"
        report.longrepr = f"must run here ({', '.join(missing)}), but was skipped: {report.longrepr}"
    return report


@pytest.fixture(autouse=True)
def seeded():
    """One seed for torch's own generator before every test."""
    torch.manual_seed(0)
