"""`DiscreteLIF`: leaky integrate-and-fire neurons given by what they keep per step, as snnTorch has them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, ClassVar

import nir
import numpy as np
import torch
from torch import Tensor

from neurospin.errors import GraphError, InputError, unknown_name
from neurospin.neurons.base import Neuron, Value
from neurospin.neurons.rate import Rate
from neurospin.scan import Dynamics, Scan, scan
from neurospin.surrogate import ArcTan, Surrogate, spike
from neurospin.types import Spikes, State

RESETS = ("zero", "zero next", "blank next", "subtract", "subtract next", "none")


class DiscreteLIF(Neuron):
    """Leaky integrate-and-fire neurons in steps: no time constant is rounded on the way.

    With an input x, and i = x where there is no synaptic current::

        i[t] = synapse_decay · i[t−1] + x[t]
        u[t] = decay · v[t−1] + gain · i[t]
        s[t] = 1 if u[t] > v_threshold else 0

    The reset is one of snnTorch's: `"zero"` sets v to 0 where s, in the same step; `"zero next"` gives
    the same spikes, but v still shows u in the step of the spike; `"blank next"` sets the whole next
    step to 0, input included, and v shows 0 from the step of the spike on (a learned threshold gets no
    gradient from the step that is blanked, where snnTorch gives it one); `"subtract"` takes v_threshold away in the same step, and once more in
    the next step if the voltage is still above it (and gives it back where no spike follows);
    `"subtract next"` takes v_threshold away in the next step, after the leak; `"none"`.

    Args:
        size: shape of the block.
        decay: β, kept of the voltage per step; learned as it is, and held within 0 and 1 when it acts.
        gain: default 1.
        synapse_decay: α, kept of the synaptic current per step; `None` for neurons without one.
        v_threshold: default 1; more than 0.
        reset: see above, default `"zero"`.
        reset_gradient: whether the gradient also flows through the spike in a reset in the same step.
        surrogate: derivative of the spike, default `ArcTan()`.
        learn: names of constants to be learned.
        dt: step in seconds; `Network` sets it. It does not change the dynamics, only the exported τ.

    Source: Eshraghian et al., Proceedings of the IEEE 111, 2023, doi:10.1109/JPROC.2023.3308088.
    """

    spiking: ClassVar[bool] = True

    def __init__(
        self,
        size: int | tuple[int, ...],
        decay: Value = 0.9,
        *,
        gain: Value = 1.0,
        synapse_decay: Value | None = None,
        v_threshold: Value = 1.0,
        reset: str = "zero",
        reset_gradient: bool = False,
        surrogate: Surrogate | None = None,
        learn: Iterable[str] = (),
        dt: float | None = None,
    ) -> None:
        if reset not in RESETS:
            raise unknown_name("DiscreteLIF.reset", reset, RESETS, "reset")
        self.reset, self.reset_gradient = reset, bool(reset_gradient)
        self.surrogate = surrogate or ArcTan()
        values: dict[str, Value] = {"decay": decay, "gain": gain, "v_threshold": v_threshold}
        if synapse_decay is not None:
            values["synapse_decay"] = synapse_decay
        super().__init__(size, values, learn, dt)
        if bool((self.constant("v_threshold") <= 0).any()):
            raise InputError("DiscreteLIF.v_threshold", "more than 0", "a value that is not", "raise v_threshold")

    def _bounded(self, name: str) -> bool:
        return False

    def initial(self, batch: int) -> State:
        """Zeros: synaptic current where there is one, refractory step where the reset needs it, voltage."""
        like = self.constant("decay")
        zeros = torch.zeros((batch, *self.size), dtype=like.dtype, device=like.device)
        return (zeros,) * (1 + ("synapse_decay" in self._names) + (self.reset == "blank next"))

    def dynamics(self) -> Dynamics:
        """Coefficients of the time loop; see `neurospin.scan`."""
        c = self.constants()
        return discrete_dynamics(
            c["decay"], c["v_threshold"], self.reset, synapse_decay=c.get("synapse_decay"), gain=c["gain"],
            reset_gradient=self.reset_gradient, surrogate=self.surrogate,
        )  # fmt: skip

    def scan(self, current: Spikes, state: State | None = None, *, voltage: bool = False) -> Scan:
        """Spikes, new state, and on request the voltages, for input `(time, batch, *neuron)`."""
        if self.reset not in ("subtract", "none"):
            return super().scan(current, state, voltage=voltage)
        fresh = self.initial(current.shape[1]) if state is None else state
        return discrete_scan(current, fresh, self.dynamics(), self.reset, voltage=voltage)

    def to_nir(self, dt: float) -> nir.NIRNode:
        """Reset to zero in the step of the spike: `nir.LIF` (IF, CubaLIF). Reset by subtraction in the next
        step: a leaky integrator, a threshold, and a loop of one step that takes the threshold away.

        Raises:
            GraphError: NIR cannot express it.
        """
        where, arrays = "DiscreteLIF", {name: self._wide(name) for name in self._names}
        decay = arrays["decay"].clip(0, 1)
        if self.reset in ("blank next", "subtract"):
            fix = "train with reset_mechanism='zero', or with 'subtract' and reset_delay=True"
            raise GraphError(f"{where}.reset", "a reset that NIR can express", repr(self.reset), fix)
        if (decay == 0).any() or ((decay == 1).any() and not (decay == 1).all()):
            got = "a decay of 0" if (decay == 0).any() else "decays of 1 beside others"
            raise GraphError(f"{where}.decay", "decays with one kind of membrane", got, "split the block")
        alpha = arrays["synapse_decay"].clip(0, 1) if "synapse_decay" in arrays else None
        if alpha is not None and ((alpha == 0).any() or (alpha == 1).any() or (decay == 1).any()):
            raise GraphError(f"{where}.synapse_decay", "decays between 0 and 1", "0 or 1", "change the decay")
        theta, gain, zeros = arrays["v_threshold"], arrays["gain"], np.zeros(self.size)
        if (decay == 1).all():
            if self.reset in ("zero", "zero next"):
                return nir.IF(r=gain / dt, v_threshold=theta, v_reset=zeros)
            return self._without_reset(None, nir.I(r=gain / dt), theta, gain)
        tau = dt / (1 - decay)
        tau_syn = None if alpha is None else dt / (1 - alpha)
        membrane = {"r": gain * (tau / dt), "v_leak": zeros}
        if self.reset in ("zero", "zero next"):
            spike_of = {"v_threshold": theta, "v_reset": zeros}
            if tau_syn is None:
                return nir.LIF(tau=tau, **membrane, **spike_of)
            return nir.CubaLIF(tau_mem=tau, tau_syn=tau_syn, w_in=tau_syn / dt, **membrane, **spike_of)
        synapse = None if tau_syn is None else nir.LI(tau=tau_syn, r=tau_syn / dt, v_leak=zeros)
        return self._without_reset(synapse, nir.LI(tau=tau, **membrane), theta, gain)

    def _without_reset(
        self, synapse: nir.NIRNode | None, membrane: nir.NIRNode, theta: np.ndarray, gain: np.ndarray
    ) -> nir.NIRGraph:
        """A membrane, a threshold, and the loop that subtracts where there is one."""
        shape = np.array(self.size)
        nodes = {
            "input": nir.Input({"input": shape}),
            "membrane": membrane,
            "threshold": nir.Threshold(theta),
            "output": nir.Output({"output": shape}),
        }
        edges = [("input", "membrane"), ("membrane", "threshold"), ("threshold", "output")]
        if synapse is not None:
            nodes["synapse"] = synapse
            edges[:1] = [("input", "synapse"), ("synapse", "membrane")]
        if self.reset == "subtract next":
            nodes["reset"] = nir.Scale(-theta / gain)
            edges += [("threshold", "reset"), ("reset", "membrane")]
        return nir.NIRGraph(nodes, edges)

    def rate_twin(self) -> Rate:
        """A leaky rectified unit with the same time constant and gain; a synaptic current's steady gain counts."""
        if self.dt is None:
            raise InputError("DiscreteLIF.dt", "a step in seconds", "none", "put the neuron into a Network")
        c = {name: value.detach() for name, value in self.constants().items()}
        tau = self.dt / (1 - c["decay"].clamp(0, 1))
        gain = c["gain"] / (1 - c["synapse_decay"].clamp(0, 1)) if "synapse_decay" in c else c["gain"]
        return Rate(self.size, tau, r=gain * tau / self.dt, dt=self.dt)

    def _wide(self, name: str) -> np.ndarray:
        """In float64, so that the step's decay comes back exactly from the time constant."""
        return self.constant(name).detach().cpu().double().expand(self.size).numpy().copy()

    def config(self) -> dict[str, Any]:
        """Adds the reset and the surrogate."""
        described = {"kind": type(self.surrogate).__name__, **vars(self.surrogate)}
        return {**super().config(), "reset": self.reset, "reset_gradient": self.reset_gradient, "surrogate": described}


