"""A spiking twin of one neuron: leaky integrate-and-fire with escape noise and adaptation, fitted to its own spikes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.signal import lfilter
from scipy.special import expit

from neurospin.errors import InputError


@dataclass(frozen=True)
class EscapeLIF:
    """Leaky integrate-and-fire neuron whose threshold is noisy and adapts; voltages in widths of the noise.

    `I(t) = current + Σ_l kernel_l s(t − l dt)`, `v ← a v + (1 − a) I` with `a = exp(−dt / tau_mem)`, and `v ← 0` after
    a spike. In every bin it fires with probability `1 / (1 + exp(θ − v))`, where `θ = threshold + Σ_j adaptation_j h_j`
    and every spike adds 1 to `h_j`, which decays with `tau_adaptation_j`.

    Attributes:
        tau_mem: membrane time constant, seconds.
        kernel: weights of the stimulus at lags 0, dt, …, `(lags,)`.
        current: constant current.
        threshold: voltage at which it fires with probability 1/2.
        adaptation: what a spike adds to the threshold, by time constant, `(n,)`.
        tau_adaptation: seconds, `(n,)`.
        dt: width of a bin, seconds; at most one spike in each.

    Source: Gerstner, Kistler, Naud & Paninski, Neuronal Dynamics, 2014, chapters 6 and 9; Mensi et al., Journal of
    Neurophysiology 107, 2012, doi:10.1152/jn.00408.2011.
    """

    tau_mem: float
    kernel: np.ndarray
    current: float
    threshold: float
    adaptation: np.ndarray
    tau_adaptation: np.ndarray
    dt: float

    @property
    def parameters(self) -> int:
        """How many numbers were fitted."""
        return 3 + len(self.kernel) + len(self.adaptation)

    def voltage(self, stimulus: np.ndarray, spikes: np.ndarray) -> np.ndarray:
        """Membrane voltage when the neuron is made to fire the given spikes, `(time,)`.

        Args:
            stimulus: `(time,)`.
            spikes: 0 or 1, `(time,)`; a spike acts from the next bin on.
        """
        s, y = _checked(stimulus, spikes)
        drive = _drives(s, y, self.tau_mem / self.dt, len(self.kernel))
        return drive @ np.append(self.kernel, self.current)

    def probabilities(self, stimulus: np.ndarray, spikes: np.ndarray) -> np.ndarray:
        """Probability of a spike in every bin, given the spikes before it, `(time,)`."""
        s, y = _checked(stimulus, spikes)
        raised = self.threshold + _traces(y, self.tau_adaptation / self.dt) @ self.adaptation
        return expit(self.voltage(s, y) - raised)

    def bits_per_spike(self, stimulus: np.ndarray, spikes: np.ndarray, *, skip: int = 0) -> float:
        """Information gain per spike over the mean rate of the same bins, teacher-forced, each bin 0 or 1.

        Args:
            stimulus: `(time,)`.
            spikes: 0 or 1, `(time,)`.
            skip: first bins that are not scored but only set the state (default 0).
        """
        p, y = self.probabilities(stimulus, spikes)[skip:], np.asarray(spikes, np.float64)[skip:]
        if not 0 < y.sum() < len(y):
            raise InputError(
                "bits_per_spike", "bins with and without spikes", f"{y.sum():g} spikes", "score more of it"
            )
        p, mean = np.clip(p, 1e-12, 1 - 1e-12), y.mean()
        gain = y * np.log(p / mean) + (1 - y) * np.log((1 - p) / (1 - mean))
        return float(gain.sum() / y.sum() / np.log(2))

    def simulate(self, stimulus: np.ndarray, *, trials: int = 1, seed: int = 0) -> np.ndarray:
        """Spikes of the free-running neuron, `(trials, time)`, 0 or 1.

        Args:
            stimulus: `(time,)`.
            trials: repeats with fresh noise.
            seed: of the noise.
        """
        s = np.asarray(stimulus, np.float64)
        current = np.convolve(s, self.kernel)[: len(s)] + self.current
        decay, fade = np.exp(-self.dt / self.tau_mem), np.exp(-self.dt / self.tau_adaptation)
        noise = np.random.default_rng(seed).random((len(s), trials))
        v, trace = np.zeros(trials), np.zeros((trials, len(fade)))
        fired = np.zeros((len(s), trials))
        for t in range(len(s)):
            v = decay * v + (1 - decay) * current[t]
            fired[t] = noise[t] < expit(v - self.threshold - trace @ self.adaptation)
            v = np.where(fired[t] > 0, 0.0, v)
            trace = fade * trace + fired[t][:, None] * fade
        return fired.T


def _checked(stimulus: np.ndarray, spikes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    s, y = np.asarray(stimulus, np.float64), np.asarray(spikes, np.float64)
    if s.ndim != 1 or s.shape != y.shape or not np.isfinite(s).all():
        raise InputError("stimulus, spikes", "two finite arrays (time,)", f"{s.shape} and {y.shape}", "match them")
    if not np.isin(y, (0.0, 1.0)).all():
        raise InputError("spikes", "0 or 1 in every bin", f"{y.min():g} … {y.max():g}", "make the bins shorter")
    return s, y


def _drives(s: np.ndarray, y: np.ndarray, tau: float, lags: int) -> np.ndarray:
    """The voltage that each lag of the stimulus, and a constant of 1, would cause alone, `(time, lags + 1)`.

    Between spikes the membrane is linear: filter without reset, and take out what was there at the last spike.
    """
    steps, decay = np.arange(len(s)), np.exp(-1 / tau)
    last = np.maximum.accumulate(np.append(-1, np.where(y > 0, steps, -1)))[:-1]
    left = np.where(last >= 0, decay ** (steps - last), 0.0)
    found = np.empty((len(s), lags + 1))
    for lag in range(lags + 1):
        source = np.append(np.zeros(lag), s[: len(s) - lag]) if lag < lags else np.ones(len(s))
        free = lfilter([1 - decay], [1.0, -decay], source)
        found[:, lag] = free - left * free[np.maximum(last, 0)]
    return found


def _traces(y: np.ndarray, tau: np.ndarray) -> np.ndarray:
    """Decaying traces of the spikes before each bin, `(time, n)`."""
    fade = np.exp(-1 / tau)
    before = np.append(0.0, y[:-1])
    return np.stack([lfilter([f], [1.0, -f], before) for f in fade], axis=1) if len(fade) else np.empty((len(y), 0))


def _logistic(features: np.ndarray, y: np.ndarray, ridge: float) -> tuple[np.ndarray, float]:
    """Weights and penalised loss of a logistic regression by Newton's method; the last feature is not penalised."""
    scale = np.maximum(features.std(0), 1e-12)
    scale[-1] = 1.0
    x, penalty = features / scale, np.append(np.full(features.shape[1] - 1, ridge), 1e-9)
    w = np.zeros(x.shape[1])
    w[-1] = np.log(y.mean() / (1 - y.mean()))

    def loss(w: np.ndarray) -> float:
        u = x @ w
        return float(np.logaddexp(0, u).sum() - y @ u + 0.5 * penalty @ w**2)

    now = loss(w)
    for _ in range(50):
        p = expit(x @ w)
        gradient = x.T @ (p - y) + penalty * w
        step = np.linalg.solve((x * (p * (1 - p))[:, None]).T @ x + np.diag(penalty), gradient)
        length = 1.0
        while (then := loss(w - length * step)) > now and length > 1e-6:
            length /= 2
        w, done, now = w - length * step, now - then < 1e-9 * abs(now), min(then, now)
        if done:
            break
    return w / scale, now


