"""Devices by name, as options and files give them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

from hardware_targets.crossbar.devices.magnetic import BinaryMTJ, MagnetoIonicMTJ
from hardware_targets.crossbar.devices.pulsed import PulsedDevice
from hardware_targets.crossbar.devices.resistive import HfOxLevels, PhaseChange
from hardware_targets.crossbar.devices.storage import BoundedLinear, Device, Ideal
from hardware_targets.crossbar.devices.table import TableDevice
from hardware_targets.crossbar.devices.textures import DomainWallMTJ, SkyrmionCounter
from hardware_targets.crossbar.devices.written import Written
from neurospin.errors import InputError, unknown_name

FAMILIES: Mapping[str, type] = {
    "ideal": Ideal,
    "bounded_linear": BoundedLinear,
    "binary_mtj": BinaryMTJ,
    "magneto_ionic_mtj": MagnetoIonicMTJ,
    "domain_wall_mtj": DomainWallMTJ,
    "skyrmion": SkyrmionCounter,
    "hfox": HfOxLevels,
    "pcm": PhaseChange,
}
PRESETS: Mapping[str, Callable[[], PulsedDevice]] = {
    "sot_mtj": BinaryMTJ.sot_80nm,
    "vgsot_mtj": lambda: BinaryMTJ.sot_80nm(gate=True),
}
NAMES = (*FAMILIES, *PRESETS, "table")


def device(given: str | Mapping[str, Any] | Device | PulsedDevice, read_volts: float = 0.1) -> Device:
    """A device that can be programmed.

    Args:
        given: a device; one of `NAMES`; or a mapping with its name under `kind` and settings of its family, for
            example `{"kind": "binary_mtj", "r_spread": 0.1}`. `table` takes `path`, and `fit`.
        read_volts: of a read, for devices written by pulses.

    Raises:
        UnknownName: another name or setting.
        InputError: a setting that the family refuses, or of another type.
    """
    if isinstance(given, Device):
        return given
    if isinstance(given, PulsedDevice):
        return Written(given, read_volts)
    if isinstance(given, str):
        given = {"kind": given}
    if not isinstance(given, Mapping) or not isinstance(given.get("kind"), str):
        raise InputError("device", f"one of {', '.join(NAMES)}", repr(given), "name the device under kind")
    kind, settings = given["kind"], {str(k): v for k, v in given.items() if k != "kind"}
    if kind == "table":
        if not set(settings) <= {"path", "fit"} or "path" not in settings:
            raise InputError("device table", "path, and perhaps fit", ", ".join(settings) or "nothing", "give path")
        return Written(TableDevice.from_csv(**settings), read_volts)
    if kind in PRESETS and not settings:
        return Written(PRESETS[kind](), read_volts)
    if kind not in FAMILIES:
        if kind in PRESETS:
            raise InputError(f"device {kind}", "no settings", ", ".join(settings), "use binary_mtj with its settings")
        raise unknown_name("device", kind, NAMES, "device")
    family = FAMILIES[kind]
    made = family(**_checked(kind, family, settings))
    return made if isinstance(made, Device) else Written(made, read_volts)


def changed(given: Device, settings: Mapping[str, Any]) -> Device:
    """A device with other settings of its family."""
    inner = given.device if isinstance(given, Written) else given
    if not is_dataclass(inner):
        raise InputError("device", "a device with settings", type(inner).__name__, "give the whole device")
    new = replace(inner, **_checked(type(inner).__name__, type(inner), dict(settings)))  # type: ignore[type-var]
    return replace(given, device=new) if isinstance(given, Written) else new  # type: ignore[return-value]


def _checked(kind: str, family: type, settings: dict[str, Any]) -> dict[str, Any]:
    """Settings of a family: known names, and numbers or sequences of numbers."""
    known = {f.name: f for f in fields(family) if f.name != "barrier"}
    for name, value in settings.items():
        if name not in known:
            raise unknown_name(f"device {kind}", name, known, "setting")
        if isinstance(value, list):
            settings[name] = tuple(value)
        numbers = settings[name] if isinstance(settings[name], tuple) else (settings[name],)
        empty = "None" in str(known[name].type)
        right = (isinstance(n, int | float) and not isinstance(n, bool) for n in numbers if not (n is None and empty))
        if not all(right):
            raise InputError(f"device {kind}.{name}", "a number", repr(value), "give one")
    return settings
