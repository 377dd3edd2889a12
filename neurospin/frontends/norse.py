"""Norse 1.1: `from_norse` and `to_norse`."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from neurospin.errors import InputError
from neurospin.frontends.assemble import Carried, constant, missing, network_of, take
from neurospin.frontends.chain import Layer, chain, map_of
from neurospin.frontends.recorder import Kinds
from neurospin.frontends.surrogates import from_norse_surrogate
from neurospin.frontends.trace import trace
from neurospin.network import Network
from neurospin.neurons import ALIF, IF, LI, LIF, CubaLI, CubaLIF, DiscreteLIF, Neuron
from neurospin.surrogate import FastSigmoid, Surrogate
from neurospin.synapses import Delay, Dense

LEARNED = {"tau_mem_inv": "tau_mem", "v_th": "v_threshold", "v_reset": "v_reset"}
INSTALL = "pip install --no-deps norse (with its dependencies, pip replaces torch)"


def library() -> Any:
    """Norse, imported when it is first needed.

    Raises:
        MissingDependency: it is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import norse.torch
    except ImportError as error:
        raise missing("norse", error, INSTALL) from error
    return norse.torch


def kinds() -> Kinds:
    """The modules of Norse that are carried."""
    n = library()
    from norse.torch.module.leaky_integrator import LILinearCell
    from norse.torch.module.snn import SNN, SNNCell, SNNRecurrent, SNNRecurrentCell

    cells = (n.LIFCell, n.LIFBoxCell, n.LIFRecurrentCell, n.LICell, n.LIBoxCell, n.IAFCell, n.LSNNCell,
             n.LSNNRecurrentCell, LILinearCell)  # fmt: skip
    whole = (n.LIF, n.LIFRecurrent, n.LI, n.IAF, n.LSNN, n.LSNNRecurrent)
    return Kinds(step=cells, sequence=whole, family=(SNNCell, SNNRecurrentCell, SNN, SNNRecurrent),
                 states_passed=lambda module: True)  # fmt: skip


def from_norse(
    model: nn.Module, dt: float | None = None, sample_input: Tensor | tuple[Any, ...] | None = None
) -> Network:
    """The network of a Norse model: the same dynamics, the same learned weights (copied).

    The model runs once on `sample_input`, in evaluation and without gradients, to see what feeds what.
    It may take one step (cells, `SequentialState`), a whole sequence (`LIF`, `LI`, `Lift`, …), or loop
    over time itself. LIF, LIFBox, LIFRecurrent, LI, LILinear, LIBox, IAF and LSNN are carried; Norse's
    current, which jumps before the voltage moves and decays after it, is NIR's CubaLIF with
    `w_in = τ_syn / dt`. An LSNN becomes a synaptic filter, a delay of one step and an adaptive LIF.

    In real arithmetic the spikes are equal. Norse adds `dt/τ (v_leak − v + i)` where neurospin takes
    `(1 − dt/τ) v + …`, so that in float32 the voltages differ by rounding, and a spike may differ where a
    voltage meets the threshold within it; IAF is equal to the bit.

    Args:
        model: a model made of Norse neurons.
        dt: step in seconds; default, the one that the model's neurons have.
        sample_input: one input of the model, of any values: `(batch, *input)` for a model that takes one
            step, `(time, batch, *input)` for one that takes a sequence. May be left out where the first
            layer is a Linear.

    Raises:
        InputError: something that cannot be carried exactly, by name, with the reason.
        MissingDependency: Norse is not installed.
    """
    known = kinds()
    neurons: dict[str, Any] = {name: m for name, m in model.named_modules() if isinstance(m, known.family)}
    steps = {float(m.dt) for m in neurons.values()}
    steps |= {dt} if dt is not None else set()
    if len(steps) > 1:
        told = ", ".join(f"{name}: {m.dt:g} s" for name, m in neurons.items())
        raise InputError("dt", "one step in the whole model", f"{told}; dt = {dt}", "give every neuron the same dt")
    if not steps:
        raise InputError("from_norse", "a model with Norse neurons", type(model).__name__, "check the model")
    plan = trace(model, sample_of(model, sample_input, known), known)
    return network_of(plan, carry, steps.pop())


def sample_of(model: nn.Module, sample: Any, known: Kinds) -> Any:
    """The sample, or one made up where the first layer is a Linear."""
    if sample is not None:
        return sample
    first: Any = next((m for m in model.modules() if not list(m.children())), None)
    if isinstance(first, nn.Linear):
        inputs = first.in_features
    elif hasattr(first, "input_weights"):
        inputs = first.input_weights.shape[1]
    else:
        fix = "give sample_input=torch.zeros(...)"
        raise InputError("sample_input", "an example of the model's input", "none", fix)
    whole = any(isinstance(m, (*known.sequence, library().Lift)) for m in model.modules())
    return torch.zeros(*((2, 2) if whole else (2,)), inputs)


