"""snnTorch 1.0: `from_snntorch` and `to_snntorch`."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from neurospin.errors import InputError
from neurospin.frontends.assemble import Carried, constant, dense_of, learned, missing, network_of, stateless
from neurospin.frontends.chain import Layer, chain, linear, map_of
from neurospin.frontends.recorder import Kinds
from neurospin.frontends.surrogates import from_snntorch_surrogate, to_snntorch_surrogate
from neurospin.frontends.trace import trace
from neurospin.network import Network
from neurospin.neurons import IF, LI, LIF, Alpha, CubaLIF, DiscreteLIF, Neuron
from neurospin.surrogate import ArcTan
from neurospin.synapses import Dense, Scale

INSTALL = "pip install snntorch"


def library() -> Any:
    """snnTorch, imported when it is first needed.

    Raises:
        MissingDependency: it is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import snntorch
    except ImportError as error:
        raise missing("snntorch", error, INSTALL) from error
    return snntorch


def kinds() -> Kinds:
    """The modules of snnTorch that are carried."""
    snn = library()
    return Kinds(step=(snn.Leaky, snn.Synaptic, snn.RLeaky, snn.RSynaptic, snn.Alpha, snn.Lapicque),
                 family=(snn.SpikingNeuron,))  # fmt: skip


def from_snntorch(model: nn.Module, dt: float = 1e-3, sample_input: Tensor | tuple[Any, ...] | None = None) -> Network:
    """The network of a snnTorch model: the same spikes, the same learned parameters (copied).

    The model runs once on `sample_input`, in evaluation and without gradients, to see what feeds what.
    It may be an `nn.Sequential`, take one step at a time, or loop over time itself. Leaky, Synaptic,
    RLeaky, RSynaptic, Alpha and Lapicque are carried with every reset, scalar or per-neuron constants
    and their surrogate; Linear, convolutions, average pooling and Flatten with their weights. Dropout is
    the identity in evaluation and is left out.

    Args:
        model: a model made of snnTorch neurons.
        dt: step in seconds. snnTorch has none; it gives the exported time constants `τ = dt / (1 − β)`.
        sample_input: one input of the model, of any values: `(batch, *input)` for a model that takes one
            step, or what its loop over time takes, with two steps or more. Further arguments of `forward`
            follow in a tuple. May be left out where the first layer is a Linear and the model takes one step.

    Returns:
        A network that takes `(time, batch, *input)` and gives the first returned tensor that is the output
        of a layer.

    Raises:
        InputError: something that cannot be carried exactly, by name, with the reason.
        MissingDependency: snnTorch is not installed.
    """
    known = kinds()
    for name, module in model.named_modules():
        if isinstance(module, known.step):
            reset_of(name, module)
    plan = trace(model, sample_of(model, sample_input, known), known)
    return network_of(plan, _carry, dt)


def sample_of(model: nn.Module, sample: Any, known: Kinds) -> Any:
    """The sample, or one made up where the first layer is a Linear."""
    if sample is not None:
        return sample
    first = next((m for m in model.modules() if not list(m.children())), None)
    if isinstance(first, nn.Linear):
        return torch.zeros(2, first.in_features)
    raise InputError("sample_input", "an example of the model's input", "none", "give sample_input=torch.zeros(...)")


def reset_of(name: str, module: Any) -> str:
    """The reset of a snnTorch neuron, as `DiscreteLIF` names it.

    Raises:
        InputError: the reset, or an option beside it, that cannot be carried.
    """
    snn = library()
    kind = type(module).__name__
    where = f"{name} ({kind})"
    if module.inhibition:
        raise InputError(f"{where}.inhibition", "False", "True: only the strongest neuron fires", "remove inhibition")
    if module.state_quant:
        raise InputError(f"{where}.state_quant", "False", "a quantised state", "remove state_quant")
    if bool((module.threshold <= 0).any()):
        raise InputError(f"{where}.threshold", "more than 0", "one that is not", "raise the threshold")
    mechanism = module.reset_mechanism
    if mechanism == "none":
        return "none"
    delayed = getattr(module, "reset_delay", True)
    if isinstance(module, snn.RSynaptic) and not delayed:
        got = "False, with which snnTorch 1.0 itself cannot run"
        raise InputError(f"{where}.reset_delay", "True", got, "set reset_delay=True, as snnTorch's default is")
    if not delayed:
        return mechanism
    return "blank next" if mechanism == "zero" and not isinstance(module, snn.Leaky) else f"{mechanism} next"


def decays(module: Any) -> dict[str, Any]:
    """Decay and gain per step, as snnTorch uses them, by `DiscreteLIF`'s names."""
    if isinstance(module, library().Lapicque):
        unit = module.R * module.C
        if bool((unit < module.time_step).any()):
            got = "a smaller one, with which the voltage changes sign in every step"
            raise InputError("Lapicque", "R C of at least time_step", got, "take a larger beta, or a smaller step")
        return {"decay": 1 - module.time_step / unit, "gain": module.R * (1 / unit) * module.time_step}
    found = {"decay": module.beta}
    return {**found, "synapse_decay": module.alpha} if hasattr(module, "alpha") else found


