"""The exporter "c": a graph as a folder of C99 that gives the spikes of Loihi's arithmetic, bit by bit."""

from __future__ import annotations

import json
from importlib.resources import files

import nir

from hardware_targets.c.source import Part, source
from hardware_targets.loihi.compiler import compile
from hardware_targets.loihi.program import Program

MAKEFILE = """\
CC = gcc
CFLAGS = -std=c99 -O2 -Wall -Wextra -Werror -pedantic

network: main.c network.c network.h
	$(CC) $(CFLAGS) -o $@ main.c network.c

size: network.c network.h
	$(CC) $(CFLAGS) -Os -c -o network.o network.c
	size network.o

clean:
	rm -f network network.o

.PHONY: size clean
"""


def export(graph: nir.NIRGraph, dt: float) -> dict[str, str]:
    """A graph as C.

    Args:
        graph: a NIR graph that fits the target "loihi".
        dt: step in seconds.

    Returns:
        The files by name: `network.h`, `network.c`, `main.c`, `Makefile`, `network.json`, `README.md`.

    Raises:
        TargetError: the graph does not fit.
    """
    return write(compile(graph, dt))


def write(program: Program) -> dict[str, str]:
    """An integer program as C; see `export`."""
    made = source(program)
    return {
        "network.h": made.header,
        "network.c": made.code,
        "main.c": files("hardware_targets.c").joinpath("main.c").read_text("utf-8"),
        "Makefile": MAKEFILE,
        "network.json": _facts(program, made.parts),
        "README.md": _readme(program, made.parts),
    }


def _facts(program: Program, parts: list[Part]) -> str:
    output = program.population(program.output)
    facts = {
        "dt": program.dt,
        "latency_steps": program.latency,
        "input": {"name": program.input, "shape": program.input_shape},
        "output": {
            "name": program.output,
            "shape": program.output_shape,
            "what": "spikes" if output.spiking else "voltages: integer / scale + zero, in model units",
            "scale": output.scale.tolist(),
            "zero": output.zero.tolist(),
        },
        "memory": {part.name: {"flash": part.flash, "ram": part.ram} for part in parts},
        "approximations": program.approximations,
    }
    return json.dumps(facts, indent=2, default=float) + "\n"


def _readme(program: Program, parts: list[Part]) -> str:
    rows = []
    for part in parts:
        stored = ", ".join(f"{source}: {style}" for source, style in part.synapses) or "–"
        rows.append(f"| {part.name} | {part.neurons or '–'} | {stored} | {part.flash} | {part.ram} |")
    rows.append(f"| **together** | | | {sum(p.flash for p in parts)} | {sum(p.ram for p in parts)} |")
    output = program.population(program.output)
    what = "spikes" if output.spiking else "voltages (`network.json` gives `scale` and `zero` of each neuron)"
    notes = "\n".join(f"- {n['node']}: {n['what']} ({n['size']:.3g})" for n in program.approximations)
    return f"""\
# A spiking network in integers

C99 without heap, floating point, division, recursion or libraries: `network_reset()`, then `network_step(input, output)`
for every {program.dt:g} s. {program.input} ({parts[0].neurons} channels) goes in; {program.output} ({output.size}
neurons) comes out as {what}, {program.latency} steps late.

```text
make                                # the example main.c: lines of 0 and 1 in, one line a step out
./network < spikes.txt > out.txt
make size                           # what the compiler makes of it
```

Memory in bytes, counted from the types of the tables and of the state; the machine code comes on top. `dense` stores
every weight, `sparse` the weights that are not zero with their targets, `two-valued` one bit for each synapse.

| layer | neurons | synapses from | flash (tables) | RAM (state) |
|---|---|---|---|---|
{chr(10).join(rows)}

Where flash and RAM are one address space (ARM, RISC-V), `const` tables stay in flash. On AVR they need `PROGMEM`.

## What differs from the graph

{notes or "Nothing."}
"""
