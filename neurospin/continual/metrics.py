"""What a learner kept and what it could still learn, from its accuracy matrix.

`R[i, j]` is the accuracy on task j after task i was learned; NaN where it was not measured (all of the last row
and the diagonal always are). Source: Lopez-Paz & Ranzato, NeurIPS 2017,
arXiv:1706.08840; forgetting: Chaudhry et al., ECCV 2018, doi:10.1007/978-3-030-01252-6_33.
"""

from __future__ import annotations

import numpy as np

from neurospin.errors import InputError


def _square(matrix: np.ndarray) -> np.ndarray:
    r = np.asarray(matrix, dtype=np.float64)
    if r.ndim != 2 or r.shape[0] != r.shape[1] or r.size == 0:
        raise InputError("accuracy matrix", "shape (tasks, tasks)", str(r.shape), "give one row and column per task")
    return r


def average_accuracy(matrix: np.ndarray) -> float:
    """Mean over tasks after the last one: `mean_j R[T, j]`."""
    return float(_square(matrix)[-1].mean())


def backward_transfer(matrix: np.ndarray) -> float:
    """What later tasks did to earlier ones: `mean_{j<T} (R[T, j] − R[j, j])`; 0 for a single task."""
    r = _square(matrix)
    return float((r[-1] - np.diag(r))[:-1].mean()) if len(r) > 1 else 0.0


def forgetting(matrix: np.ndarray) -> float:
    """`mean_{j<T} (max_{j<=i<T} R[i, j] − R[T, j])`, of what was measured; 0 for a single task."""
    r = _square(matrix)
    lost = [np.nanmax(r[j:-1, j]) - r[-1, j] for j in range(len(r) - 1)]
    return float(np.mean(lost)) if lost else 0.0


def learning_accuracy(matrix: np.ndarray) -> float:
    """Accuracy on each task right after it was learned: `mean_j R[j, j]`."""
    return float(np.diag(_square(matrix)).mean())


def forward_transfer(matrix: np.ndarray, untrained: np.ndarray) -> float:
    """What earlier tasks did for tasks not yet learned: `mean_{j>1} (R[j−1, j] − b_j)`; 0 for a single task.

    Args:
        matrix: the accuracy matrix.
        untrained: `b (tasks,)`, accuracy of the untrained network on every task.
    """
    r, b = _square(matrix), _per_task(matrix, untrained, "untrained")
    return float((np.diag(r, 1) - b[1:]).mean()) if len(r) > 1 else 0.0


def intransigence(matrix: np.ndarray, reference: np.ndarray) -> float:
    """How much less is learned than a reference learns: `mean_j (R*_j − R[j, j])`.

    Args:
        matrix: the accuracy matrix.
        reference: `R* (tasks,)`, for example of joint training, or of every task alone.
    """
    return float((_per_task(matrix, reference, "reference") - np.diag(_square(matrix))).mean())


def anytime_accuracy(matrix: np.ndarray) -> float:
    """Mean over time of the mean accuracy on the tasks so far: `mean_i mean_{j<=i} R[i, j]`."""
    return float(np.mean([row[: i + 1].mean() for i, row in enumerate(_square(matrix))]))


def window_accuracy(matrix: np.ndarray, tasks: int = 5) -> float:
    """Mean accuracy on the last so many tasks after the last one."""
    return float(_square(matrix)[-1, -_window(matrix, tasks) :].mean())


def plasticity_loss(matrix: np.ndarray, tasks: int = 1) -> float:
    """Learning accuracy of the first so many tasks minus that of the last; above 0 where learning gets worse."""
    learned, k = np.diag(_square(matrix)), _window(matrix, tasks)
    return float(learned[:k].mean() - learned[-k:].mean())


def stability_gap(before: float, during: np.ndarray) -> float:
    """How far an old task's accuracy falls while a new one is learned: `before − min during`, at least 0.

    Source: De Lange, van de Ven & Tuytelaars, ICLR 2023, arXiv:2205.13452.

    Args:
        before: accuracy just before the switch.
        during: accuracies after single steps on the new task, in order.
    """
    return max(0.0, before - float(np.min(during)))


def flips(before: np.ndarray, after: np.ndarray) -> float:
    """Share of synapses whose sign changed, 0 counting as positive; both of one shape."""
    return float(((np.asarray(before) >= 0) != (np.asarray(after) >= 0)).mean())


def _per_task(matrix: np.ndarray, values: np.ndarray, name: str) -> np.ndarray:
    found, tasks = np.asarray(values, dtype=np.float64), len(_square(matrix))
    if found.shape != (tasks,):
        raise InputError(name, f"shape ({tasks},)", str(found.shape), "give one number per task")
    return found


def _window(matrix: np.ndarray, tasks: int) -> int:
    if not 1 <= tasks <= len(_square(matrix)):
        raise InputError("tasks", f"1 to {len(_square(matrix))}", str(tasks), "change the number of tasks")
    return tasks
