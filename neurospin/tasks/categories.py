"""Category-learning tasks: Shepard–Hovland–Jenkins types, the 5-4 structure, rule-based and information-integration."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from neurospin.errors import InputError, unknown_name

SHJ = {
    "I": (0, 0, 0, 0, 1, 1, 1, 1),
    "II": (0, 0, 1, 1, 1, 1, 0, 0),
    "III": (0, 0, 0, 1, 1, 0, 1, 1),
    "IV": (0, 0, 0, 1, 0, 1, 1, 1),
    "V": (0, 0, 0, 1, 1, 1, 1, 0),
    "VI": (0, 1, 1, 0, 1, 0, 0, 1),
}
"""Category of the stimuli 000, 001, …, 111 in the six types of Shepard, Hovland & Jenkins 1961, doi:10.1037/h0093825."""

CUBE = np.array([[(i >> 2) & 1, (i >> 1) & 1, i & 1] for i in range(8)], dtype=np.float64)
"""The eight stimuli of three binary features, `(8, 3)`."""


@dataclass(frozen=True)
class Trials:
    """Trials of many subjects, in the order in which each met them.

    Attributes:
        stimuli: features of every trial, `(subjects, trials, features)`, float64.
        categories: the category that the feedback names, `(subjects, trials)`, 0, 1, ….
        choices: what the subject answered, same shape; −1 where nothing was answered; `None` for a design.
        valid: which trials took place (subjects need not have the same number), same shape.
        condition: condition of each subject, `(subjects,)` of str.
        names: name of each subject, `(subjects,)` of str.
    """

    stimuli: np.ndarray
    categories: np.ndarray
    choices: np.ndarray | None = None
    valid: np.ndarray | None = None
    condition: tuple[str, ...] = ()
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        stimuli = np.asarray(self.stimuli, np.float64)
        if stimuli.ndim != 3 or 0 in stimuli.shape:
            raise InputError(
                "Trials.stimuli", "shape (subjects, trials, features)", str(stimuli.shape), "add the missing axes"
            )
        if not np.isfinite(stimuli).all():
            raise InputError("Trials.stimuli", "finite numbers", "nan or infinity", "remove those trials")
        shape = stimuli.shape[:2]
        categories = np.asarray(self.categories)
        valid = np.ones(shape, bool) if self.valid is None else np.asarray(self.valid, bool)
        for name, array in (("categories", categories), ("choices", self.choices), ("valid", valid)):
            if array is not None and np.shape(array) != shape:
                raise InputError(f"Trials.{name}", f"shape {shape}", str(np.shape(array)), "give one per trial")
        if categories.dtype.kind not in "iu" or int(categories.min()) < 0:
            raise InputError(
                "Trials.categories", "whole numbers from 0", str(categories.dtype), "number the categories"
            )
        if not (valid[:, :-1] >= valid[:, 1:]).all():
            raise InputError("Trials.valid", "trials in a row from the first", "gaps", "move each subject's trials up")
        object.__setattr__(self, "stimuli", stimuli)
        object.__setattr__(self, "categories", categories.astype(np.int64))
        object.__setattr__(self, "valid", valid)
        if self.choices is not None:
            object.__setattr__(self, "choices", np.asarray(self.choices).astype(np.int64))
        object.__setattr__(self, "condition", tuple(self.condition) or ("",) * shape[0])
        object.__setattr__(self, "names", tuple(self.names) or tuple(str(i) for i in range(shape[0])))
        for name in ("condition", "names"):
            if len(getattr(self, name)) != shape[0]:
                got = str(len(getattr(self, name)))
                raise InputError(f"Trials.{name}", f"{shape[0]} names", got, "give one per subject")

    @property
    def classes(self) -> int:
        """Number of categories."""
        return 1 + int(self.categories.max())

    def __len__(self) -> int:
        return len(self.stimuli)

    def exemplars(self) -> tuple[np.ndarray, np.ndarray]:
        """The distinct stimuli `(exemplars, features)`, and which of them each trial showed, `(subjects, trials)`."""
        flat = self.stimuli.reshape(-1, self.stimuli.shape[-1])
        distinct, index = np.unique(flat, axis=0, return_inverse=True)
        return distinct, index.reshape(self.stimuli.shape[:2])

    def subjects(self, rows: np.ndarray | list[int]) -> Trials:
        """The same trials of some subjects only."""
        chosen = np.arange(len(self))[np.asarray(rows)]
        valid = self.valid
        assert valid is not None
        return replace(
            self, stimuli=self.stimuli[chosen], categories=self.categories[chosen],
            choices=None if self.choices is None else self.choices[chosen], valid=valid[chosen],
            condition=tuple(self.condition[i] for i in chosen), names=tuple(self.names[i] for i in chosen),
        )  # fmt: skip

    def error_curves(self, right: np.ndarray, block: int = 16) -> dict[str, np.ndarray]:
        """Mean error per block of trials, for each condition.

        Args:
            right: probability (or 0/1) of a correct answer in each trial, `(subjects, trials)`.
            block: trials in a block.
        """
        blocks = right.shape[1] // block
        means = 1 - right[:, : blocks * block].reshape(len(right), blocks, block).mean(-1)
        conditions = np.array(self.condition)
        return {c: means[conditions == c].mean(0) for c in dict.fromkeys(self.condition)}


def shj(kind: str | None = None, *, subjects: int = 100, blocks: int = 16, seed: int = 0) -> Trials:
    """The six category structures over three binary features.

    Every half block of 8 trials shows each stimulus once, in random order; which physical feature plays
    which logical part, and which category is called which, is drawn anew for every subject.

    Args:
        kind: `"I"` … `"VI"`; `None` (default) for all six, `subjects` of each.
        subjects: how many for each type.
        blocks: blocks of 16 trials (default 16, as published).
        seed: of everything random.

    Raises:
        UnknownName: no type of that name.

    Source: Nosofsky, Gluck, Palmeri, McKinley & Glauthier, Memory & Cognition 22, 1994,
    doi:10.3758/BF03200862.
    """
    if kind is not None and kind not in SHJ:
        raise unknown_name("shj.kind", kind, SHJ, "type")
    if subjects < 1 or blocks < 1:
        raise InputError("shj", "at least one subject and one block", f"{subjects}, {blocks}", "give positive numbers")
    draw = np.random.default_rng(seed)
    kinds = [kind] if kind else list(SHJ)
    order = draw.permuted(np.tile(np.arange(8), (len(kinds) * subjects, 2 * blocks, 1)), axis=-1)
    order = order.reshape(len(order), -1)
    labels = np.repeat([SHJ[k] for k in kinds], subjects, axis=0)
    stimuli = CUBE[order]
    axes = draw.permuted(np.tile(np.arange(3), (len(order), 1)), axis=-1)
    stimuli = np.take_along_axis(stimuli, axes[:, None, :], axis=-1)
    swapped = draw.integers(0, 2, (len(order), 1))
    categories = np.take_along_axis(labels, order, axis=1) ^ swapped
    return Trials(stimuli, categories, condition=tuple(np.repeat(kinds, subjects).tolist()))


FIVE_FOUR = {
    "A": ("1110", "1010", "1011", "1101", "0111"),
    "B": ("1100", "0110", "0001", "0000"),
    "T": ("1001", "1000", "1111", "0010", "0101", "0011", "0100"),
}
"""Items of the 5-4 structure: category A, category B, transfer. Medin & Schaffer 1978, doi:10.1037/0033-295X.85.3.207."""


def five_four(*, subjects: int = 100, blocks: int = 16, seed: int = 0) -> Trials:
    """The 5-4 structure over four binary features: nine training items in random order, once per block.

    Args:
        subjects: how many.
        blocks: passes through the nine items.
        seed: of the order.

    Source: Medin & Schaffer, Psychological Review 85, 1978, doi:10.1037/0033-295X.85.3.207.
    """
    items = five_four_items()
    draw = np.random.default_rng(seed)
    order = draw.permuted(np.tile(np.arange(9), (subjects, blocks, 1)), axis=-1).reshape(subjects, -1)
    return Trials(items[order], (order >= 5).astype(np.int64), condition=("5-4",) * subjects)


def five_four_items() -> np.ndarray:
    """All sixteen items in the order A1…A5, B1…B4, T1…T7, `(16, 4)`."""
    return np.array([[float(c) for c in item] for items in FIVE_FOUR.values() for item in items])


def gaussian_categories(
    kind: str = "rule", *, subjects: int = 100, trials: int = 256, separation: float = 2.0, seed: int = 0
) -> Trials:
    """Two Gaussian categories over two features that the best boundary tells equally well.

    `"rule"`: the boundary is one axis (which of the two is drawn per subject); `"integration"`: it lies at
    45 degrees (either diagonal). Both have unit variance along every axis and the same distance of means,
    so that the ideal observer's accuracy `Φ(separation / 2)` is the same.

    Args:
        kind: `"rule"` or `"integration"`.
        subjects: how many.
        trials: how many for each subject.
        separation: distance of the two means in standard deviations, d′ (default 2).
        seed: of everything random.

    Raises:
        UnknownName: another kind.

    Source: Ashby & Gott, J. Exp. Psychol. LMC 14, 1988, doi:10.1037/0278-7393.14.1.33.
    """
    if kind not in ("rule", "integration"):
        raise unknown_name("gaussian_categories.kind", kind, ("rule", "integration"), "kind")
    if not (np.isfinite(separation) and separation > 0):
        raise InputError("gaussian_categories.separation", "a positive number", repr(separation), "give d′ > 0")
    draw = np.random.default_rng(seed)
    categories = draw.integers(0, 2, (subjects, trials))
    angle = draw.integers(0, 2, subjects) * np.pi / 2 + (np.pi / 4 if kind == "integration" else 0.0)
    direction = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    means = separation * (categories - 0.5)[..., None] * direction[:, None]
    stimuli = means + draw.standard_normal((subjects, trials, 2))
    return Trials(stimuli, categories, condition=(kind,) * subjects)
