"""A plain numpy evaluation of any NIR graph, step by step; it shares no code with neurospin or torch."""

from __future__ import annotations

import nir
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

NEURONS = (nir.I, nir.IF, nir.LI, nir.LIF, nir.CubaLI, nir.CubaLIF)


def lay_flat(graph, prefix=""):
    """Nodes and edges with nested graphs laid flat, as `outer.inner`."""
    nodes, edges = {}, []
    for name, node in graph.nodes.items():
        if isinstance(node, nir.NIRGraph):
            deeper_nodes, deeper_edges = lay_flat(node, f"{prefix}{name}.")
            nodes |= deeper_nodes
            edges += deeper_edges
        else:
            nodes[prefix + name] = node

    def end(name, kind):
        node = graph.nodes[name]
        if not isinstance(node, nir.NIRGraph):
            return prefix + name
        (port,) = (n for n, m in node.nodes.items() if isinstance(m, kind))
        return f"{prefix}{name}.{port}"

    return nodes, edges + [(end(a, nir.Output), end(b, nir.Input)) for a, b in graph.edges]


def back_edges(names, edges, starts):
    """Edges that return to a node on the way from the inputs, by the recursive definition."""
    back, seen, way = set(), set(), []

    def visit(name):
        seen.add(name)
        way.append(name)
        for a, b in edges:
            if a == name and b in way:
                back.add((a, b))
            elif a == name and b not in seen:
                visit(b)
        way.pop()

    for name in [*starts, *names]:
        if name not in seen:
            visit(name)
    return back


class Oracle:
    """One graph, evaluated by `run`."""

    def __init__(self, graph, dt, kind=np.float64, *, scheme="euler", reset="value", resets=None, refractory=None):
        self.nodes, self.edges = lay_flat(graph)
        self.dt, self.kind, self.scheme, self.reset = kind(dt), kind, scheme, reset
        self.resets, self.refractory = resets or {}, refractory or {}
        own = [n for n, node in graph.nodes.items() if isinstance(node, nir.Input)]
        starts = list(dict.fromkeys(a for a, _ in self.edges if a in own))
        self.back = back_edges(list(self.nodes), self.edges, starts)
        self.own = own

    def run(self, inputs, steps, batch):
        """Output of every node by flat name, `(time, batch, *shape)`."""
        past, self.state, out = None, {}, {name: [] for name in self.nodes}
        for t in range(steps):
            now = {name: x[t].astype(self.kind) for name, x in inputs.items()}
            while len(now) < len(self.nodes):
                ready = [
                    n for n in self.nodes
                    if n not in now and all(a in now for a, b in self.edges if b == n and (a, b) not in self.back)
                ]  # fmt: skip
                for name in ready:
                    now[name] = self.one(name, now, past, batch, inputs)
            for name, value in now.items():
                out[name].append(value)
            past = now
        return {name: np.stack(values) for name, values in out.items()}

    def one(self, name, now, past, batch, inputs):
        terms = [now[a] for a, b in self.edges if b == name and (a, b) not in self.back]
        for a, b in self.edges:
            if b == name and (a, b) in self.back:
                terms.append(past[a] if past is not None else self.silence(a, batch, inputs))
        total = terms[0]
        for term in terms[1:]:
            total = total + term
        return self.apply(name, total)

    def silence(self, name, batch, inputs):
        """What a node gives when all is silent."""
        node = self.nodes[name]
        if name in inputs:
            return np.zeros_like(inputs[name][0]).astype(self.kind)
        if isinstance(node, (*NEURONS, nir.Delay)):
            size = node.delay.shape if isinstance(node, nir.Delay) else node.r.shape
            return np.zeros((batch, *size), self.kind)
        return self.apply(name, sum(self.silence(a, batch, inputs) for a, b in self.edges if b == name))

    def apply(self, name, x):
        node = self.nodes[name]

        def get(field):
            return np.asarray(getattr(node, field)).astype(self.kind)

        if isinstance(node, nir.Input | nir.Output):
            return x
        if isinstance(node, nir.Affine | nir.Linear):
            y = np.einsum("...oi,b...i->b...o", get("weight"), x)
            return y + get("bias") if isinstance(node, nir.Affine) else y
        if isinstance(node, nir.Scale):
            return x * get("scale")
        if isinstance(node, nir.Threshold):
            return (x > get("threshold")).astype(self.kind)
        if isinstance(node, nir.Flatten):
            rank = x.ndim - 1
            first, last = node.start_dim % rank + 1, node.end_dim % rank + 1
            return x.reshape(*x.shape[:first], -1, *x.shape[last + 1 :])
        if isinstance(node, nir.Conv1d | nir.Conv2d):
            return convolved(x, get("weight"), get("bias"), node)
        if isinstance(node, nir.SumPool2d | nir.AvgPool2d):
            size = np.broadcast_to(node.kernel_size, 2)
            found = windows(x, size, np.broadcast_to(node.stride, 2), np.broadcast_to(node.padding, 2), (1, 1))
            total = found.sum((-1, -2))
            return total / np.prod(size) if isinstance(node, nir.AvgPool2d) else total
        if isinstance(node, nir.Delay):
            line = self.state.setdefault(name, [])
            line.append(x)
            steps = np.rint(node.delay.astype(np.float32) / np.float32(self.dt)).astype(int)
            pick = [np.where(steps == d, line[-1 - d] if d < len(line) else 0 * x, 0 * x) for d in np.unique(steps)]
            return sum(pick)
        return self.neuron(name, node, x, get)

    def neuron(self, name, node, x, get):
        def rate(tau):
            return -np.expm1(-self.dt / tau) if self.scheme == "exponential" else self.dt / tau

        v, i, rest = self.state.get(name, (np.zeros_like(x), np.zeros_like(x), np.zeros_like(x)))
        if hasattr(node, "tau_syn"):
            x = i = i + rate(get("tau_syn")) * (get("w_in") * x - i)
        if isinstance(node, nir.I | nir.IF):
            u = v + self.dt * get("r") * x
        else:
            tau = get("tau") if hasattr(node, "tau") else get("tau_mem")
            u = v + rate(tau) * (get("v_leak") - v + get("r") * x)
        if not hasattr(node, "v_threshold"):
            self.state[name] = (u, i, rest)
            return u
        theta = get("v_threshold")
        fired = (u > theta) & (rest <= 0)
        after = (
            u - theta if self.resets.get(name, self.reset) == "subtract" else np.broadcast_to(get("v_reset"), u.shape)
        )
        held = np.where(rest > 0, v, np.where(fired, after, u))
        pause = np.rint(np.asarray(self.refractory.get(name, 0.0)) / self.dt)
        self.state[name] = (held, i, np.where(fired, pause, np.maximum(rest - 1, 0)))
        return fired.astype(self.kind)


