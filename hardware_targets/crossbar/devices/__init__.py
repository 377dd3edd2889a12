"""Nanodevices: what a crosspoint stores, how pulses change it, how it fluctuates, ages and wears.

`storage` holds devices that are programmed to a wanted conductance; all other families are written by pulses, and
`Written` programs them: pulse and verify. `bounds`, `strong`, `causes` and `without` came with it.
"""

from hardware_targets.crossbar.devices.barriers import Dome, Exact, Linear, LogCosh
from hardware_targets.crossbar.devices.magnetic import BinaryMTJ, MagnetoIonicMTJ
from hardware_targets.crossbar.devices.presets import device
from hardware_targets.crossbar.devices.pulsed import Ledger, Pulse, PulsedDevice
from hardware_targets.crossbar.devices.resistive import HfOxLevels, PhaseChange
from hardware_targets.crossbar.devices.storage import BoundedLinear, Device, Ideal
from hardware_targets.crossbar.devices.table import TableDevice
from hardware_targets.crossbar.devices.textures import DomainWallMTJ, SkyrmionCounter
from hardware_targets.crossbar.devices.written import Written

__all__ = [
    "BinaryMTJ",
    "BoundedLinear",
    "Device",
    "Dome",
    "DomainWallMTJ",
    "Exact",
    "HfOxLevels",
    "Ideal",
    "Ledger",
    "Linear",
    "LogCosh",
    "MagnetoIonicMTJ",
    "PhaseChange",
    "Pulse",
    "PulsedDevice",
    "SkyrmionCounter",
    "TableDevice",
    "Written",
    "device",
]