def fit_escape_lif(
    stimulus: np.ndarray,
    spikes: np.ndarray,
    *,
    dt: float = 1e-3,
    lags: int = 20,
    tau_adaptation: tuple[float, ...] = (1e-3, 3e-3, 10e-3, 100e-3),
    ridge: float = 1.0,
) -> EscapeLIF:
    """The neuron that makes the recorded spikes most likely.

    The recorded spikes reset the membrane (teacher forcing), so that for a given `tau_mem` the log-likelihood is that
    of a logistic regression: concave, solved by Newton's method to its maximum. `tau_mem` is searched on a line.

    Args:
        stimulus: `(time,)`.
        spikes: 0 or 1, `(time,)`.
        dt: width of a bin, seconds (default 1 ms).
        lags: bins of the stimulus's kernel (default 20).
        tau_adaptation: time constants of the threshold, seconds.
        ridge: penalty on squared weights of features of unit variance (default 1).

    Raises:
        InputError: the arrays do not match, a bin holds more than one spike, or none or all do.

    Source: Paninski, Pillow & Simoncelli, Neural Computation 16, 2004, doi:10.1162/0899766042321797 (the concavity).
    """
    s, y = _checked(stimulus, spikes)
    if not 0 < y.sum() < len(y) or lags < 1 or lags >= len(s) or not dt > 0 or min(tau_adaptation, default=1) <= 0:
        raise InputError(
            "fit_escape_lif", "bins with and without spikes, and lags, dt and time constants above 0",
            f"{y.sum():g} spikes in {len(y)} bins, {lags} lags, dt {dt:g}", "check them",
        )  # fmt: skip
    taus = np.asarray(tau_adaptation, np.float64)
    traces = np.column_stack([_traces(y, taus / dt), np.ones(len(y))])

    def solve(log_tau: float) -> tuple[np.ndarray, float]:
        return _logistic(np.column_stack([_drives(s, y, float(np.exp(log_tau)), lags), traces]), y, ridge)

    grid = np.log([0.5, 1, 2, 4, 8, 16, 32, 64])
    best = grid[np.argmin([solve(g)[1] for g in grid])]
    found = minimize_scalar(
        lambda g: solve(g)[1], bounds=(best - np.log(2), best + np.log(2)), method="bounded", options={"xatol": 0.01}
    )
    weights = solve(found.x)[0]
    return EscapeLIF(
        float(np.exp(found.x)) * dt, weights[:lags], float(weights[lags]), float(-weights[-1]), -weights[lags + 1 : -1],
        taus, dt,
    )  # fmt: skip