def discrete_dynamics(
    decay: Tensor,
    threshold: Tensor,
    reset: str,
    *,
    synapse_decay: Tensor | None = None,
    gain: Tensor | None = None,
    reset_gradient: bool = False,
    surrogate: Surrogate | None = None,
) -> Dynamics:
    """Coefficients of the time loop for one of the resets of `DiscreteLIF`; decays are held within 0 and 1."""
    one = torch.ones_like(decay.detach())
    return Dynamics(
        decay=decay.clamp(0, 1),
        gain=one if gain is None else gain,
        leak=torch.zeros_like(one),
        threshold=threshold,
        reset=None if reset.startswith("subtract") else torch.zeros_like(threshold.detach()),
        synapse_decay=None if synapse_decay is None else synapse_decay.clamp(0, 1),
        synapse_gain=None if synapse_decay is None else one,
        refractory=torch.ones_like(threshold.detach()) if reset == "blank next" else None,
        delayed_reset=reset in ("zero next", "subtract next"),
        reset_gradient=reset_gradient,
        surrogate=surrogate or ArcTan(),
    )


def discrete_scan(current: Tensor, state: State, dynamics: Dynamics, reset: str, *, voltage: bool = False) -> Scan:
    """`neurospin.scan.scan` for any reset of `DiscreteLIF`."""
    d = dynamics
    assert d.threshold is not None
    if reset == "none":
        found = scan(current, state, replace(d, threshold=None, reset=None))
        return Scan(spike(found.output - d.threshold, d.surrogate), found.output if voltage else None, found.state)
    if reset != "subtract":
        return scan(current, state, d, voltage=voltage)
    outputs, voltages = [], []
    i, v = (state[0] if d.synapse_decay is not None else None), state[-1]
    for x in current.unbind(0):
        if i is not None and d.synapse_decay is not None:
            x = i = d.synapse_decay * i + x
        above = (v > d.threshold).to(v.dtype)
        u = d.decay * v + d.gain * x - above * d.threshold
        s = spike(u - d.threshold, d.surrogate)
        v = u - ((s if d.reset_gradient else s.detach()) - above) * d.threshold
        outputs.append(s)
        voltages.append(v)
    return Scan(torch.stack(outputs), torch.stack(voltages) if voltage else None, (v,) if i is None else (i, v))
