"""From an integer program to C99: no heap, no floats, no division, no recursion, loops of constant bounds.

A decay `trunc(x k / 4096)` is split at the twelfth bit, `(|x| >> 12) k + ((|x| & 4095) k >> 12)`, which is exact and
stays within 32 bits. Shifts of negative numbers, which C leaves open, are written as shifts of their complement.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hardware_targets.c.storage import Array, Synapses, per_neuron, synapses
from hardware_targets.loihi import limits
from hardware_targets.loihi.program import INTEGERS, Population, Program, Projection
from neurospin.errors import TargetError

BOUND = limits.STATE + 1
INT32 = 2**31 - 1


@dataclass(frozen=True)
class Part:
    """What one layer, or all together, takes of flash and RAM.

    Attributes:
        name: of the graph's node, the input, or `shared`.
        neurons: how many.
        arrays: its tables and state.
        synapses: how each projection into it is stored, `(source, style)`.
    """

    name: str
    neurons: int
    arrays: list[Array]
    synapses: list[tuple[str, str]]

    @property
    def flash(self) -> int:
        """Bytes of constant tables."""
        return sum(array.bytes for array in self.arrays if array.values is not None)

    @property
    def ram(self) -> int:
        """Bytes of state."""
        return sum(array.bytes for array in self.arrays if array.values is None)


@dataclass(frozen=True)
class Source:
    """The C text of a program, and what it takes.

    Attributes:
        header: `network.h`.
        code: `network.c`.
        parts: memory by layer.
    """

    header: str
    code: str
    parts: list[Part]


def source(program: Program) -> Source:
    """Write a program as C.

    Raises:
        TargetError: the program holds fractions (a cause was left out), or sums that 32 bits cannot hold.
    """
    if not (program.whole and program.wound_back):
        raise TargetError("c", "a program of whole numbers", "a cause left out", "compile with every cause")
    for population in program.populations:
        if any(getattr(population, key).dtype.kind not in "iu" for key in INTEGERS):
            raise TargetError(f"c: {population.name}", "whole numbers", "fractions", "compile with every cause")
    sizes = {program.input: int(np.prod(program.input_shape)), **{p.name: p.size for p in program.populations}}
    rings = {name: _ring(f"s{k}", name, size, program) for k, (name, size) in enumerate(sizes.items())}
    ids = {name: f"s{k}" for k, name in enumerate(sizes)}
    numbered = [(k, p, synapses(k, p)) for k, p in enumerate(program.projections)]
    parts = [Part(program.input, sizes[program.input], rings[program.input], [])]
    functions, wide, steps, reset = [], False, [], [_clear(rings[program.input])]
    for population in program.populations:
        mine = [entry for entry in numbered if entry[1].target == population.name]
        far = _far(population, mine)
        wide |= far
        arrays, function, start = _population(ids[population.name], population, far, bool(rings[population.name]))
        for number, projection, stored in mine:
            arrays += stored.arrays
            functions.append(_gather(number, projection, stored))
        functions.append(function)
        arrays += rings[population.name]
        parts.append(
            Part(population.name, population.size, arrays, [(p.source, stored.style) for _, p, stored in mine])
        )
        steps.append(_arrive(population, mine, ids, rings) + f"    update_{ids[population.name]}();\n")
        reset += [start, _clear(rings[population.name])]
    widest = max(p.size for p in program.populations)
    several = any(sum(q.target == p.name for q in program.projections) > 1 for p in program.populations)
    shared = [Array("arriving", "int32_t", (widest,))] + ([Array("extra", "int32_t", (widest,))] if several else [])
    parts.append(Part("shared", 0, shared, []))
    arrays = [array for part in parts for array in part.arrays]
    code = "\n".join(
        [
            _HEAD,
            *([_WIDE] if wide else []),
            *([_CUT] if any(stored.shift < 0 for _, _, stored in numbered) else []),
            *(array.text() for array in arrays),
            "",
            *functions,
            _reset(reset),
            _step(program, ids, rings, sizes, steps),
        ]
    )
    return Source(_header(program, sizes), code, parts)


def _ring(identity: str, name: str, size: int, program: Program) -> list[Array]:
    """The last spikes of a population, one bit each; none where nobody listens."""
    delays = [p.delay for p in program.projections if p.source == name]
    keeps = bool(delays) or (name == program.output and program.population(name).spiking)
    if not keeps:
        return []
    slots = max(delays, default=-1) + 2
    return [Array(f"{identity}_spikes", "uint8_t", (slots, (size + 7) // 8)), Array(f"{identity}_now", "uint8_t", (1,))]


def _far(population: Population, mine: list[tuple[int, Projection, Synapses]]) -> bool:
    """Whether a current can leave 32 bits: a step then brings more than one wrap takes back."""
    most = 0
    for _, projection, _ in mine:
        weights = projection.weights.toarray().astype(np.int64)
        sums = np.maximum(np.where(weights > 0, weights, 0).sum(axis=1), np.where(weights < 0, -weights, 0).sum(axis=1))
        largest = int(sums.max(initial=0))
        most += largest << projection.exponent if projection.exponent > 0 else (largest >> -projection.exponent) + 1
    if most > INT32:
        fix = "use fewer synapses per neuron"
        raise TargetError(f"c: {population.name}", "sums of 32 bits", f"up to {most}", fix)
    start = int(np.abs(population.u0).max(initial=0))
    return most << limits.SHIFT > 2 * BOUND or start > BOUND


def _population(identity: str, p: Population, far: bool, heard: bool) -> tuple[list[Array], str, str]:
    """State and tables, the update of all neurons, and the start."""
    kind = "int64_t" if far else "int32_t"
    keep = "keep_wide" if far else "keep"
    expressions, arrays = {}, []
    values = {
        "u": limits.DECAY_ONE - 1 - p.du.astype(np.int64),
        "v": limits.DECAY_ONE - p.dv.astype(np.int64),
        "vth": p.vth.astype(np.int64),
        "bias": p.bias.astype(np.int64),
        "u0": p.u0.astype(np.int64),
        "v0": p.v0.astype(np.int64),
    }
    remembers = bool(values["u"].any())
    if not remembers:
        del values["u0"]
    for key, table in values.items():
        expressions[key], found = per_neuron(f"{identity}_{key}{'_keep' if key in ('u', 'v') else ''}", table)
        arrays += found
    state = [Array(f"{identity}_voltage", "int32_t", (p.size,))]
    if remembers:
        state.append(Array(f"{identity}_current", kind, (p.size,)))
    past = f"{keep}({identity}_current[i], {expressions['u']}) + " if remembers else ""
    arriving = f"({kind})arriving[i]" if far else "arriving[i]"
    store = f"        {identity}_current[i] = u;\n" if remembers else ""
    bit = f"""
            {identity}_spikes[{identity}_now[0]][i >> 3] = (uint8_t)(SLOT | (1u << (i & 7u)));""".replace(
        "SLOT", f"{identity}_spikes[{identity}_now[0]][i >> 3]"
    )
    function = f"""\
