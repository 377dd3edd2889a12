"""Continual learning on junctions against the rule in software: accuracy, pulses, energy, wear, years.

    nice python experiments/crossbar/continual.py digits spread ageing   # see `studies`
    python experiments/crossbar/table.py                                 # tables and figures from the results

Every finished cell is a row of `results/STUDY.csv`; a study that is started again goes on with the cells that are
missing. Cells of one seed share stream, initialisation, order of samples and spikes.
"""

from __future__ import annotations

import argparse
import csv
import fcntl
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import Progress

import neurospin as ns
from hardware_targets.crossbar.devices import BinaryMTJ, LogCosh, MagnetoIonicMTJ
from hardware_targets.crossbar.insitu import BinarySynapses, Sign, Verify
from neurospin.continual import Stream, learn, permuted, split
from neurospin.continual.learner import accuracy, child_seed
from neurospin.data.digits import Images
from neurospin.encode import Rate
from neurospin.files import replacing
from neurospin.plasticity import Metaplastic, OnDevice, Rule
from neurospin.weights import Binary, Scaled

RESULTS = Path(__file__).parent / "results"
SEEDS = range(5)
HOUR, YEAR = 3600.0, 365.25 * 86400
AGES = (0.0, HOUR, 86400.0, 30 * 86400.0, YEAR, 10 * YEAR)
NOMINAL = {"r_spread": 0.0, "tmr_spread": 0.0, "v_spread": 0.0, "hidden_spread": 0.0, "hidden_noise": 0.0}


@dataclass(frozen=True)
class Scale:
    """A stream, the network that learns it, and how long."""

    stream: Callable[[int], Stream]
    sizes: tuple[int, int, int]
    gain: tuple[float, float]
    steps: int
    epochs: int


def some(stream: Stream, train: int, test: int, seed: int) -> Stream:
    """The same tasks with at most so many samples each, drawn once."""
    draw = torch.Generator().manual_seed(child_seed(seed, 9))
    tasks = []
    for task in stream.tasks:
        a = torch.randperm(len(task.train_y), generator=draw)[:train]
        b = torch.randperm(len(task.test_y), generator=draw)[:test]
        images = Images(task.train_x[a], task.train_y[a], task.test_x[b], task.test_y[b])
        tasks.append(replace(task, images=images, order=None))
    return replace(stream, tasks=tuple(tasks))


SCALES = {
    "digits, permuted": Scale(lambda seed: permuted("digits", 5, seed), (64, 256, 10), (8.0, 16.0), 20, 10),
    "digits, split": Scale(lambda seed: split("digits", 5, "domain", seed), (64, 256, 2), (8.0, 16.0), 20, 10),
    "digits, permuted, short": Scale(lambda seed: permuted("digits", 5, seed), (64, 256, 10), (8.0, 16.0), 8, 8),
    "MNIST, permuted": Scale(lambda seed: some(permuted("mnist", 5, seed), 3000, 500, seed), (784, 200, 10), (14.0, 14.0), 8, 3),
    "MNIST, split": Scale(lambda seed: some(split("mnist", 5, "domain", seed), 2000, 500, seed), (784, 200, 2), (14.0, 14.0), 8, 2),
}  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """One run: where, what, with which settings, and the seed."""

    scale: str
    learner: str
    seed: int
    setting: str = "published"
    device: dict[str, Any] = field(default_factory=dict)
    synapses: dict[str, Any] = field(default_factory=dict)
    rest: float = 0.0
    ages: tuple[float, ...] = ()

    @property
    def key(self) -> tuple[str, ...]:
        """What names it in a file of results."""
        return (self.scale, self.learner, self.setting, str(self.seed))


def over_seeds(**settings: Any) -> list[Cell]:
    """The cell for every seed."""
    return [Cell(seed=seed, **settings) for seed in SEEDS]


def factors() -> list[Cell]:
    """What the digits lose to the spread of write voltages, what to the gain of the gate, and what a trim mends.

    Two settings stand in the study of digits: as published with gain 2.5, and trimmed with gain 1.75.
    """
    alike: dict[str, Any] = {"v_spread": 0.0}
    return [
        cell
        for scale, gains in (("digits, split", (1.75, 2.5, 5.0)), ("digits, permuted", (1.75, 2.5)))
        for name, device, bits in (("as published", {}, 0), ("trimmed", {}, 4), ("voltages alike", alike, 0))
        for gain in gains
        if (name, gain) not in (("as published", 2.5), ("trimmed", 1.75))
        for cell in over_seeds(
            scale=scale, learner="magneto-ionic", setting=f"{name}, gain {gain:g}", device=device,
            synapses={"gain": gain, "trim_bits": bits},
        )
    ]  # fmt: skip


