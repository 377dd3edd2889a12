"""What the machine is told: the compiled loops work on vectors, and nothing fuses a product and a sum.

A fused multiply-add rounds once where the plain loop rounds twice: one of them, and spikes would no longer be equal.
"""

import platform
import re

import numpy as np
import pytest

pytest.importorskip("numba")
from neurospin.scan import cpu
from neurospin.scan.spec import ARCTAN, ROWS, Spec

X86 = platform.machine().lower() in ("x86_64", "amd64")
LIF = Spec(True, False, False, False, False, False, False, False, False, ARCTAN, 0)
EVERYTHING = LIF._replace(value=True, synapse=True, adapt=True, refractory=True, learn=True)


@pytest.mark.skipif(not X86, reason="reads the machine code of x86")
@pytest.mark.parametrize(("spec", "shared"), [(LIF, True), (EVERYTHING, False)])
def test_loops_are_vectors_without_fused_products(monkeypatch, spec, shared):
    monkeypatch.setitem(cpu.OPTIONS, "cache", False)  # what comes from the disk has no text any more
    monkeypatch.setitem(cpu.OPTIONS, "boundscheck", False)
    save = 1 if spec.stored else 3
    p = np.zeros((ROWS, 1), np.float32)
    state, cube = [np.zeros((0, 1), np.float32)] * 4, np.zeros((0, 0, 1), np.float32)
    forward = cpu.forward_kernel.__wrapped__(spec._replace(learn=False), shared, save)
    forward(cube, p, *state, *[cube] * 6, *state, 0, 0, 0)
    backward = cpu.backward_kernel.__wrapped__(spec, shared, False, False)
    backward(cube, p, np.float32(2), *state, *[cube] * 8, *state[:3], cube, *state[:3], cube, 0, 0, 0)
    for kernel in (forward, backward):
        (text,) = (kernel.inspect_asm(signature) for signature in kernel.signatures)
        vectors, single = (set(re.findall(rf"\bv(mul|add|sub|div){kind}\b", text)) for kind in ("ps", "ss"))
        assert vectors == single != set()  # single ones are left for the tail
        assert not re.findall(r"\bvfn?m(?:add|sub)", text)
