"""Twenty cognitive tasks that one network learns together: saccades, decisions, memory and matching, in batches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from neurospin.errors import InputError, unknown_name


@dataclass(frozen=True)
class _Task:
    """What sets a task apart.

    Attributes:
        family: which sequence of events.
        shown: in which modalities the stimuli appear.
        weighed: how much each modality counts for the decision.
    """

    family: str
    shown: tuple[float, float] = (1.0, 1.0)
    weighed: tuple[float, float] = (1.0, 1.0)
    anti: bool = False
    category: bool = False


_FIRST, _SECOND = (1.0, 0.0), (0.0, 1.0)
_TASKS = {
    "go": _Task("go"),
    "rt_go": _Task("reaction"),
    "delayed_go": _Task("delayed go"),
    "anti": _Task("go", anti=True),
    "rt_anti": _Task("reaction", anti=True),
    "delayed_anti": _Task("delayed go", anti=True),
    "dm1": _Task("decide", _FIRST, _FIRST),
    "dm2": _Task("decide", _SECOND, _SECOND),
    "context_dm1": _Task("decide", weighed=_FIRST),
    "context_dm2": _Task("decide", weighed=_SECOND),
    "multisensory_dm": _Task("decide"),
    "delayed_dm1": _Task("delayed decide", _FIRST, _FIRST),
    "delayed_dm2": _Task("delayed decide", _SECOND, _SECOND),
    "context_delayed_dm1": _Task("delayed decide", weighed=_FIRST),
    "context_delayed_dm2": _Task("delayed decide", weighed=_SECOND),
    "multisensory_delayed_dm": _Task("delayed decide"),
    "dms": _Task("match"),
    "dnms": _Task("match", anti=True),
    "dmc": _Task("match", category=True),
    "dnmc": _Task("match", anti=True, category=True),
}
MULTITASK = tuple(_TASKS)
"""Names of the twenty tasks, in the order of their rule units."""
DELAYS = (0.2, 0.4, 0.8, 1.6)
"""Delays in seconds."""
COHERENCES = (0.04, 0.08, 0.16, 0.32)
"""Half the differences of strength between the two stimuli of a decision."""
RESPONSE, GRACE, TOLERANCE = 0.5, 0.1, math.radians(36)
"""Seconds for the response, seconds of it in which nothing counts, and how far off it may be."""


@dataclass(frozen=True)
class Episodes:
    """A batch of trials of any of the tasks.

    Attributes:
        inputs: fixation, the two rings and the rule units, `(time, batch, 1 + 2 ring + 20)`.
        targets: fixation and the ring of responses, `(time, batch, 1 + ring)`.
        weights: what each target counts in the loss, same shape; 0 in the grace period and after the end.
        response: direction of the right response in radians, `(batch,)`; nan where the gaze must stay.
        go: step at which the response begins, `(batch,)`.
        end: number of steps of each trial, `(batch,)`.
        task: number of each trial's task in `MULTITASK`, `(batch,)`.
        events: from and to (steps) of the two stimuli, `(batch, 2, 2)`.
        directions: of the two stimuli in radians, `(batch, 2)`.
        strengths: of each stimulus in each modality, `(batch, 2, 2)`.
        dt: step in seconds.
    """

    inputs: Tensor
    targets: Tensor
    weights: Tensor
    response: Tensor
    go: Tensor
    end: Tensor
    task: Tensor
    events: Tensor
    directions: Tensor
    strengths: Tensor
    dt: float

    def loss(self, outputs: Tensor) -> Tensor:
        """Weighted mean squared error of outputs `(time, batch, 1 + ring)`."""
        return (self.weights * (outputs - self.targets) ** 2).sum() / self.weights.sum()

    def correct(self, outputs: Tensor) -> Tensor:
        """Which trials were right, `(batch,)` of bool.

        The fixation output stays above 0.5 from 0.1 s until the response begins; then, in the mean over the last 0.1 s, it
        is below 0.5 and the population vector of the ring within 36 degrees of the right direction, or it is
        still above 0.5 where the gaze must stay.

        Args:
            outputs: `(time, batch, 1 + ring)`.
        """
        time = torch.arange(len(outputs), device=outputs.device)[:, None]
        held = ((outputs[..., 0] > 0.5) | (time >= self.go) | (time < round(GRACE / self.dt))).all(0)
        last = (time >= self.end - round(GRACE / self.dt)) & (time < self.end)
        final = (outputs * last[..., None]).sum(0) / last.sum(0)[:, None]
        away = torch.remainder(direction(final[:, 1:]) - self.response + math.pi, 2 * math.pi) - math.pi
        moved = (final[:, 0] < 0.5) & (away.abs() < TOLERANCE)
        return held & torch.where(self.response.isnan(), final[:, 0] > 0.5, moved)


def direction(ring: Tensor) -> Tensor:
    """Direction of the population vector, `(…,)` in radians, of the activity of a ring `(…, units)`."""
    preferred = _preferred(ring.shape[-1], ring.device)
    return torch.atan2((ring * preferred.sin()).sum(-1), (ring * preferred.cos()).sum(-1))


def multitask(
    names: str | Sequence[str] = MULTITASK, batch: int = 64, *, dt: float = 20e-3, ring: int = 32, noise: float = 0.1,
    seed: int = 0, device: str | torch.device = "cpu",
) -> Episodes:  # fmt: skip
    """A batch of trials, each of a task drawn from `names`.

    A fixation point, two rings of direction-tuned units (two modalities), and a rule unit for each task; the network
    looks at the point until the rule and the stimuli tell it to look in a direction:

    - `go`, `delayed_go`, `rt_go`: towards the stimulus, when the point goes off (with or after a delay), or at once.
      `anti`, …: away from it.
    - `dm1`, `dm2`: two stimuli in one modality, towards the stronger; `context_dm1`, `…2`: in both, the other one does
      not count; `multisensory_dm`: both count. `delayed_…`: the stimuli come one after the other.
    - `dms`, `dmc`: towards the second stimulus if its direction, or its category (which half of the circle), is that of
      the first; `dnms`, `dnmc`: if it is not; else the gaze stays.

    A stimulus of direction ψ and strength γ gives the unit of preferred direction φ the input
    `0.8 γ exp(−½ (8 |φ − ψ| / π)²)`. Fixation: 0.3 to 0.7 s; `RESPONSE`, `DELAYS` and `COHERENCES` say the rest.

    Args:
        names: one task, or several; default all twenty.
        batch: number of trials.
        dt: step in seconds (default 20 ms).
        ring: units of each ring.
        noise: standard deviation of Gaussian noise on fixation and rings, independent in every step.
        seed: of everything random; on one kind of device the same gives the same.
        device: on which the tensors are made.

    Raises:
        UnknownName: no task of that name.
        InputError: a size, step or noise that cannot be.

    Source: Yang, Joglekar, Song, Newsome & Wang, Nature Neuroscience 22, 2019, doi:10.1038/s41593-018-0310-2;
    durations and coherences are this module's.
    """
    chosen = [names] if isinstance(names, str) else list(names)
    for name in chosen:
        if name not in _TASKS:
            raise unknown_name("multitask.names", name, _TASKS, "task")
    if not chosen or batch < 1 or ring < 8 or not noise >= 0 or not 0 < dt <= GRACE:
        got = f"{len(chosen)}, {batch}, {ring}, {noise:g}, {dt:g}"
        raise InputError("multitask", f"tasks, batch ≥ 1, ring ≥ 8, noise ≥ 0, dt ≤ {GRACE} s", got, "check them")
    draw = torch.Generator().manual_seed(seed)
    numbers = torch.tensor([MULTITASK.index(name) for name in chosen])
    task = numbers[torch.randint(len(chosen), (batch,), generator=draw)]
    plan = _Plan(batch, draw)
    for number in task.unique().tolist():
        plan.fill(torch.nonzero(task == number)[:, 0], _TASKS[MULTITASK[number]])
    return _rendered(plan, task, dt, ring, noise, seed, torch.device(device))


class _Plan:
    """When what is shown, where and how strongly, in seconds and radians; one row a trial."""

    def __init__(self, batch: int, draw: torch.Generator) -> None:
        self.draw = draw
        self.events = torch.zeros(batch, 2, 2)
        self.directions = torch.zeros(batch, 2)
        self.strengths = torch.zeros(batch, 2, 2)
        self.off = torch.zeros(batch)  # of the fixation point
        self.go = torch.zeros(batch)
        self.response = torch.full((batch,), torch.nan)

    def uniform(self, count: int, low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, generator=self.draw)

    def choice(self, count: int, among: Sequence[float]) -> Tensor:
        return torch.tensor(among)[torch.randint(len(among), (count,), generator=self.draw)]

    def fill(self, rows: Tensor, task: _Task) -> None:
        """Draw the trials of one task."""
        n = len(rows)
        start = self.uniform(n, 0.3, 0.7)
        self.directions[rows, 0] = self.uniform(n, 0, 2 * math.pi)
        if task.family in ("go", "reaction", "delayed go"):
            self._saccade(rows, task, start)
        elif task.family == "match":
            self._match(rows, task, start)
        else:
            self._decide(rows, task, start)

    def _saccade(self, rows: Tensor, task: _Task, start: Tensor) -> None:
        n = len(rows)
        if task.family == "delayed go":
            seen = start + 0.3
            go = seen + self.choice(n, DELAYS)
        else:
            go = start if task.family == "reaction" else start + self.uniform(n, 0.3, 0.9)
            seen = go + RESPONSE
        self.events[rows, 0] = torch.stack([start, seen], dim=1)
        self.strengths[rows, 0] = torch.eye(2)[torch.randint(2, (n,), generator=self.draw)]
        self.go[rows] = go
        self.off[rows] = go + RESPONSE if task.family == "reaction" else go
        self.response[rows] = self.directions[rows, 0] + (math.pi if task.anti else 0.0)

    def _decide(self, rows: Tensor, task: _Task, start: Tensor) -> None:
        n = len(rows)
        if task.family == "decide":
            go = start + self.choice(n, (0.4, 0.8, 1.6))
            self.events[rows] = torch.stack([start, go], dim=1)[:, None].expand(-1, 2, -1)
        else:
            second = start + 0.3 + self.choice(n, DELAYS)
            go = second + 0.3
            self.events[rows] = torch.stack([start, start + 0.3, second, go], dim=1).unflatten(1, (2, 2))
        self.directions[rows, 1] = self.directions[rows, 0] + self.uniform(n, math.pi / 2, 3 * math.pi / 2)
        apart = torch.stack([self.choice(n, COHERENCES) * self.choice(n, (-1.0, 1.0)) for _ in range(2)], dim=1)
        mean = torch.stack([self.uniform(n, 0.8, 1.2) for _ in range(2)], dim=1)
        weighed = torch.tensor(task.weighed)
        total = (apart * weighed).sum(1)
        apart[total.abs() < 1e-3, 1] *= 0.5  # the two modalities must not cancel
        total = (apart * weighed).sum(1)
        self.strengths[rows] = torch.stack([mean + apart, mean - apart], dim=1) * torch.tensor(task.shown)
        self.go[rows] = self.off[rows] = go
        self.response[rows] = torch.where(total > 0, self.directions[rows, 0], self.directions[rows, 1])

    def _match(self, rows: Tensor, task: _Task, start: Tensor) -> None:
        n = len(rows)
        go = start + 0.3 + self.choice(n, DELAYS)
        self.events[rows] = torch.stack([start, start + 0.3, go, go + RESPONSE], dim=1).unflatten(1, (2, 2))
        same = torch.rand(n, generator=self.draw) < 0.5
        first = self.directions[rows, 0]
        if task.category:  # five directions in each half, away from the boundary
            inside = [self.choice(n, [math.pi / 5 * (k + 0.5) for k in range(5)]) for _ in range(2)]
            half = math.pi * torch.randint(2, (n,), generator=self.draw)
            first = inside[0] + half
            second = inside[1] + torch.where(same, half, math.pi - half)
        else:
            apart = self.uniform(n, math.pi / 6, 11 * math.pi / 6)
            second = first + torch.where(same, torch.zeros(n), apart)
        self.directions[rows] = torch.stack([first, second], dim=1)
        self.strengths[rows] = torch.eye(2)[torch.randint(2, (n, 2), generator=self.draw)]
        self.go[rows] = self.off[rows] = go
        self.response[rows] = torch.where(same ^ task.anti, second, torch.full((n,), torch.nan))


def _preferred(units: int, device: torch.device) -> Tensor:
    return 2 * math.pi * torch.arange(units, device=device) / units


def _bump(directions: Tensor, units: int) -> Tensor:
    """Activity of a ring tuned to directions `(…)`: `(…, units)`."""
    away = torch.remainder(_preferred(units, directions.device) - directions[..., None] + math.pi, 2 * math.pi)
    return 0.8 * torch.exp(-0.5 * (8 * (away - math.pi) / math.pi) ** 2)


def _rendered(
    plan: _Plan, task: Tensor, dt: float, ring: int, noise: float, seed: int, device: torch.device
) -> Episodes:
    events, go, off = ((x / dt).round().long().to(device) for x in (plan.events, plan.go, plan.off))
    end = go + round(RESPONSE / dt)
    task, response = task.to(device), torch.remainder(plan.response, 2 * math.pi).to(device)
    directions, strengths = torch.remainder(plan.directions, 2 * math.pi).to(device), plan.strengths.to(device)
    steps, batch = int(end.max()), len(task)
    time = torch.arange(steps, device=device)[:, None]
    shown = ((time[..., None] >= events[..., 0]) & (time[..., None] < events[..., 1])).float()
    rings = torch.einsum("sne,nem,neu->snmu", shown, strengths, _bump(directions, ring)).flatten(2)
    seen = torch.cat([(time < off).float()[..., None], rings], dim=-1)
    if noise > 0:
        draw = torch.Generator(device).manual_seed(seed)
        seen = seen + noise * torch.randn(seen.shape, generator=draw, device=device)
    rule = torch.nn.functional.one_hot(task, len(_TASKS)).float()
    inputs = torch.cat([seen, rule.expand(steps, -1, -1)], dim=-1)
    moves = ~response.isnan()
    moving = ((time >= go) & moves)[..., None]
    ends = torch.cat([torch.zeros(batch, 1, device=device), _bump(response.nan_to_num(), ring)], dim=-1) + 0.05
    stays = torch.full((batch, 1 + ring), 0.05, device=device)
    stays[:, 0] = 0.85
    targets = torch.where(moving, ends, stays)
    counts = torch.where(time < go, 1.0, torch.where(time < go + round(GRACE / dt), 0.0, 5.0)) * (time < end)
    weights = counts[..., None].repeat(1, 1, 1 + ring)
    weights[..., 0] *= 2
    return Episodes(inputs, targets, weights, response, go, end, task, events, directions, strengths, dt)