static void update_{identity}(void)
{{
    for (uint32_t i = 0; i < {p.size}; i++) {{
        {kind} u = {past}{arriving} * {1 << limits.SHIFT};
        {kind} v;
        if (u > {BOUND}) {{
            u -= {2 * BOUND};
        }} else if (u <= -{BOUND}) {{
            u += {2 * BOUND};
        }}
{store}        v = keep({identity}_voltage[i], {expressions["v"]}) + u + {expressions["bias"]};
        if (v > {limits.STATE}) {{
            v = {limits.STATE};
        }} else if (v < -{limits.STATE}) {{
            v = -{limits.STATE};
        }}
        if (v > (int32_t){expressions["vth"]} * {1 << limits.SHIFT}) {{
            v = 0;{bit if heard else ""}
        }}
        {identity}_voltage[i] = {"(int32_t)v" if far else "v"};
    }}
}}
"""
    start = f"    for (uint32_t i = 0; i < {p.size}; i++) {{\n        {identity}_voltage[i] = {expressions['v0']};\n"
    if remembers:
        start += f"        {identity}_current[i] = {expressions['u0']};\n"
    return arrays + state, function, start + "    }\n"


def _gather(number: int, projection: Projection, stored: Synapses) -> str:
    return f"""\
static void gather_{number}(const uint8_t *spikes, int32_t *sum)
{{
{stored.gather}
}}
"""


def _arrive(
    population: Population,
    mine: list[tuple[int, Projection, Synapses]],
    ids: dict[str, str],
    rings: dict[str, list[Array]],
) -> str:
    """Everything that arrives at a population in this step."""
    text = f"    CLEAR(arriving, {population.size});\n"
    for position, (number, projection, stored) in enumerate(mine):
        ring = rings[projection.source][0]
        back = 1 + projection.delay
        slot = f"{ids[projection.source]}_spikes[BACK({ids[projection.source]}_now[0], {back}, {ring.shape[0]})]"
        into = "extra" if position else "arriving"
        if position:
            text += f"    CLEAR(extra, {population.size});\n"
        text += f"    gather_{number}({slot}, {into});\n"
        term = f"-{into}[i]" if stored.sign < 0 else f"{into}[i]"
        if stored.shift < 0:
            term = f"cut({term}, {-stored.shift})"
        elif stored.shift:
            term = f"{term} * {1 << stored.shift}"
        operator = "+=" if position else "="
        if position or term != "arriving[i]":
            text += f"    for (uint32_t i = 0; i < {population.size}; i++) {{\n"
            text += f"        arriving[i] {operator} {term};\n    }}\n"
    return text


def _clear(ring: list[Array]) -> str:
    if not ring:
        return ""
    slots, size = ring[0].shape
    return f"""\
    for (uint32_t i = 0; i < {slots}; i++) {{
        CLEAR({ring[0].name}[i], {size});
    }}
    {ring[1].name}[0] = 0;
