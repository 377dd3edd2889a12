"""Rules on K device levels track a binary weight that flips: error against the exact filter, at equal bits per synapse.

    python -m experiments.device_aware.track            # table and figure

Every synapse has one hidden weight ±1 that flips with chance 1/1000 in each step, and hears `y = w + noise` of variance
20. A rule keeps one of K levels and nothing else; it says the sign. Its settings are chosen by a grid on other seeds than
those that are told. `exact` is the filter of the hidden Markov model, which no rule of finite K can beat.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
FLIP, NOISE, STEPS, SYNAPSES = 1e-3, 20.0, 5000, 200
LEVELS = (4, 8, 16, 32)
Wanted = Callable[[np.ndarray, np.ndarray, float, float], np.ndarray]


def damped(by: Callable[[np.ndarray, np.ndarray, float], np.ndarray]) -> Wanted:
    """A rule that lets a share of the requested evidence through."""
    return lambda h, evidence, scale, m: scale * evidence * by(h, evidence, m)


RULES: dict[str, tuple[Wanted, tuple[float, ...]]] = {
    "device-aware": (
        lambda h, evidence, scale, window: (1 - h * h) * (scale * evidence - np.arctanh(h) / window),
        (30.0, 100.0, 300.0, 1000.0, np.inf),
    ),
    "metaplastic, one side": (
        damped(lambda h, evidence, m: np.where(h * evidence < 0, 1 / np.cosh(m * h) ** 2, 1.0)),
        (0.5, 1.0, 2.0, 4.0),
    ),
    "chance exp(−m·abs(w))": (damped(lambda h, evidence, m: np.exp(-m * abs(h))), (0.5, 1.0, 2.0, 4.0)),
    "no metaplasticity": (damped(lambda h, evidence, m: np.ones_like(h)), (0.0,)),
}
SCALES = (0.05, 0.1, 0.2, 0.4, 0.7, 1.0)


def evidence(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights ±1 and evidence for them, both `(steps, synapses)`."""
    draw = np.random.default_rng(seed)
    flips = np.where(draw.random((STEPS, SYNAPSES)) < FLIP, -1, 1)
    weights = np.cumprod(flips, axis=0)
    return weights, (weights + np.sqrt(NOISE) * draw.standard_normal((STEPS, SYNAPSES))) / NOISE


def exact(seed: int) -> float:
    """Error of the filter that knows all but the weights."""
    weights, given = evidence(seed)
    mean, wrong = np.zeros(SYNAPSES), 0.0
    for t in range(STEPS):
        lam = np.arctanh((1 - 2 * FLIP) * mean) + given[t]
        mean = np.tanh(lam)
        wrong += float((mean * weights[t] < 0).mean()) * (t >= STEPS // 3)
    return wrong / (STEPS - STEPS // 3)


def error(rule: str, levels: int, scale: float, setting: float, seed: int) -> float:
    """Error of a rule, after the first third of the steps."""
    wanted, _ = RULES[rule]
    weights, given = evidence(seed)
    draw = np.random.default_rng([seed, 1])
    spacing = 2 / levels
    at, wrong = draw.integers(levels // 2 - 1, levels // 2 + 1, SYNAPSES), 0.0
    for t in range(STEPS):
        h = (at + 0.5) * spacing - 1
        by = np.floor(wanted(h, given[t], scale, setting) / spacing + draw.random(SYNAPSES))
        at = np.clip(at + by.astype(int), 0, levels - 1)
        wrong += float(((at + 0.5 - levels / 2) * weights[t] < 0).mean()) * (t >= STEPS // 3)
    return wrong / (STEPS - STEPS // 3)


def measure(seeds: int = 5) -> dict:
    """Mean error and half of its 95 % interval for every rule and number of levels, with the settings that were chosen."""
    from scipy.stats import t as student

    found: dict = {"exact": float(np.mean([exact(1000 + s) for s in range(seeds)])), "rules": {}}
    for rule, levels in itertools.product(RULES, LEVELS):
        grid = itertools.product(SCALES, RULES[rule][1])
        scale, setting = min(grid, key=lambda pair: error(rule, levels, *pair, 0))
        errors = [error(rule, levels, scale, setting, 1000 + s) for s in range(seeds)]
        half = float(student.ppf(0.975, seeds - 1) * np.std(errors, ddof=1) / np.sqrt(seeds))
        row = {"error": float(np.mean(errors)), "half": half, "scale": scale, "setting": setting}
        found["rules"].setdefault(rule, {})[str(levels)] = row
    return found


def table(found: dict) -> str:
    """Error in per cent, a row for each rule."""
    lines = ["| rule | " + " | ".join(f"{k} levels ({int(np.log2(k))} bits)" for k in LEVELS) + " |", "|---" * 5 + "|"]
    for rule, rows in found["rules"].items():
        cells = [f"{100 * rows[str(k)]['error']:.2f} ± {100 * rows[str(k)]['half']:.2f}" for k in LEVELS]
        lines.append(f"| {rule} | " + " | ".join(cells) + " |")
    lines.append("| exact filter, real numbers | " + " | ".join([f"{100 * found['exact']:.2f}"] * 4) + " |")
    return "\n".join(lines) + "\n"


def figure(found: dict, path: Path) -> None:
    """Error over levels."""
    import matplotlib as mpl

    from neurospin.report import plots
    from neurospin.report.plots.base import axes_of

    with mpl.rc_context(plots.STYLE):
        fig, ax = axes_of(None, 4.4, 2.8)
        for number, (rule, rows) in enumerate(found["rules"].items()):
            means, halves = zip(
                *((100 * rows[str(k)]["error"], 100 * rows[str(k)]["half"]) for k in LEVELS), strict=True
            )
            ax.errorbar(LEVELS, means, halves, marker="o", ms=4, lw=1.3, color=plots.COLOURS[number], label=rule)
        ax.axhline(100 * found["exact"], color="0.4", lw=1, ls=(0, (4, 3)), label="exact filter")
        ax.set_xscale("log", base=2)
        ax.set_xticks(LEVELS, [str(k) for k in LEVELS])
        ax.set_xlabel("levels of a device (all that a synapse keeps)")
        ax.set_ylabel("wrong sign (%)")
        ax.set_ylim(0, None)
        ax.legend(fontsize=7)
        fig.savefig(path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Rules on device levels track binary weights that flip.")
    parser.add_argument("--seeds", type=int, default=5)
    result = measure(parser.parse_args().seeds)
    (HERE / "track.json").write_text(json.dumps(result, indent=2) + "\n")
    figure(result, HERE / "track.svg")
    print(table(result))