def studies() -> dict[str, list[Cell]]:
    """All cells, by study."""
    made: dict[str, list[Cell]] = {}
    for study in ("digits", "mnist"):
        made[study] = [
            cell
            for scale in SCALES
            if scale.lower().startswith(study) and not scale.endswith("short")
            for learner in LEARNERS
            if study == "digits" or learner in MAIN
            for cell in over_seeds(scale=scale, learner=learner)
        ]
    made["factors"] = factors()
    short = {"scale": "digits, permuted, short"}
    here = {**short, "learner": "magneto-ionic"}
    made["short"] = [cell for learner in MAIN for cell in over_seeds(**short, learner=learner)]
    made["pulses"] = [
        cell
        for cycles in (2, 5, 10, 20)
        for cell in over_seeds(**here, setting=f"{cycles}", device={"gate_endurance": float(cycles)})
    ]
    made["retention"] = [
        cell
        for rests in (0.3, 1, 3, 10)
        for cell in over_seeds(**here, setting=f"{rests:g}", device={"hidden_retention": rests * HOUR}, rest=HOUR)
    ]
    whole = {"scale": "digits, permuted", "learner": "magneto-ionic"}
    spreads = [("v_spread", size) for size in (0.0, 0.02, 0.035, 0.055, 0.09, 0.13)]
    spreads += [("r_spread", 0.2), ("hidden_spread", 0.5), ("hidden_noise", 1.0)]
    made["spread"] = [
        cell for name, size in spreads for cell in over_seeds(**whole, setting=f"{name} {size:g}", device={name: size})
    ]
    made["barrier"] = [
        cell
        for top in (2.0, 3.0, 4.0, 6.5)
        for cell in over_seeds(**here, setting=f"{top:g}", device={"barrier": LogCosh(top)})
    ]
    made["schemes"] = over_seeds(**here, setting="Sign(0.25)", synapses={"scheme": Sign(0.25)})
    made["ageing"] = over_seeds(**here, setting="40", ages=AGES) + over_seeds(
        **here, setting="32", ages=AGES, device={"delta": 32.0}
    )
    return made


LEARNERS = (
    "software, metaplastic",
    "software, plain",
    "magneto-ionic",
    "magneto-ionic, trimmed",
    "plain junction",
    "plain junction, hidden value outside",
)

MAIN = ("software, metaplastic", "magneto-ionic", "magneto-ionic, trimmed", "plain junction")


def learner(cell: Cell, scale: Scale) -> tuple[ns.Network, Rule]:
    """Network and rule of a cell."""
    software = cell.learner.startswith("software")
    generator = torch.Generator().manual_seed(child_seed(cell.seed, 1))
    kinds = [Binary(gain) for gain in scale.gain]
    a, b, c = scale.sizes
    made = [
        ns.Dense(i, o, weight=kind, generator=generator) for (i, o), kind in zip(((a, b), (b, c)), kinds, strict=True)
    ]
    network = ns.Network([made[0], ns.LIF(b, 8e-3, surrogate=ns.ArcTan(5.0)), made[1], ns.LI(c, 8e-3)], 1e-3)
    if not software:
        for block, gain in zip(made, scale.gain, strict=True):
            block.kind = Scaled(gain)
    m = 25.0 if cell.learner in ("software, metaplastic", "plain junction, hidden value outside") else 0.0
    rule = Metaplastic(network.parameters(), lr=1e-2, eps=1e-3, m=m)
    if software:
        return network, rule
    if cell.learner == "magneto-ionic":
        synapses = BinarySynapses(MagnetoIonicMTJ(**cell.device), **{**MAGNETO_IONIC, **cell.synapses})
    elif cell.learner == "magneto-ionic, trimmed":
        synapses = BinarySynapses(MagnetoIonicMTJ(**cell.device), **{**TRIMMED, **cell.synapses})
    elif cell.learner == "plain junction":
        synapses = BinarySynapses(BinaryMTJ(**cell.device), **{**PLAIN, **cell.synapses})
    else:
        synapses = BinarySynapses(BinaryMTJ(**cell.device), scheme=Verify())
    return network, OnDevice(rule, synapses, seed=child_seed(cell.seed, 3))


MAGNETO_IONIC: dict[str, Any] = {"m": 25.0, "quantum": 0.02, "gain": 2.5}
TRIMMED: dict[str, Any] = {"m": 25.0, "quantum": 0.02, "gain": 1.75, "trim_bits": 4}
PLAIN: dict[str, Any] = {"m": 5.0, "quantum": 0.02}


