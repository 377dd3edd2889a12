"""Options of the crossbar target, checked when they are given."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from hardware_targets.crossbar.array import Wiring
from hardware_targets.crossbar.devices.written import Access
from hardware_targets.crossbar.mapping import Convolution
from neurospin.errors import InputError, unknown_name


@dataclass(frozen=True)
class Options:
    """Everything about the arrays but their device; see `Crossbar`."""

    wires: Wiring | None = None
    rows: int = 256
    columns: int = 256
    coding: Literal["pair", "reference"] = "pair"
    slices: int | None = None
    slice_bits: int = 2
    dac_bits: int | None = None
    adc_bits: int | None = 8
    noise: Literal["exact", "column"] = "exact"
    curved: bool = False
    compensate: bool = False
    convolution: Convolution = "patches"
    accumulate: int = 1
    calibration: int = 0
    read_volts: float = 0.1
    read_seconds: float = 10e-9
    age: float = 0.0
    temperature: float = 300.0
    read_temperature: float = 300.0
    access: Access | None = None
    m: float | None = None

    def __post_init__(self) -> None:
        for name, least in (
            ("rows", 1),
            ("columns", 1),
            ("slice_bits", 1),
            ("accumulate", 1),
            ("calibration", 0),
            ("slices", 1),
        ):
            value = getattr(self, name)
            if not (name == "slices" and value is None) and not _whole(value, least):
                raise InputError(f"Crossbar.{name}", f"a whole number, at least {least}", repr(value), "choose one")
        for name in ("compensate", "curved"):
            if not isinstance(getattr(self, name), bool):
                raise InputError(f"Crossbar.{name}", "true or false", repr(getattr(self, name)), "choose one")
        if self.compensate and not self.calibration:
            raise InputError("Crossbar.compensate", "samples to calibrate on", "calibration 0", "give calibration, too")
        for name in ("adc_bits", "dac_bits"):
            value = getattr(self, name)
            if value is not None and not (_whole(value, 2) and value <= 24):
                raise InputError(f"Crossbar.{name}", "2 to 24, or None", repr(value), "choose a converter")
        for name, least in (
            ("read_volts", 0), ("read_seconds", 0), ("temperature", 0), ("read_temperature", 0), ("m", 0), ("age", -1),
        ):  # fmt: skip
            value = getattr(self, name)
            if name == "m" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not least < value < math.inf:
                expected = "a number >= 0" if least < 0 else "a number > 0"
                raise InputError(f"Crossbar.{name}", expected, repr(value), "choose one")
        if self.age < 0:
            raise InputError("Crossbar.age", "a number >= 0", repr(self.age), "give seconds after programming")
        for name, known in (
            ("coding", ("pair", "reference")), ("noise", ("exact", "column")), ("convolution", get_args(Convolution)),
            ("access", get_args(Access)),
        ):  # fmt: skip
            value = getattr(self, name)
            if value not in known and not (name == "access" and value is None):
                raise unknown_name(f"Crossbar.{name}", str(value), known, name)


def wiring(given: Any) -> Wiring | None:
    """Ohms per segment, a `Wiring` or a mapping of its fields; None is none."""
    if given is None or isinstance(given, Wiring):
        return given
    if isinstance(given, Mapping):
        known = [f.name for f in fields(Wiring)]
        for name in given:
            if name not in known:
                raise unknown_name("Crossbar.wires", str(name), known, "field")
        return Wiring(**given)
    return Wiring(given, given)


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