def decays_simply(module: Any) -> bool:
    """Whether a neuron is a membrane with at most one synaptic current, so that `DiscreteLIF` can say it."""
    return not isinstance(module, library().Alpha)


def parts(module: Any) -> int:
    """Which of the results of a neuron is its membrane."""
    return 2 if isinstance(module, (library().Synaptic, library().RSynaptic)) else 1


def _carry(name: str, module: Any, size: tuple[int, ...]) -> Carried:
    snn = library()
    reset = reset_of(name, module)
    where = f"{name} ({type(module).__name__})"
    surrogate = from_snntorch_surrogate(module.spike_grad)
    if isinstance(module, snn.Alpha):
        found = {"rise": module.alpha, "fall": module.beta, "v_threshold": module.threshold}
        values: dict[str, Any] = {key: constant(f"{where}.{key}", value, size) for key, value in found.items()}
        alpha = Alpha(size, **values, reset=reset.split()[0].replace("blank", "zero"), surrogate=surrogate,
                      learn=learned(**found))  # fmt: skip
        return Carried({"": alpha})
    if isinstance(module, snn.Lapicque) and learned(beta=module.beta):
        raise InputError(f"{where}.beta", "a fixed beta", "a learned one, which snnTorch's Lapicque never uses",
                         "set learn_beta=False")  # fmt: skip
    found = {**decays(module), "v_threshold": module.threshold}
    constants: dict[str, Any] = {key: constant(f"{where}.{key}", value, size) for key, value in found.items()}
    before = _factors(where, module, size) if isinstance(module, snn.Lapicque) else {}
    if before:
        constants["gain"] = 1.0
    neuron = DiscreteLIF(
        size, **constants, reset=reset, reset_gradient=not getattr(module, "reset_delay", True), surrogate=surrogate,
        learn=learned(**found),
    )  # fmt: skip
    loop = _loop(where, module, size) if hasattr(module, "recurrent") else None
    factor = module.graded_spikes_factor
    if factor.numel() == 1 and float(factor) == 1 and not factor.requires_grad:
        return Carried({**before, "": neuron}, loop)
    scale = Scale(size, constant(f"{where}.graded_spikes_factor", factor, size))
    scale.scale.requires_grad_(False)
    if factor.requires_grad and factor.shape != size:
        raise InputError(f"{where}.graded_spikes_factor", f"shape {size} where it is learned", "one number",
                         "give one factor per neuron, or fix it")  # fmt: skip
    scale.scale.requires_grad_(factor.requires_grad)
    return Carried({**before, "": neuron, "graded": scale})


def _factors(where: str, module: Any, size: tuple[int, ...]) -> dict[str, Scale]:
    """What a Lapicque multiplies its input by, one after the other, where one product would round otherwise.

    A power of two rounds nothing, so that one other factor at most leaves all of them to the gain.
    """
    factors = {"resistance": module.R, "rate": 1 / (module.R * module.C), "step": module.time_step}
    odd = [f for f in factors.values() if bool((torch.frexp(torch.as_tensor(f).float())[0].abs() != 0.5).any())]
    found = {key: Scale(size, constant(f"{where}.{key}", f, size)) for key, f in factors.items() if len(odd) > 1}
    for scale in found.values():
        scale.scale.requires_grad_(False)
    return found


def _loop(where: str, module: Any, size: tuple[int, ...]) -> Any:
    """The synapse by which a recurrent neuron feeds itself."""
    inner = module.recurrent
    if isinstance(inner, nn.Linear):
        return dense_of(inner)
    if isinstance(inner, nn.Conv2d):
        return stateless(where, inner, size, size)
    if not module.all_to_all:
        if module.V.numel() == 1 and module.V.requires_grad and size != (1,):
            raise InputError(f"{where}.V", f"shape {size} where it is learned", "one number, shared",
                             "give one V per neuron, or learn_recurrent=False")  # fmt: skip
        scale = Scale(size, constant(f"{where}.V", module.V.detach(), size))
        scale.scale.requires_grad_(module.V.requires_grad)
        return scale
    raise InputError(f"{where}.recurrent", "a Linear", type(inner).__name__, "use all_to_all=True with linear_features")


def to_snntorch(network: Network) -> nn.Sequential:
    """The snnTorch model of a network: the same spikes, the same learned parameters (copied).

    Its neurons keep their state (`init_hidden=True`): call `snntorch.utils.reset(model)` before a sequence,
    then `model(x[t])` for every step. Neurons whose gain is not 1 are written in units in which it is, with
    the threshold scaled: equal in real arithmetic. A leaky integrator may only stand last; it becomes a
    `Leaky` without reset with `output=True`, whose second result, the membrane, is the output.

    Args:
        network: a row of layers; a neuron may feed itself through one Dense.

    Raises:
        InputError: something that snnTorch cannot do in the same way, by name, with the reason.
        MissingDependency: snnTorch is not installed.
    """
    library()
    layers = chain(network, "snntorch")
    made: list[nn.Module] = []
    for k, layer in enumerate(layers):
        last = k == len(layers) - 1
        made.append(_neuron(layer, last) if isinstance(layer.block, Neuron) else map_of(layer, "snntorch"))
    return nn.Sequential(*made)