def windows(x, size, stride, padding, dilation):
    """Windows over the last axes of `(batch, channels, *space)`: `(batch, channels, *places, *size)`."""
    axes = len(size)
    x = np.pad(x, [(0, 0), (0, 0), *[(int(p), int(p)) for p in padding]])
    spans = [int(d * (k - 1) + 1) for d, k in zip(dilation, size, strict=True)]
    found = sliding_window_view(x, spans, tuple(range(2, 2 + axes)))
    places = tuple(slice(None, None, int(s)) for s in stride)
    inside = tuple(slice(None, None, int(d)) for d in dilation)
    return found[(slice(None), slice(None), *places, *inside)]


def convolved(x, weight, bias, node):
    axes = weight.ndim - 2
    stride, dilation = (np.broadcast_to(n, axes) for n in (node.stride, node.dilation))
    size = weight.shape[2:]
    if node.padding == "same" if isinstance(node.padding, str) else False:
        extra = [int(d * (k - 1)) for d, k in zip(dilation, size, strict=True)]
        x = np.pad(x, [(0, 0), (0, 0), *[(e // 2, e - e // 2) for e in extra]])
    padding = (0,) * axes if isinstance(node.padding, str) else np.broadcast_to(node.padding, axes)
    found = windows(x, size, stride, padding, dilation)
    groups, (out, per) = int(node.groups), weight.shape[:2]
    parts = []
    for g in range(groups):
        w = weight[g * out // groups : (g + 1) * out // groups]
        part = found[:, g * per : (g + 1) * per]
        letters = "xyz"[:axes], "uvw"[:axes]
        parts.append(np.einsum(f"bc{letters[0]}{letters[1]},oc{letters[1]}->bo{letters[0]}", part, w, optimize=True))
    return np.concatenate(parts, 1) + bias.reshape(-1, *([1] * axes))
