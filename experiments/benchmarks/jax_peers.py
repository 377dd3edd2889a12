"""Libraries on JAX: one adapter function each, from a cell to the jitted forward of its neurons."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from experiments.benchmarks.torch_peers import Unsupported
from experiments.benchmarks.work import BETA, KERNEL, THRESHOLD, Data, Work


def scan(work: Work) -> Callable[..., Any]:
    """A plain `jax.lax.scan`: spikes of currents `(time, batch, ...)`, with optional feedback weights."""
    import jax
    import jax.numpy as jnp

    @jax.custom_vjp
    def spike(d: Any) -> Any:
        return (d > 0).astype(d.dtype)

    spike.defvjp(lambda d: (spike(d), d), lambda d, g: (g / (1 + (math.pi * d) ** 2),))

    def neurons(x: Any, feedback: Any = None) -> Any:
        def step(state: Any, current: Any) -> Any:
            v, s = state
            if feedback is not None:
                current = current + s @ feedback.T
            u = BETA * v + current
            s = spike(u - THRESHOLD)
            return (u - THRESHOLD * jax.lax.stop_gradient(s), s), s

        zero = jnp.zeros(x.shape[1:])
        return jax.lax.scan(step, (zero, zero), x)[1]

    return neurons


def spyx(work: Work) -> Callable[..., Any]:
    """`spyx.nn.LIF` under `spyx.nn.run`."""
    import spyx
    from flax import nnx

    def neurons(x: Any, feedback: Any = None) -> Any:
        if feedback is not None:
            raise Unsupported("no recurrent layer that starts from currents")
        layer = spyx.nn.LIF(x.shape[2:], beta=BETA, threshold=THRESHOLD, activation=spyx.axn.arctan(), rngs=nnx.Rngs(0))
        return spyx.nn.run(layer, x)[0]

    return neurons


def functions(work: Work, numbers: Data, neurons: Callable[..., Any]) -> tuple[Callable, Callable]:
    """The cell's forward pass, and forward and backward (or the whole training step), both jitted."""
    import jax
    import jax.numpy as jnp

    x = jnp.asarray(numbers.x.numpy())
    weights = [jnp.asarray(w.numpy()) for w in numbers.weights]
    cotangent = jnp.asarray(numbers.cotangent.numpy())

    def model(x: Any, weights: list[Any]) -> Any:
        if work.mode == "neuron":
            return neurons(x)
        if work.mode == "recurrent":
            return neurons(x, weights[0])
        if work.mode == "conv":
            flat = x.reshape(-1, *x.shape[2:])
            y = jax.lax.conv(flat, weights[0], (1, 1), "SAME")
            assert KERNEL % 2
            return neurons(y.reshape(*x.shape[:2], *y.shape[1:]))
        for weight in weights:
            x = neurons(x @ weight.T)
        return x

    forward = jax.jit(model)
    if work.mode == "training step":
        import optax

        adam = optax.adam(1e-3)
        labels = jnp.asarray(numbers.labels.numpy())  # type: ignore[union-attr]

        def loss(weights: list[Any]) -> Any:
            logits = model(x, weights).sum(0)
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

        @jax.jit
        def train(weights: list[Any], state: Any) -> Any:
            updates, state = adam.update(jax.grad(loss)(weights), state)
            return optax.apply_updates(weights, updates), state

        keep = [weights, adam.init(weights)]

        def step() -> None:
            keep[:] = jax.block_until_ready(train(*keep))

        return lambda: jax.block_until_ready(forward(x, weights)), step

    wanted = (0, 1) if work.mode == "recurrent" else (0,) if work.mode == "neuron" else (1,)

    @jax.jit
    def both(x: Any, weights: list[Any], cotangent: Any) -> Any:
        def part(*free: Any) -> Any:
            held = [x, weights]
            for place, value in zip(wanted, free, strict=True):
                held[place] = value
            return model(*held)

        s, pull = jax.vjp(part, *[(x, weights)[place] for place in wanted])
        return s, pull(cotangent)

    return (
        lambda: jax.block_until_ready(forward(x, weights)),
        lambda: jax.block_until_ready(both(x, weights, cotangent)),
    )
