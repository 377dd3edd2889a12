"""Quadratic tasks: what penalties remember of them, exactly.

A task is `½ (θ − c)ᵀ H (θ − c)`, with curvature `H (d, d)` and optimum `c (d,)`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Task = tuple[np.ndarray, np.ndarray]


def joint(tasks: Sequence[Task]) -> np.ndarray:
    """The parameters that are best for all tasks together."""
    curvature = sum(h for h, _ in tasks)
    return np.linalg.solve(curvature, sum(h @ c for h, c in tasks))


def recursion(tasks: Sequence[Task], diagonal: bool = False) -> np.ndarray:
    """One penalty around the latest optimum with the summed curvature, as online EWC; `joint` where it is full."""
    held, theta = np.zeros_like(tasks[0][0]), np.zeros_like(tasks[0][1])
    for h, c in tasks:
        theta = np.linalg.solve(held + h, held @ theta + h @ c)
        held = held + (np.diag(np.diag(h)) if diagonal else h)
    return theta


def many_penalties(tasks: Sequence[Task]) -> np.ndarray:
    """One penalty per task, each around the optimum that was found after it: counts old tasks twice."""
    kept: list[Task] = []
    theta = np.zeros_like(tasks[0][1])
    for h, c in tasks:
        theta = joint([*kept, (h, c)])
        kept.append((h, theta))
    return theta
