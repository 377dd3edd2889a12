"""The time loop of every neuron.

One `Dynamics` describes any of them. With an input `x[t]` and the state after the previous step::

    i[t] = synapse_decay · i[t−1] + synapse_gain · x[t]        (neurons with a synaptic current; else i = x)
    u[t] = decay · v[t−1] + (gain · i[t] + leak)
    θ[t] = threshold + adaptation · a[t−1]                     (neurons that adapt; else θ = threshold)
    s[t] = 1 if u[t] > θ[t] else 0                             (strict)
    v[t] = reset where s[t] else u[t]                          (reset to a value)
    v[t] = u[t] − threshold · s[t]                             (reset by subtraction)
    a[t] = adapt_decay · a[t−1] + s[t]

While refractory, `s[t] = 0` and `v[t] = v[t−1]`; currents and adaptation go on. With a delayed reset
`v[t] = u[t]`, and the spike of `v[t−1]` resets the voltage in step `t`.

This is forward Euler of `τ dv/dt = (v_leak − v) + r i` with `decay = 1 − dt/τ`, `gain = r dt/τ`,
`leak = v_leak dt/τ`. Networks and the interpreter of graphs call the same function with the same
numbers, so that their spikes are equal, every one.
"""

from __future__ import annotations

import os
from importlib.util import find_spec

import torch
from torch import Tensor

from neurospin.errors import InputError, MissingDependency, unknown_name
from neurospin.scan import reference
from neurospin.scan.delay import delay as delay
from neurospin.scan.dynamics import Dynamics as Dynamics
from neurospin.scan.dynamics import Scan as Scan
from neurospin.scan.dynamics import membrane as membrane
from neurospin.scan.spec import MEMORY
from neurospin.types import State

BACKENDS = ("reference", "cpu", "cuda")
_HAS = {"cpu": find_spec("numba") is not None, "cuda": find_spec("triton") is not None}
_INSTALL = {"cpu": "pip install numba", "cuda": "install torch for CUDA, which brings Triton"}


def scan(
    current: Tensor,
    state: State,
    dynamics: Dynamics,
    *,
    voltage: bool = False,
    memory: str = "float32",
    backend: str | None = None,
) -> Scan:
    """Run a neuron block over a whole sequence.

    Args:
        current: input of shape `(time, batch, *neuron)`; computed in float32 where it has less.
        state: state before the first step, each `(batch, *neuron)`: synaptic current, adaptation and
            refractory steps left, where the dynamics have them, and the voltage last.
        dynamics: the neuron's coefficients.
        voltage: whether to give the voltage of every step as well.
        memory: what the compiled loops keep for the backward pass besides the spikes: the voltages as
            `"float32"` (default) or `"bfloat16"` (half as much; the surrogate sees them rounded), or
            the input only, and not even the spikes (`"recompute"`, the same gradients). Neurons with adaptation or
            a refractory period always recompute.
        backend: `"reference"` (plain torch, any device), `"cpu"` (numba) or `"cuda"` (Triton; tested in its
            interpreter only, never yet on a GPU); default the environment variable `NEUROSPIN_SCAN`, else the
            one for the device of `current`. Float64, gradients of gradients, and surrogates of your own are
            always computed by the reference; on a GPU also refractory periods, delayed resets and
            gradients of the coefficients.

    Raises:
        UnknownName: no such backend or memory.
        MissingDependency: the backend's package is not installed.
        InputError: the backend cannot run on the device of `current`.
    """
    if memory not in MEMORY:
        raise unknown_name("scan.memory", memory, MEMORY, "memory")
    if _choose(current, backend) != "reference" and current.dtype != torch.float64:
        from neurospin.scan.fused import fused

        result = fused(current, state, dynamics, voltage=voltage, memory=memory)
        if result is not None:
            return result
    if current.dtype in (torch.bfloat16, torch.float16):
        current = current.to(state[-1].dtype)
    return reference.scan(current, state, dynamics, voltage=voltage)


def _choose(current: Tensor, backend: str | None) -> str:
    forced = backend or os.environ.get("NEUROSPIN_SCAN") or None
    device = current.device.type
    if forced is None:
        return device if _HAS.get(device) else "reference"
    if forced not in BACKENDS:
        raise unknown_name("NEUROSPIN_SCAN" if backend is None else "scan.backend", forced, BACKENDS, "backend")
    if forced != "reference":
        if not _HAS[forced]:
            raise MissingDependency(f"scan.backend {forced}", "its package", "none installed", _INSTALL[forced])
        if forced != device:
            raise InputError("scan.backend", f"one for {device}", repr(forced), "move the network to that device")
    return forced
