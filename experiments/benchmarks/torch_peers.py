"""Libraries on torch: one adapter function each, from a cell and its weights to a model.

An adapter gets `weights` as parameters and may put its own in their place. Its model maps the input
`(time, batch, ...)` to output spikes, from a fresh state, every time that it is called.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, linear

import neurospin as ns
from experiments.benchmarks.work import BETA, CHANNELS, KERNEL, PIXELS, THRESHOLD, Work

Model = Callable[[Tensor], Tensor]
Weights = list[nn.Parameter]


class Unsupported(Exception):
    """The library cannot do this cell; the message says why."""


def stacked(work: Work, weights: Weights, neurons: Callable[[], Model], per_step: bool = False) -> Model:
    """Products and neurons in turn: one product over time x batch, or one a step (`per_step`)."""
    if work.mode == "neuron":
        return neurons()
    if work.mode == "recurrent":
        raise Unsupported("no recurrent layer that starts from currents")
    if work.mode == "conv":
        layer = neurons()
        return lambda x: layer(conv2d(x.flatten(0, 1), weights[0], padding=KERNEL // 2).unflatten(0, x.shape[:2]))
    layers = [neurons() for _ in weights]

    def model(x: Tensor) -> Tensor:
        for weight, layer in zip(weights, layers, strict=True):
            x = layer(torch.stack([linear(y, weight) for y in x.unbind(0)]) if per_step else linear(x, weight))
        return x

    return model


def snntorch(work: Work, weights: Weights, per_step: bool = True) -> Model:
    """Leaky, in a loop over steps, the product inside the loop, as its tutorials have it."""
    import snntorch as snn
    from snntorch import surrogate

    if work.mode == "recurrent":
        layer = snn.RLeaky(
            beta=BETA, threshold=THRESHOLD, spike_grad=surrogate.atan(alpha=2.0), all_to_all=True,
            linear_features=work.size, reset_mechanism="subtract",
        )  # fmt: skip
        layer.recurrent.weight, layer.recurrent.bias = weights[0], None

        def recurrent(x: Tensor) -> Tensor:
            s, v = layer.init_rleaky()
            out = []
            for current in x.unbind(0):
                s, v = layer(current, s, v)
                out.append(s)
            return torch.stack(out)

        return recurrent

    def neurons() -> Model:
        layer = snn.Leaky(beta=BETA, threshold=THRESHOLD, spike_grad=surrogate.atan(alpha=2.0))

        def run(x: Tensor) -> Tensor:
            v, out = layer.init_leaky(), []
            for current in x.unbind(0):
                s, v = layer(current, v)
                out.append(s)
            return torch.stack(out)

        return run

    return stacked(work, weights, neurons, per_step)


def snntorch_once(work: Work, weights: Weights) -> Model:
    """snntorch's neurons behind one product over time x batch."""
    if work.mode in ("neuron", "recurrent"):
        raise Unsupported("the same as snntorch: there is no product before the loop")
    return snntorch(work, weights, per_step=False)


def norse(work: Work, weights: Weights) -> Model:
    """LIFBoxCell, lifted over time; its recurrent LIF has two states and an input product."""
    import norse.torch as nt
    from norse.torch.functional.lif_box import LIFBoxParameters
    from norse.torch.module.lif_box import LIFBoxCell
    from norse.torch.module.lift import Lift

    scale = 1 - BETA
    if work.mode == "recurrent":
        p = nt.LIFParameters(tau_mem_inv=torch.tensor(scale / 1e-3), tau_syn_inv=torch.tensor(0.9 / 1e-3))
        layer = nt.LIFRecurrent(work.size, work.size, p=p, autapses=True)
        gain = 1 / scale  # the current's share of a step
        with torch.no_grad():
            layer.input_weights.copy_(gain * torch.eye(work.size))
            layer.recurrent_weights.copy_(gain * weights[0])
        weights[0] = layer.recurrent_weights
        return lambda x: layer(x)[0]

    def neurons() -> Model:
        p = LIFBoxParameters(tau_mem_inv=torch.tensor(scale / 1e-3), v_th=torch.tensor(THRESHOLD * scale))
        layer = Lift(LIFBoxCell(p))
        layer.is_stateful = True
        return lambda x: layer(x)[0]

    return stacked(work, weights, neurons)


def spikingjelly(work: Work, weights: Weights) -> Model:
    """LIFNode in multi-step mode; LinearRecurrentContainer where it feeds itself."""
    from spikingjelly.activation_based import functional, layer, neuron, surrogate

    def node(mode: str) -> nn.Module:
        return neuron.LIFNode(
            tau=1 / (1 - BETA), decay_input=False, v_threshold=THRESHOLD, v_reset=None, detach_reset=True,
            surrogate_function=surrogate.ATan(), step_mode=mode,
        )  # fmt: skip

    def fresh(module: nn.Module) -> Model:
        def run(x: Tensor) -> Tensor:
            functional.reset_net(module)
            return module(x)

        return run

    if work.mode == "recurrent":
        container = layer.LinearRecurrentContainer(node("s"), work.size, work.size, bias=False, step_mode="m")
        with torch.no_grad():
            container.rc.weight.copy_(torch.cat([torch.eye(work.size), weights[0].cpu()], 1))
        weights[0] = container.rc.weight
        return fresh(container)
    return stacked(work, weights, lambda: fresh(node("m")))