def _neuron(layer: Layer, last: bool) -> nn.Module:
    snn, block = library(), layer.block
    where = f"to_snntorch: {layer.name}"
    options: dict[str, Any] = {"init_hidden": True}
    if isinstance(block, DiscreteLIF | Alpha):
        c = {name: value.detach() for name, value in block.constants().items()}
        learn = {f"learn_{theirs}": ours in block.learn for theirs, ours in _THEIRS.items()}
        options |= {"threshold": c["v_threshold"], "spike_grad": to_snntorch_surrogate(block.surrogate or ArcTan())}
        if isinstance(block, Alpha):
            return snn.Alpha(c["rise"], c["fall"], reset_mechanism=block.reset, learn_beta="fall" in block.learn,
                             learn_threshold=learn["learn_threshold"], **options)  # fmt: skip
        if "gain" in block.learn or bool((c["gain"] != 1).any()):
            if "gain" in block.learn or "v_threshold" in block.learn:
                raise InputError(f"{where}.gain", "1 where it or the threshold is learned", "another", "set gain=1")
            options["threshold"] = c["v_threshold"] / c["gain"]
        decay, alpha, reset = c["decay"], c.get("synapse_decay"), block.reset
    elif isinstance(block, LIF | IF | CubaLIF | LI):
        decay, alpha, reset, found = _converted(where, block, last)
        learn = {f"learn_{theirs}": False for theirs in _THEIRS}
        options |= found
    else:
        kind = type(block).__name__
        raise InputError(where, "a neuron that snnTorch has", kind, "use LIF, IF, CubaLIF, DiscreteLIF or Alpha")
    if alpha is None:
        learn.pop("learn_alpha")
    mechanism, _, late = reset.partition(" ")
    blank = alpha is not None or layer.loop is not None
    if (mechanism == "blank" and not blank) or (reset == "zero next" and blank):
        raise InputError(f"{where}.reset", "a reset that snnTorch's neuron of this kind has", repr(reset), "use 'zero'")
    options |= {**learn, "reset_mechanism": mechanism.replace("blank", "zero")}
    options["reset_delay"] = bool(late) or mechanism == "none"
    if layer.loop is not None:
        if not isinstance(layer.loop, Dense) or (alpha is not None and not options["reset_delay"]):
            raise InputError(f"{where} loop", "a Dense, and a reset in the next step with a synaptic current",
                             f"{type(layer.loop).__name__}, reset {reset!r}", "use reset='subtract next'")  # fmt: skip
        options["linear_features"] = layer.loop.input_size[0]
        kind = snn.RLeaky if alpha is None else snn.RSynaptic
        made = kind(**({} if alpha is None else {"alpha": alpha}), beta=decay, **options)
        made.recurrent = linear(layer.loop)
        return made
    return snn.Leaky(decay, **options) if alpha is None else snn.Synaptic(alpha, decay, **options)


_THEIRS = {"beta": "decay", "alpha": "synapse_decay", "threshold": "v_threshold"}


def _converted(where: str, block: Any, last: bool) -> tuple[Tensor, Tensor | None, str, dict[str, Any]]:
    """Decays, reset and options of a neuron that has time constants."""
    d = block.dynamics()
    if block.learn:
        fix = "learn in neurospin, or take DiscreteLIF, whose constants are snnTorch's own"
        raise InputError(f"{where}.learn", "fixed time constants and voltages", ", ".join(block.learn), fix)
    if bool((d.leak != 0).any()) or (d.reset is not None and bool((d.reset != 0).any())):
        raise InputError(where, "v_leak and v_reset of 0", "another", "shift the voltages so that both are 0")
    if d.refractory is not None or (d.delayed_reset and (d.synapse_decay is not None)):
        raise InputError(where, "no refractory period or delayed reset", "one", "remove it")
    scale = (d.gain if d.synapse_gain is None else d.gain * d.synapse_gain).detach()
    alpha = None if d.synapse_decay is None else d.synapse_decay.detach()
    if d.threshold is None:
        if not last or bool((scale != 1).any()):
            got = "one elsewhere" if not last else f"a gain of {float(scale.max()):g}"
            raise InputError(
                where, "a leaky integrator last, with r = tau_mem / dt", got, "scale the weights before it"
            )
        return d.decay.detach(), alpha, "none", {"output": True}
    if d.reset is None and not d.delayed_reset:
        got = "a subtraction in the step of the spike; snnTorch's repeats it while the voltage stays above"
        raise InputError(f"{where}.reset", "a reset that snnTorch has", got, "use reset='value'")
    reset = "zero" if d.reset is not None else "subtract"
    surrogate = to_snntorch_surrogate(block.surrogate or ArcTan())
    threshold = (d.threshold / scale).detach()
    return d.decay.detach(), alpha, f"{reset} next" if d.delayed_reset else reset, {
        "threshold": threshold, "spike_grad": surrogate,
    }  # fmt: skip
