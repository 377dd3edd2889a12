"""Recurrent time loop of LIF and CubaLIF neurons (numba; imported when first used): see `neurospin.scan.recurrent`.

Forward, each step adds to a sample's input only the columns of W whose neurons fired in the step before.
Arrays are `(time, batch, neurons)`, float32 and contiguous; the coefficients have one entry per neuron.
"""

from __future__ import annotations

import numpy as np

from neurospin.scan.gather import LANES, F, add_rows, fired, kernel, lowest, pack, table
from neurospin.scan.panels import times


@kernel
def forward(
    x: np.ndarray,
    first: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray,
    coefficients: np.ndarray,
    to_value: bool,
    delayed: bool,
    current: np.ndarray,
    v: np.ndarray,
    s: np.ndarray,
    u: np.ndarray,
    i: np.ndarray,
) -> None:
    """Fill spikes s, voltages before the reset u and, where it has any steps, synaptic currents i.

    `first` is what the synapses give in step 0, `(batch, neurons)`; `current` and `v` are the states,
    overwritten. Coefficients: decay, gain, leak, threshold, reset, synapse_decay, synapse_gain. `delayed`: the
    threshold is subtracted in the step after the spike.
    """
    steps, batch, neurons = x.shape
    blocks = (neurons + LANES - 1) // LANES
    tables = table(blocks * neurons).reshape((blocks, neurons, LANES))
    for c in range(blocks):
        pack(weight, c * LANES, tables[c])
    offsets = np.zeros((blocks, LANES), np.float32)
    offsets.reshape(-1)[:neurons] = bias
    lists, counts = np.empty((batch, neurons), np.int32), np.zeros(batch, np.int64)
    sums = np.zeros((batch, blocks, LANES), np.float32)
    totals = sums.reshape((batch, blocks * LANES))
    totals[:, :neurons] = first
    decay, gain, leak, threshold = coefficients[0], coefficients[1], coefficients[2], coefficients[3]
    reset, synapse_decay, synapse_gain = coefficients[4], coefficients[5], coefficients[6]
    whole = neurons - neurons % LANES
    for t in range(steps):
        if t > 0:
            for c in range(blocks):  # a block of W stays in the cache while every sample uses it
                rows, offset = tables[c], offsets[c]
                for b in range(batch):
                    add_rows(rows, lists[b], 0, counts[b], offset, sums[b, c])
        for b in range(batch):
            # loops over few arrays, because those become vector instructions
            total, xt, vb, st, ut = totals[b], x[t, b], v[b], s[t, b], u[t, b]
            if i.shape[0] > 0:
                cb, it = current[b], i[t, b]
                for k in range(neurons):
                    total[k] = synapse_gain[k] * (xt[k] + total[k])
                for k in range(neurons):
                    cb[k] = synapse_decay[k] * cb[k] + total[k]
                    it[k] = cb[k]
                for k in range(neurons):
                    total[k] = gain[k] * cb[k] + leak[k]
            else:
                for k in range(neurons):
                    total[k] = gain[k] * (xt[k] + total[k]) + leak[k]
            for k in range(neurons):
                ut[k] = decay[k] * vb[k] + total[k]
            if delayed:
                for k in range(neurons):
                    ut[k] -= threshold[k] if vb[k] > threshold[k] else F(0)
            for k in range(neurons):
                st[k] = F(1) if ut[k] > threshold[k] else F(0)
            if to_value:
                for k in range(neurons):
                    vb[k] = reset[k] if ut[k] > threshold[k] else ut[k]
            elif delayed:
                for k in range(neurons):
                    vb[k] = ut[k]
            else:
                for k in range(neurons):
                    vb[k] = ut[k] - threshold[k] * st[k]
            n, spikes = 0, lists[b]
            for low in range(0, whole, LANES):
                bits = fired(st, low)
                while bits:
                    spikes[n] = low + lowest(bits)
                    n += 1
                    bits &= bits - 1
            for k in range(whole, neurons):
                if st[k] > F(0):
                    spikes[n] = k
                    n += 1
            counts[b] = n