def carry(name: str, module: Any, size: tuple[int, ...]) -> Carried:
    """What a neuron of Norse becomes."""
    n, p, dt = library(), module.p, float(module.dt)
    kind = type(module).__name__
    where = f"{name} ({kind})"

    learn: list[str] = []

    def get(key: str) -> Tensor:
        value = getattr(p, key)
        if isinstance(value, nn.Parameter) and value.requires_grad:
            if key not in LEARNED:
                expected = f"a fixed constant ({', '.join(LEARNED)} may be learned)"
                raise InputError(f"{where}.{key}", expected, "a learned one", "fix it")
            learn.append(LEARNED[key])
        return constant(f"{where}.{key}", value, size).double()

    tau: dict[str, Any] = {
        key: (1 / get(f"{key}_inv")).float() for key in ("tau_mem", "tau_syn", "tau_adapt") if hasattr(p, f"{key}_inv")
    }
    rest = get("v_leak") if hasattr(p, "v_leak") else get("v_reset")  # every voltage starts here
    if isinstance(module, (n.LICell, n.LI, n.LIBoxCell)) or kind == "LILinearCell":
        if bool((rest != 0).any()):
            raise InputError(f"{where}.v_leak", "0, where a voltage starts", "another", "set v_leak=0; add it outside")
        box = isinstance(module, n.LIBoxCell)
        neuron: Neuron = (
            LI(size, tau["tau_mem"], learn=learn) if box else CubaLI(size, **tau, w_in=tau["tau_syn"] / dt, learn=learn)
        )
        if kind == "LILinearCell":
            return Carried({"input": _dense(module.input_weights), "": neuron})
        return Carried({"": neuron})
    if p.method == "adjoint" or getattr(module.activation, "__name__", "").find("adjoint") >= 0:
        raise InputError(f"{where}.method", "a surrogate", "'adjoint'", "use method='super'")
    recurrent = hasattr(module, "recurrent_weights")
    reset = getattr(getattr(p, "reset_method", None), "__name__", "reset_value")
    if reset not in ("reset_value", "reset_subtract"):
        raise InputError(f"{where}.reset_method", "reset_value or reset_subtract", reset, "use one of them")
    subtract = reset == "reset_subtract"
    if subtract and bool((rest != 0).any()):
        raise InputError(f"{where}.v_leak", "0 with reset_subtract", "another", "set v_leak=0")
    voltages = {"v_threshold": (get("v_th") - rest).float(), "v_reset": (get("v_reset") - rest).float()}
    options: dict[str, Any] = {
        **voltages,
        "learn": sorted(set(learn)),
        "reset": "subtract" if subtract else "value",
        "reset_gradient": not recurrent,
        "surrogate": from_norse_surrogate(p.method, p.alpha),
    }
    if isinstance(module, (n.IAFCell, n.IAF)):
        chain: dict[str, Any] = {"": IF(size, r=1 / dt, **options)}
    elif isinstance(module, n.LIFBoxCell):
        chain = {"": LIF(size, tau["tau_mem"], **options)}
    elif "tau_adapt" in tau:
        keep = 1 - dt / tau["tau_adapt"].double()
        adaptive = ALIF(size, tau["tau_mem"], tau["tau_adapt"], adaptation=(get("beta") * keep).float(), **options)
        synapse = LI(size, tau["tau_syn"], r=tau["tau_syn"] / dt)
        chain = {"synapse": synapse, "delay": Delay(size, dt), "": adaptive}
    else:
        chain = {"": CubaLIF(size, tau["tau_mem"], tau["tau_syn"], w_in=tau["tau_syn"] / dt, **options)}
    if not recurrent:
        return Carried(chain)
    chain = {"input": _dense(module.input_weights), **chain}
    return Carried(chain, _dense(module.recurrent_weights), into="synapse" if "synapse" in chain else "")


def _dense(weights: Tensor) -> Dense:
    outputs, inputs = weights.shape
    dense = Dense(inputs, outputs, generator=torch.Generator())
    take(dense.stored, weights)
    return dense