"""


def _reset(lines: list[str]) -> str:
    body = "".join(lines)
    return f"void network_reset(void)\n{{\n{body}}}\n"


def _step(
    program: Program, ids: dict[str, str], rings: dict[str, list[Array]], sizes: dict[str, int], steps: list[str]
) -> str:
    output = program.population(program.output)
    kind = "uint8_t" if output.spiking else "int32_t"
    text = f"void network_step(const uint8_t *input, {kind} *output)\n{{\n"
    for name, ring in rings.items():
        if ring:
            text += f"    {ring[1].name}[0] = NEXT({ring[1].name}[0], {ring[0].shape[0]});\n"
            if name != program.input:
                text += f"    CLEAR({ring[0].name}[{ring[1].name}[0]], {ring[0].shape[1]});\n"
    if rings[program.input]:
        ring = rings[program.input]
        text += f"    for (uint32_t i = 0; i < {ring[0].shape[1]}; i++) {{\n"
        text += f"        {ring[0].name}[{ring[1].name}[0]][i] = input[i];\n    }}\n"
    else:
        text += "    (void)input;\n"
    text += "".join(steps)
    identity = ids[program.output]
    count = (output.size + 7) // 8 if output.spiking else output.size
    what = f"{identity}_spikes[{identity}_now[0]][i]" if output.spiking else f"{identity}_voltage[i]"
    text += f"    for (uint32_t i = 0; i < {count}; i++) {{\n        output[i] = {what};\n    }}\n"
    return text + "}\n"


def _header(program: Program, sizes: dict[str, int]) -> str:
    output = program.population(program.output)
    what = "spikes" if output.spiking else "voltages, one 32-bit integer each; network.json says what a step of it is"
    kind, count = ("uint8_t", (output.size + 7) // 8) if output.spiking else ("int32_t", output.size)
    inputs = sizes[program.input]
    return f"""\
/* Generated by neurospin: a spiking network in integers. One step is {program.dt:g} s. */
#ifndef NETWORK_H
#define NETWORK_H

#include <stdint.h>

#define NETWORK_INPUTS {inputs}
#define NETWORK_INPUT_BYTES {(inputs + 7) // 8}
#define NETWORK_OUTPUTS {output.size}
#define NETWORK_SPIKING {int(output.spiking)}
/* The output of step t + NETWORK_LATENCY belongs to the input of step t. */
#define NETWORK_LATENCY {program.latency}

/* Everything silent, as before the first step. Call it once before the first step. */
void network_reset(void);

/* One step.
   input: NETWORK_INPUT_BYTES bytes; spike of channel j is bit j % 8 of byte j / 8.
   output: {count} elements; {what}. */
void network_step(const uint8_t *input, {kind} *output);

#endif
"""


_HEAD = f"""\
/* Generated by neurospin. C99; no heap, no floating point, no division; all state below is static. */
#include "network.h"

#define SPIKED(bits, j) (((bits)[(j) >> 3] >> ((j) & 7u)) & 1)
#define NEXT(now, slots) (uint8_t)((now) + 1 < (slots) ? (now) + 1 : 0)
#define BACK(now, steps, slots) ((now) >= (steps) ? (now) - (steps) : (now) + (slots) - (steps))
#define CLEAR(array, size) for (uint32_t k = 0; k < (size); k++) (array)[k] = 0

/* trunc(x * k / {limits.DECAY_ONE}), exact and within 32 bits for |x| <= 2^24, 0 <= k <= {limits.DECAY_ONE} */
static int32_t keep(int32_t x, int32_t k)
{{
    int32_t size = x < 0 ? -x : x;
    size = (size >> 12) * k + (((size & 4095) * k) >> 12);
    return x < 0 ? -size : size;
}}
"""
_WIDE = """\
/* the same for currents that 32 bits do not hold */
static int64_t keep_wide(int64_t x, int32_t k)
{
    int64_t size = x < 0 ? -x : x;
    size = (size >> 12) * k + (((size & 4095) * k) >> 12);
    return x < 0 ? -size : size;
}
"""
_CUT = """\
/* x / 2^bits towards minus infinity */
static int32_t cut(int32_t x, int bits)
{
    return x < 0 ? ~(~x >> bits) : x >> bits;
}
"""