def run(cell: Cell) -> list[dict[str, Any]]:
    """One row of results, or one per age."""
    began, scale = time.process_time(), SCALES[cell.scale]
    stream, encode = scale.stream(child_seed(cell.seed, 0)), Rate(scale.steps, 1.0)
    network, rule = learner(cell, scale)
    updates = 0

    def batch(moment: object) -> None:
        nonlocal updates
        del moment
        updates += 1

    def task(number: int, matrix: np.ndarray) -> None:
        del matrix
        if cell.rest and isinstance(rule, OnDevice) and number < len(stream) - 1:
            rule.wait(cell.rest)

    result = learn(
        network, stream, rule, encode=encode, epochs=scale.epochs, batch_size=100, seed=child_seed(cell.seed, 2),
        on_batch=batch, on_task=task,
    )  # fmt: skip
    row = dict(zip(("scale", "learner", "setting", "seed"), cell.key, strict=True))
    row |= {
        "average": round(100 * result.average_accuracy, 3),
        "learned": round(100 * result.learning_accuracy, 3),
        "backward": round(100 * result.backward_transfer, 3),
        "updates": updates,
        "cpu_seconds": 0.0,
    }
    if isinstance(rule, OnDevice):
        assert isinstance(rule.storage, BinarySynapses)
        spent = [rule.storage.ledger(memory) for memory in rule.memories]
        total = spent[0] + spent[1]
        row |= {
            "pulses": int(total.pulses),
            "joules": f"{total.joules:.6g}",
            "gate_pulses": int(total.gate_pulses),
            "gate_joules": f"{total.gate_joules:.6g}",
            "most_pulses": int(max(float(memory["cycles"].max()) for memory in rule.memories)),
            "most_gate_pulses": int(
                max(float(m["gate_cycles"].max()) if "gate_cycles" in m else 0 for m in rule.memories)
            ),
        }
    row["cpu_seconds"] = round(time.process_time() - began, 1)
    if not cell.ages:
        return [row]
    assert isinstance(rule, OnDevice)
    rows, before = [], 0.0
    for age in cell.ages:
        rule.wait(age - before)
        before = age
        kept = [
            accuracy(network, one, encode, child_seed(child_seed(cell.seed, 2), 2, at))
            for at, one in enumerate(stream.tasks)
        ]
        rows.append({**row, "average": round(100 * float(np.mean(kept)), 3), "age": age})
    return rows


COLUMNS = (
    "scale", "learner", "setting", "seed", "age", "average", "learned", "backward", "updates", "pulses", "joules", "gate_pulses",
    "gate_joules", "most_pulses", "most_gate_pulses", "cpu_seconds",
)  # fmt: skip


def read(study: str) -> list[dict[str, Any]]:
    """Rows of the cells that are finished."""
    place = RESULTS / f"{study}.csv"
    if not place.is_file():
        return []
    with place.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def keep(study: str, rows: list[dict[str, Any]]) -> None:
    """Add rows to the file, whole or not at all; several processes may work on a study, on different seeds."""
    with (RESULTS / f".tmp-{study}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        kept = read(study)
        names = ("scale", "learner", "setting", "seed")
        if tuple(rows[0][name] for name in names) not in {tuple(row[name] for name in names) for row in kept}:
            write(study, [*kept, *rows])


def write(study: str, rows: list[dict[str, Any]]) -> None:
    """All rows, in the order of cells."""
    order = {cell.key: at for at, cell in enumerate(studies()[study])}
    rows = sorted(rows, key=lambda row: order[tuple(row[name] for name in ("scale", "learner", "setting", "seed"))])
    with (
        replacing(RESULTS / f"{study}.csv") as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        out = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        out.writeheader()
        out.writerows(rows)


def main() -> None:
    torch.set_num_threads(1)
    every = studies()
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("studies", nargs="+", choices=list(every))
    given.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS), help="only these")
    given.add_argument("--learners", nargs="+", default=list(LEARNERS), choices=LEARNERS, help="only these")
    given.add_argument("--scales", nargs="+", default=list(SCALES), choices=list(SCALES), help="only these")
    options = given.parse_args()
    with Progress() as bars:
        for study in options.studies:
            rows = read(study)
            done = {tuple(row[name] for name in ("scale", "learner", "setting", "seed")) for row in rows}
            cells = [
                cell
                for cell in every[study]
                if cell.seed in options.seeds and cell.learner in options.learners and cell.scale in options.scales
            ]
            cells = sorted((cell for cell in cells if cell.key not in done), key=lambda cell: cell.seed)
            bar = bars.add_task(f"{study}: {len(done)} finished", total=len(cells))
            for cell in cells:
                bars.update(bar, description=f"{study}: {cell.learner}, {cell.setting}, seed {cell.seed}")
                keep(study, run(cell))
                bars.advance(bar)


if __name__ == "__main__":
    main()