@kernel
def _one_step_back(
    g: np.ndarray,
    returned: np.ndarray,
    arctan: float,
    slope: np.ndarray,
    s: np.ndarray,
    u: np.ndarray,
    coefficients: np.ndarray,
    to_value: bool,
    through_reset: bool,
    synaptic: bool,
    later: np.ndarray,
    current: np.ndarray,
    gu: np.ndarray,
    gi: np.ndarray,
    gx: np.ndarray,
) -> None:
    """One step back in time, for arrays `(batch, neurons)`.

    `g + returned` is the gradient of the spikes, `later` that of the voltage after this step and `current`
    that of the synaptic current, both overwritten by those of the step before. The surrogate's derivative is
    `slope`, or that of an arc tangent of slope `arctan` where this is not 0. Fills the gradients of u, of the
    synaptic current and of the input.
    """
    one, height, width = F(1), arctan / F(2), arctan * F(np.pi / 2)
    decay, gain, threshold, reset = coefficients[0], coefficients[1], coefficients[3], coefficients[4]
    synapse_decay, synapse_gain = coefficients[5], coefficients[6]
    for b in range(g.shape[0]):
        # loops over few arrays, because those become vector instructions
        du, dx, ub, sb, slopes, behind, ds = gu[b], gx[b], u[b], s[b], slope[b], later[b], returned[b]
        gb = g[b]
        for n in range(du.size):
            ds[n] += gb[n]
        if through_reset:
            for n in range(du.size):
                ds[n] += (reset[n] - ub[n] if to_value else -threshold[n]) * behind[n]
        if arctan > F(0):
            for n in range(du.size):
                distance = width * (ub[n] - threshold[n])
                du[n] = ds[n] * (height / (one + distance * distance))
        else:
            for n in range(du.size):
                du[n] = ds[n] * slopes[n]
        for n in range(du.size):
            du[n] += behind[n] * (one - sb[n]) if to_value else behind[n]
        for n in range(du.size):
            behind[n] = decay[n] * du[n]
        if synaptic:
            di, cb = gi[b], current[b]
            for n in range(du.size):
                di[n] = gain[n] * du[n] + cb[n]
            for n in range(du.size):
                cb[n] = synapse_decay[n] * di[n]
            for n in range(du.size):
                dx[n] = synapse_gain[n] * di[n]
        else:
            for n in range(du.size):
                dx[n] = gain[n] * du[n]


@kernel
def backward(
    g: np.ndarray,
    direct: np.ndarray,
    returned: np.ndarray,
    packed: np.ndarray,
    arctan: float,
    slope: np.ndarray,
    s: np.ndarray,
    u: np.ndarray,
    coefficients: np.ndarray,
    to_value: bool,
    through_reset: bool,
    synaptic: bool,
    later: np.ndarray,
    current: np.ndarray,
    gu: np.ndarray,
    gi: np.ndarray,
    gx: np.ndarray,
) -> None:
    """Back through all steps, for arrays `(time, batch, neurons)`.

    `g` is the gradient of the spikes from outside, `direct` that of the voltages (it may have no steps), and
    `returned` that of the last step's spikes through W. `packed` is W as `panels` gives it; where it has no
    panels, `returned` is left as it was for the first step, so that a caller can go step by step. The rest is as
    in `_one_step_back`.
    """
    for t in range(g.shape[0] - 1, -1, -1):
        if direct.shape[0] > 0:
            later += direct[t]
        _one_step_back(
            g[t], returned, arctan, slope[t], s[t], u[t], coefficients, to_value, through_reset, synaptic, later,
            current, gu[t], gi[t], gx[t],
        )  # fmt: skip
        if packed.shape[0] > 0:
            times(gx[t], packed, returned)
