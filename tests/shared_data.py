"""Real data that stays outside the project: a folder `shared/data` beside the checkout, or NEUROSPIN_DATA."""

import os
from pathlib import Path

import pytest


def shared_data(*parts: str) -> Path:
    """A file or folder of the shared data; skips the test when it is not there."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    path = Path(os.environ.get("NEUROSPIN_DATA", beside)).joinpath(*parts)
    if not path.exists():
        pytest.skip(f"no shared data at {path}; set NEUROSPIN_DATA")
    return path