def to_norse(network: Network) -> nn.Module:
    """The Norse model of a network: a `Lift(SequentialState(…))` that takes `(time, batch, *input)` and gives
    the output and the last state. Spikes are equal in real arithmetic; see `from_norse`.

    Voltages are written in the units in which Norse's input acts: `v / r`, with the threshold scaled.

    Args:
        network: a row of layers; a CubaLIF right after a Dense may feed itself through one Dense.

    Raises:
        InputError: something that Norse cannot do in the same way, by name, with the reason.
        MissingDependency: Norse is not installed.
    """
    n = library()
    made: list[nn.Module] = []
    for layer in chain(network, "norse"):
        if not isinstance(layer.block, Neuron):
            made.append(map_of(layer, "norse"))
            continue
        cell = _cell(layer)
        if layer.loop is None:
            made.append(cell)
            continue
        before = made.pop() if made else None
        inside = layer.loop
        if (
            not isinstance(cell, n.LIFCell) or not isinstance(before, nn.Linear) or before.bias is not None
            or not isinstance(inside, Dense) or inside.bias is not None
        ):  # fmt: skip
            got = f"{type(layer.block).__name__} with a {type(inside).__name__}"
            expected = "CubaLIF between a Dense and a loop through a Dense, both without bias"
            raise InputError(f"to_norse: {layer.name} loop", expected, got, "use CubaLIF, or another target")
        weights = [nn.Parameter(w.detach().clone()) for w in (before.weight, inside.weight)]
        made.append(n.LIFRecurrentCell(before.in_features, before.out_features, cell.p, input_weights=weights[0],
                                       recurrent_weights=weights[1], autapses=True, dt=cell.dt))  # fmt: skip
    return n.Lift(n.SequentialState(*made))


def _cell(layer: Layer) -> Any:
    n, block = library(), layer.block
    where = f"to_norse: {layer.name}"
    if not isinstance(block, LIF | IF | LI | CubaLIF | CubaLI | DiscreteLIF) or block.dt is None:
        kind = type(block).__name__
        raise InputError(where, "a neuron that Norse has", kind, "use LIF, IF, LI, CubaLIF or CubaLI")
    if block.learn:
        raise InputError(f"{where}.learn", "fixed constants", ", ".join(block.learn), "Norse's cells do not learn them")
    d, dt = block.dynamics(), block.dt
    reset = getattr(block, "reset", None)
    if (
        d.refractory is not None
        or reset in ("subtract next", "blank next", "none")
        or (d.delayed_reset and reset != "zero next")
    ):
        raise InputError(f"{where}.reset", "a reset in the step of the spike", str(reset), "use reset='value'")
    if bool((d.leak != 0).any()):
        raise InputError(f"{where}.v_leak", "0, where a voltage starts", "another", "shift the voltages")
    rate = 1 - d.decay.detach().double()
    scale = d.gain.detach().double() / (1 if isinstance(block, IF) else rate)
    if d.synapse_gain is not None:
        scale = scale * d.synapse_gain.detach().double()
    if isinstance(block, LI | CubaLI) and bool((scale - 1).abs().max() > 1e-6):
        got = f"a gain of {float(scale.max()):g}"
        raise InputError(
            f"{where}.r", "a leaky integrator with r = 1 and w_in = tau_syn / dt", got, "scale the weights"
        )
    tau: dict[str, Tensor] = {} if isinstance(block, IF) else {"tau_mem_inv": (rate / dt).float()}
    if d.synapse_decay is not None:
        tau["tau_syn_inv"] = ((1 - d.synapse_decay.detach().double()) / dt).float()
    if d.threshold is None:
        return n.LICell(n.LIParameters(**tau), dt=dt) if d.synapse_decay is not None else n.LIBoxCell(
            n.LIBoxParameters(**tau), dt=dt
        )  # fmt: skip
    voltages = {"v_th": (d.threshold.detach().double() / scale).float()}
    if d.reset is not None:
        voltages["v_reset"] = (d.reset.detach().double() / scale).float()
    subtract = d.reset is None
    if subtract and (d.synapse_decay is not None or isinstance(block, (IF, DiscreteLIF))):
        raise InputError(f"{where}.reset", "reset to a value, which this neuron of Norse has", "subtract", "use LIF")
    method = {"method": _method(where, block.surrogate)}
    if isinstance(block, IF):
        return n.IAFCell(n.IAFParameters(**voltages, **method), dt=dt)
    if d.synapse_decay is not None:
        return n.LIFCell(n.LIFParameters(**tau, **voltages, **method), dt=dt)
    options = {"reset_method": _reset_subtract()} if subtract else {}
    return n.LIFBoxCell(n.LIFBoxParameters(**tau, **voltages, **method, **options), dt=dt)


def _reset_subtract() -> Any:
    from norse.torch.functional.reset import reset_subtract

    return reset_subtract


def _method(where: str, surrogate: Surrogate | None) -> str:
    """Norse's name of a surrogate; only its SuperSpike of slope 1 has a counterpart."""
    if surrogate == FastSigmoid(1.0):
        return "super"
    warnings.warn(
        f"{where}: Norse has no {surrogate}; spikes are the same, gradients are its SuperSpike's", stacklevel=5
    )
    return "super"