def sinabs(work: Work, weights: Weights) -> Model:
    """LIF, batch first."""
    import sinabs.layers as sl
    from sinabs.activation import SingleSpike

    def neurons() -> Model:
        layer = sl.LIF(
            tau_mem=-1 / math.log(BETA), norm_input=False, spike_threshold=torch.tensor(THRESHOLD),
            spike_fn=SingleSpike,
        )  # fmt: skip
        layer.tau_mem.requires_grad_(False)

        def run(x: Tensor) -> Tensor:
            layer.reset_states()
            return layer(x.transpose(0, 1)).transpose(0, 1)

        return run

    return stacked(work, weights, neurons)


def rockpool(work: Work, weights: Weights) -> Model:
    """LIFTorch, batch first; two states and noise, so that its spikes are its own."""
    from rockpool.nn.modules import LIFTorch

    if work.mode == "conv":
        raise Unsupported("its neurons are one-dimensional")

    def make(size: int) -> Model:
        layer = LIFTorch(
            size, tau_mem=torch.tensor(-1e-3 / math.log(BETA)), tau_syn=torch.tensor(-1e-3 / math.log(0.1)),
            threshold=torch.tensor(0.1), dt=1e-3,
        )  # fmt: skip
        for parameter in layer.torch_parameters() if hasattr(layer, "torch_parameters") else ():
            parameter.requires_grad_(False)
        for name in ("tau_mem", "tau_syn", "threshold", "bias"):
            value = getattr(layer, name, None)
            if isinstance(value, Tensor) and value.is_leaf:
                value.requires_grad_(False)

        def run(x: Tensor) -> Tensor:
            layer.reset_state()
            return layer(x.transpose(0, 1))[0].transpose(0, 1)

        return run

    sizes = iter([w.shape[0] for w in weights] or [work.size])
    return stacked(work, weights, lambda: make(next(sizes)))


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx, distance):  # type: ignore[override]
        ctx.save_for_backward(distance)
        return (distance > 0).to(distance.dtype)

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[override]
        (distance,) = ctx.saved_tensors
        scaled = math.pi * distance
        return gradient / (1 + scaled * scaled)


def torch_compile(work: Work, weights: Weights) -> Model:
    """Ten steps a compiled block; needs a C++ compiler."""
    steps = 10
    if work.time % steps:
        raise Unsupported(f"T is no multiple of the {steps} steps of its block")

    def block(currents: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        out = []
        for x in currents.unbind(0):
            u = BETA * v + x
            s = _Spike.apply(u - THRESHOLD)
            v = u - THRESHOLD * s.detach()
            out.append(s)
        return torch.stack(out), v

    compiled = torch.compile(block, fullgraph=True, dynamic=False)

    def run(x: Tensor) -> Tensor:
        v, out = torch.zeros_like(x[0]).detach(), []
        for piece in x.split(steps, 0):
            s, v = compiled(piece, v)
            out.append(s)
        return torch.cat(out)

    return stacked(work, weights, lambda: run)


def lif(*size: int, memory: str = "float32") -> ns.LIF:
    """Our neurons, for steps of 1 ms."""
    tau = 1e-3 / (1 - BETA)
    return ns.LIF(size, tau_mem=tau, r=tau / 1e-3, v_threshold=THRESHOLD, reset="subtract", memory=memory)


def recompute(work: Work, weights: Weights) -> Model:
    """Our neurons, which keep nothing but their input for the backward pass."""
    if work.mode != "neuron":
        raise Unsupported("it is of neurons alone")
    layer = lif(work.size, memory="recompute")
    layer.bind(1e-3)
    return lambda x: layer(x)[0]


def ours(work: Work, weights: Weights) -> Model:
    """neurospin's blocks alone (neuron, conv), and networks of them."""
    dt = 1e-3

    def dense(weight: nn.Parameter) -> ns.Dense:
        layer = ns.Dense(weight.shape[1], weight.shape[0])
        layer.stored = weight
        return layer

    if work.mode == "neuron":
        layer = lif(work.size)
        layer.bind(dt)
        layer.to(weights[0].device if weights else None)
        return lambda x: layer(x)[0]
    if work.mode == "conv":
        convolution = ns.Conv2d((CHANNELS, PIXELS, PIXELS), CHANNELS, KERNEL, padding=KERNEL // 2)
        convolution.stored = weights[0]
        blocks: list = [convolution, lif(CHANNELS, PIXELS, PIXELS)]
    elif work.mode == "recurrent":
        blocks = [ns.Recurrent(lif(work.size), dense(weights[0]))]
    else:
        blocks = [block for weight in weights for block in (dense(weight), lif(weight.shape[0]))]
    net = ns.Network(blocks, dt=dt).to(weights[0].device)
    return lambda x: net(x).output


sys.modules["samna"] = None  # type: ignore[assignment]  # rockpool and sinabs would have it installed from the network
