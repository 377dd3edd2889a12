"""The stimuli of category learning as pictures, so that a network can learn them from pixels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from neurospin.data import Images
from neurospin.errors import InputError
from neurospin.tasks.categories import Trials


def objects(
    features: np.ndarray, side: int = 16, *, jitter: float = 0.0, noise: float = 0.0, seed: int = 0
) -> np.ndarray:
    """Single objects whose features are seen: form, size, brightness, and stripes.

    Each feature goes from 0 to 1 and says, in this order: a diamond (0) or a square (1); small or large (half its
    width 0.22 or 0.4 of the picture); dark or bright (0.4 or 1); plain or striped. The outline is
    `|x|^p + |y|^p = r^p` with `p = 1 + 7 f²`, drawn with smooth edges.

    Args:
        features: `(…, 1 to 4)` in [0, 1]; those that are left out are 0.5, but the stripes 0.
        side: of the picture in pixels (default 16).
        jitter: how far the middle may lie off, as a share of the side (default 0).
        noise: standard deviation of Gaussian noise on the pixels (default 0).
        seed: of jitter and noise.

    Returns:
        `(…, 1, side, side)` in [0, 1], float32.

    Source: form, size and brightness are the features of Shepard, Hovland & Jenkins 1961, doi:10.1037/h0093825; the
    drawing is this project's.
    """
    given = np.asarray(features, np.float64)
    if given.ndim < 1 or not 1 <= given.shape[-1] <= 4 or not ((given >= 0) & (given <= 1)).all():
        raise InputError("objects.features", "(…, 1 to 4) in [0, 1]", str(given.shape), "scale the features")
    _sizes("objects", side, jitter, noise)
    full = np.full((*given.shape[:-1], 4), 0.5)
    full[..., 3] = 0.0
    full[..., : given.shape[-1]] = given
    flat = full.reshape(-1, 4)
    draw = np.random.default_rng(seed)
    middle = jitter * (2 * draw.random((len(flat), 2)) - 1)
    place = (np.arange(side) + 0.5) / side - 0.5
    y = np.abs(place[None, :, None] - middle[:, 0, None, None])
    x = np.abs(place[None, None, :] - middle[:, 1, None, None])
    form, size, bright, stripes = (flat[:, k, None, None] for k in range(4))
    power = 1 + 7 * form**2
    radius = 0.22 + 0.18 * size
    distance = (x**power + y**power) ** (1 / power)
    inside = 1 / (1 + np.exp((distance - radius) * 4 * side / 2))
    wave = 1 - stripes * (0.5 + 0.5 * np.sign(np.sin(2 * np.pi * 4 * place)))[None, :, None]
    return _finished(inside * (0.4 + 0.6 * bright) * wave, given.shape[:-1], noise, draw)


def gratings(
    frequency: np.ndarray, orientation: np.ndarray, side: int = 16, *, phase: np.ndarray | float | None = None,
    contrast: float = 1.0, noise: float = 0.0, seed: int = 0,
) -> np.ndarray:  # fmt: skip
    """Gabor patches, `½ + ½ contrast · exp(−r² / 2σ²) · cos(2π f u + phase)` with σ a fifth of the side.

    Args:
        frequency: cycles in the width of the picture, `(…,)`.
        orientation: of the stripes' normal in radians, same shape; `u = x cos + y sin`.
        side: of the picture in pixels (default 16).
        phase: in radians; drawn for each picture by default.
        contrast: 0 to 1 (default 1).
        noise: standard deviation of Gaussian noise on the pixels (default 0).
        seed: of phases and noise.

    Returns:
        `(…, 1, side, side)` in [0, 1], float32.
    """
    cycles, angle = np.broadcast_arrays(np.asarray(frequency, np.float64), np.asarray(orientation, np.float64))
    if not ((cycles >= 0) & (cycles <= side / 2)).all() or not np.isfinite(angle).all() or not 0 <= contrast <= 1:
        got = f"{cycles.min():g} to {cycles.max():g} cycles, contrast {contrast:g}"
        raise InputError("gratings", f"0 to {side / 2:g} cycles, contrast 0 to 1", got, "change them, or a larger side")
    _sizes("gratings", side, 0.0, noise)
    draw = np.random.default_rng(seed)
    drawn = draw.uniform(0, 2 * np.pi, cycles.shape)
    offset = drawn if phase is None else np.broadcast_to(np.asarray(phase, np.float64), cycles.shape)
    place = (np.arange(side) + 0.5) / side - 0.5
    y, x = place[:, None], place[None, :]
    along = x * np.cos(angle)[..., None, None] + y * np.sin(angle)[..., None, None]
    wave = np.cos(2 * np.pi * cycles[..., None, None] * along + offset[..., None, None])
    seen = 0.5 + 0.5 * contrast * np.exp(-(x**2 + y**2) / (2 * 0.2**2)) * wave
    return _finished(seen.reshape(-1, side, side), cycles.shape, noise, draw)


def pictures(trials: Trials, side: int = 16, *, jitter: float = 0.0, noise: float = 0.0, seed: int = 0) -> np.ndarray:
    """What a subject sees in each trial, `(subjects, trials, 1, side, side)`.

    Binary features (Shepard types, 5-4) become `objects`. Two Gaussian features (rule-based and
    information-integration categories) become `gratings`: the first feature is the frequency, `4 · 2^(x / 4)` cycles,
    the second the orientation, `45° + 12° · y`, both held within three standard deviations.

    Args:
        trials: of `shj`, `five_four` or `gaussian_categories`.
        side: of the picture in pixels (default 16).
        jitter: of objects.
        noise: standard deviation of Gaussian noise on the pixels (default 0).
        seed: of jitter, phases and noise.
    """
    found = trials.stimuli
    if np.isin(found, (0, 1)).all():
        return objects(found, side, jitter=jitter, noise=noise, seed=seed)
    if found.shape[-1] != 2:
        raise InputError("pictures", "binary features, or two", f"{found.shape[-1]} features", "draw them yourself")
    x, y = np.clip(found, -3, 3).transpose(2, 0, 1)
    return gratings(4 * 2 ** (x / 4), np.pi / 4 + np.radians(12) * y, side, noise=noise, seed=seed)


class Transfer(NamedTuple):
    """What is trained and tested, and the same test on stimuli with features that training never had."""

    trained: Images
    new: Images


def irrelevant_variability(
    variable: bool, *, samples: int = 600, side: int = 16, degrees: float = 12.0, trained: tuple[float, ...] = (2.0, 3.0, 5.0),
    new: tuple[float, ...] = (4.0, 6.0), noise: float = 0.1, seed: int = 0,
) -> Transfer:  # fmt: skip
    """Orientation discrimination with an irrelevant spatial frequency that training varies, or does not.

    The question is whether a grating is turned clockwise of 45 degrees (class 1) or not (class 0). In training its
    frequency is the second of `trained` throughout, or is drawn from all of them; then the same question is asked at
    frequencies that were not trained.

    Args:
        variable: whether the frequency varies in training.
        samples: for training; a third as many for each test.
        side: of the pictures in pixels (default 16).
        degrees: of the turn, either way (default 12).
        trained: frequencies, in cycles of the picture's width; their middle one is trained where none varies.
        new: frequencies of the test of transfer.
        noise: standard deviation of Gaussian noise on the pixels (default 0.1).
        seed: of everything random.

    Returns:
        Images `(samples, side²)`; those of `new` have the training samples of `trained`.

    Source: protocol of Manenti, Dizaji & Schwiedrzik, Current Biology 33, 2023, doi:10.1016/j.cub.2023.01.011; its
    values are this project's.
    """
    if samples < 3 or not trained or not new or not 0 < degrees < 45:
        got = f"{samples}, {trained}, {new}, {degrees:g}"
        raise InputError("irrelevant_variability", "samples ≥ 3, frequencies, 0 to 45 degrees", got, "check them")
    draw = np.random.default_rng(seed)
    usual = trained if variable else (sorted(trained)[len(trained) // 2],)

    def made(count: int, frequencies: tuple[float, ...]) -> tuple[torch.Tensor, torch.Tensor]:
        label = draw.permutation(np.arange(count) % 2)
        angle = np.pi / 4 + np.radians(degrees) * (2 * label - 1)
        seen = gratings(draw.choice(frequencies, count), angle, side, noise=noise, seed=int(draw.integers(2**31)))
        return torch.from_numpy(seen.reshape(count, -1)), torch.from_numpy(label)

    x, y = made(samples, usual)
    same, other = made(samples // 3, usual), made(samples // 3, new)
    return Transfer(Images(x, y, *same), Images(x, y, *other))


def _sizes(where: str, side: int, jitter: float, noise: float) -> None:
    if side < 4 or not 0 <= jitter <= 0.5 or not (np.isfinite(noise) and noise >= 0):
        got = f"{side}, {jitter:g}, {noise:g}"
        raise InputError(where, "side ≥ 4, jitter 0 to 0.5, noise ≥ 0", got, "check them")


def _finished(seen: np.ndarray, shape: tuple[int, ...], noise: float, draw: np.random.Generator) -> np.ndarray:
    if noise:
        seen = seen + noise * draw.standard_normal(seen.shape)
    return np.clip(seen, 0, 1).astype(np.float32).reshape(*shape, 1, *seen.shape[1:])
