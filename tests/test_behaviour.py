"""Learners of categories against published fits, scalar loops, scikit-learn and finite differences."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import log_loss

import neurospin as ns
from neurospin.data.shj import shj_curves, shj_trials
from neurospin.tasks import SHJ, five_four, gaussian_categories, shj
from neurospin.tasks.categories import five_four_items
from neurospin.twins import behaviour
from neurospin.twins.behaviour import ALCOVE, GCM, MLP, SUSTAIN, LIFExemplar, Prototype, correct
from neurospin.twins.behaviour.fit import _from_unit
from tests.shared_data import shared_data

SIX = shj(subjects=200, seed=3)
FITTED = {  # to the choices of Nosofsky et al. 1994
    "alcove": {"specificity": 24.4, "response": 0.713, "attention_rate": 0.983, "association_rate": 0.451},
    "spiking": {
        "specificity": 3.877, "drive": 1.5734, "background": 0.1901, "scaling": 0.9652, "attention_rate": 0.1209,
        "association_rate": 0.3542,
    },
}  # fmt: skip


def ordered(errors):
    """I < II < III, IV, V < VI, as people."""
    one, two, three, four, five, six = (float(np.mean(e)) for e in errors.values())
    return one < two < min(three, four, five) and max(three, four, five) < six


@pytest.mark.parametrize(
    ("learner", "published", "tolerance"),
    [(ALCOVE(), 0.142, 0.002), (ALCOVE("noise"), 0.062, 0.002), (SUSTAIN(), 0.066, 0.005)],
    ids=["ALCOVE", "ALCOVE with background noise", "SUSTAIN"],
)
def test_curves_reach_the_published_fit(learner, published, tolerance):
    assert behaviour.curve_sse(learner.probabilities(SIX), SIX, shj_curves()) == pytest.approx(published, abs=tolerance)


def test_people_and_attention_models_order_the_types_alike_and_backpropagation_does_not():
    assert ordered(shj_curves())
    for learner in (ALCOVE("noise"), SUSTAIN()):
        assert ordered(SIX.error_curves(correct(learner.probabilities(SIX), SIX)))
    few = shj(subjects=40, seed=0)
    errors = {k: e.mean() for k, e in few.error_curves(correct(MLP().probabilities(few), few)).items()}
    assert errors["IV"] < errors["II"] and errors["IV"] < errors["III"]


def alcove_by_hand(stimuli, categories, c, phi, la, lw):
    """Kruschke's equations with loops over numbers."""
    nodes = sorted({tuple(x) for x in stimuli})
    alpha = [1 / 3] * 3
    w = {(n, k): 0.0 for n in nodes for k in (0, 1)}
    answers = []
    for x, right in zip(stimuli, categories, strict=True):
        a = {n: math.exp(-c * sum(alpha[i] * abs(n[i] - x[i]) for i in range(3))) for n in nodes}
        o = [sum(w[n, k] * a[n] for n in nodes) for k in (0, 1)]
        answers.append(math.exp(phi * o[right]) / sum(math.exp(phi * v) for v in o))
        t = [max(1.0, o[k]) if k == right else min(-1.0, o[k]) for k in (0, 1)]
        new = [
            max(0.0, alpha[i] - la * sum(
                sum((t[k] - o[k]) * w[n, k] for k in (0, 1)) * a[n] * c * abs(n[i] - x[i]) for n in nodes
            ))
            for i in range(3)
        ]  # fmt: skip
        for n in nodes:
            for k in (0, 1):
                w[n, k] += lw * (t[k] - o[k]) * a[n]
        alpha = new
    return answers


def test_alcove_is_its_equations():
    trials = shj("IV", subjects=3, blocks=4, seed=1)
    values = {"specificity": 4.0, "response": 1.3, "attention_rate": 0.7, "association_rate": 0.2}
    got = correct(ALCOVE().probabilities(trials, values), trials)
    for i in range(3):
        by_hand = alcove_by_hand([tuple(x) for x in trials.stimuli[i]], trials.categories[i], 4.0, 1.3, 0.7, 0.2)
        np.testing.assert_allclose(got[i], by_hand, rtol=1e-12)


def test_attention_of_alcove_goes_down_the_gradient_of_the_humble_error():
    trials = shj("III", subjects=1, blocks=2, seed=5)
    learner = ALCOVE("noise")
    _, memory, values = learner._run(trials, {"attention_rate": 1e-3}, 0)
    x, y = trials.stimuli[:, 3], trials.categories[:, 3]

    def loss(attention):
        output = learner.respond(memory._replace(attention=attention), x, values)[1].output
        target = learner.respond(memory, x, values)[1].output
        right = np.arange(2) == y
        wanted = np.where(right, np.maximum(target, 1), np.minimum(target, 0))  # the teacher is not differentiated
        return 0.5 * float(((wanted - output) ** 2).sum())

    _, trace = learner.respond(memory, x, values)
    slope = []
    for i in range(3):
        bump = np.zeros((1, 3))
        bump[0, i] = 1e-6
        slope.append((loss(memory.attention + bump) - loss(memory.attention - bump)) / 2e-6)
    raw = memory.attention - 1e-3 * np.array(slope)
    moved = learner.learn(memory, trace, y, values).attention
    np.testing.assert_allclose(moved, raw / raw.sum(), rtol=1e-8)


def test_spiking_exemplars_learn_as_people_do():
    trials = shj(subjects=25, seed=7)
    errors = trials.error_curves(correct(LIFExemplar().probabilities(trials), trials))
    assert ordered(errors)
    assert sum(np.sum((errors[k] - v) ** 2) for k, v in shj_curves().items()) <= 0.10


def test_spiking_activation_is_the_rate_of_its_neurons():
    """A constant current above threshold fires with the period of theory, ⌈ln(1 − θ/I) / ln(1 − dt/τ)⌉ steps."""
    import torch

    learner = LIFExemplar(neurons=3, steps=60)
    current = torch.tensor([0.1, 0.7, 1.3])
    wanted = np.zeros(3)
    for j, i in enumerate(current.tolist()):
        for theta in (0.2, 0.6, 1.0):
            if i > theta:
                period = math.floor(math.log(1 - theta / i) / math.log(0.9)) + 1
                wanted[j] += (60 // period) / 60 / 3
    np.testing.assert_allclose(learner.rate(current).detach().numpy(), wanted, atol=1e-6)


@pytest.mark.data
def test_trials_of_people_give_the_published_means():
    trials = shj_trials(shared_data("shj", "nosof94tld.csv.gz"))
    assert (len(trials), int(trials.valid.sum())) == (240, 28_040)
    right = (trials.choices == trials.categories) | ~trials.valid  # behind the criterion nobody errs
    right = np.pad(right, ((0, 0), (0, 16 * 25 - right.shape[1])), constant_values=True)
    for kind, curve in trials.error_curves(right.astype(float)).items():
        np.testing.assert_allclose(curve[:16], shj_curves()[kind], atol=6e-4)
    for row in range(len(trials)):  # the categories are those of the type, up to a rotation of the cube
        code = (trials.stimuli[row] @ [4, 2, 1]).astype(int)[trials.valid[row]]
        asked = dict(zip(code.tolist(), trials.categories[row][trials.valid[row]].tolist(), strict=True))
        assert any(
            all(SHJ[trials.condition[row]][turned(c, axes, flips)] ^ swap == k for c, k in asked.items())
            for axes in itertools.permutations(range(3))
            for flips in range(8)
            for swap in (0, 1)
        ), trials.names[row]


def turned(code, axes, flips):
    bits = [(code >> (2 - a)) & 1 for a in axes]
    return (bits[0] << 2 | bits[1] << 1 | bits[2]) ^ flips


@pytest.mark.data
@pytest.mark.parametrize(
    ("learner", "values", "lapse", "published"),
    [(ALCOVE(), FITTED["alcove"], 0.0, 0.4993), (SUSTAIN(), {}, 0.05, 0.540)],
    ids=["ALCOVE", "SUSTAIN with 5 % lapses"],
)
def test_choices_of_people_are_as_likely_as_published(learner, values, lapse, published):
    trials = shj_trials(shared_data("shj", "nosof94tld.csv.gz"))
    p = (1 - lapse) * learner.probabilities(trials, values) + lapse / 2
    assert behaviour.pooled_nll(p, trials) == pytest.approx(published, abs=1e-3)


@pytest.mark.data
def test_choices_of_people_are_at_least_as_likely_under_spiking_exemplars():
    trials = shj_trials(shared_data("shj", "nosof94tld.csv.gz"))
    p = LIFExemplar().probabilities(trials, FITTED["spiking"])
    assert behaviour.pooled_nll(p, trials) == pytest.approx(0.4941, abs=1e-3)  # ALCOVE: 0.4993


def test_likelihood_is_scikit_learns():
    trials = shj("I", subjects=4, blocks=2, seed=0)
    draw = np.random.default_rng(0)
    choices = draw.integers(0, 2, trials.categories.shape)
    valid = np.arange(32) < np.array([32, 20, 5, 1])[:, None]
    with_choices = ns.tasks.Trials(trials.stimuli, trials.categories, np.where(valid, choices, -1), valid)
    p = ALCOVE().probabilities(with_choices)
    found = behaviour.choice_nll(p, with_choices)
    for i, n in enumerate((32, 20, 5, 1)):
        assert found[i] == pytest.approx(log_loss(choices[i, :n], p[i, :n], labels=[0, 1]), rel=1e-12)
    every = log_loss(choices[valid], p[valid], labels=[0, 1])
    assert behaviour.pooled_nll(p, with_choices) == pytest.approx(every, rel=1e-12)


def test_what_comes_later_changes_no_earlier_answer_and_subjects_do_not_meet():
    trials = shj("V", subjects=5, blocks=3, seed=2)
    half = ns.tasks.Trials(trials.stimuli[:, :20], trials.categories[:, :20])
    for learner in (ALCOVE(), SUSTAIN(), GCM(3), Prototype(3), LIFExemplar(neurons=2, steps=5)):
        whole = learner.probabilities(trials)
        np.testing.assert_array_equal(whole[:, :20], learner.probabilities(half))
        np.testing.assert_allclose(whole[2:4], learner.probabilities(trials.subjects([2, 3])), rtol=1e-12)
        np.testing.assert_allclose(whole.sum(-1), 1, rtol=1e-12)


def test_exemplars_fit_the_five_four_items_better_than_prototypes():
    """Medin & Schaffer 1978, experiment 3: probability of answering A for the sixteen items."""
    observed = np.array([.97, .97, .92, .81, .72, .33, .28, .03, .05, .72, .56, .98, .23, .27, .39, .09])  # fmt: skip
    trials, items = five_four(subjects=1, blocks=1), five_four_items()
    rmsd = {}
    for learner in (GCM(4), Prototype(4)):
        names = list(learner.parameters)

        def loss(point, learner=learner, names=names):
            values = {n: float(_from_unit(learner.parameters[n], u)) for n, u in zip(names, point, strict=True)}
            p = learner.transfer(trials, items, values)[0, :, 0]
            return float(np.sqrt(np.mean((p - observed) ** 2)))

        from scipy.optimize import minimize

        found = minimize(
            loss, np.full(len(names), 0.5), method="Nelder-Mead", options={"maxfev": 1500, "maxiter": 1500}
        )
        rmsd[type(learner).__name__] = found.fun
    assert rmsd["GCM"] < 0.045 < 0.06 < rmsd["Prototype"]


def test_a_fit_finds_choices_at_least_as_likely_as_the_truth():
    design = shj("II", subjects=6, blocks=6, seed=4)
    truth = {"specificity": 3.0, "response": 2.5, "attention_rate": 1.0, "association_rate": 0.15}
    p = ALCOVE().probabilities(design, truth)
    choices = (np.random.default_rng(0).random(p.shape[:2]) < p[..., 1]).astype(int)
    trials = ns.tasks.Trials(design.stimuli, design.categories, choices)
    at_truth = behaviour.choice_nll(p, trials)
    each = behaviour.fit_subjects(ALCOVE(), trials, candidates=8, generations=12, seed=0)
    assert (each.loss <= at_truth + 0.01).mean() >= 5 / 6
    again = behaviour.choice_nll(ALCOVE().probabilities(trials, each.values), trials)
    np.testing.assert_allclose(again, each.loss, rtol=1e-12)
    pooled = behaviour.fit_choices(ALCOVE(), trials, evaluations=80)
    assert pooled.loss <= behaviour.pooled_nll(p, trials) + 1e-3
    held = behaviour.cross_validated_nll(ALCOVE(), trials, candidates=6, generations=4)
    assert np.isfinite(held).all() and held.mean() > each.loss.mean()


def test_a_paired_difference_has_the_interval_of_the_normal_theory():
    draw = np.random.default_rng(1)
    a, b = draw.normal(0.5, 1, 400), draw.normal(0, 1, 400)
    found = behaviour.compare(a, b)
    half = 1.96 * np.std(a - b, ddof=1) / 20
    assert found.difference == pytest.approx(float((a - b).mean()))
    assert found.high - found.low == pytest.approx(2 * half, rel=0.05)


def test_gaussian_categories_are_as_hard_as_they_say():
    """The ideal observer is right with probability Φ(d′/2) under either rule."""
    from scipy.stats import norm

    for kind in ("rule", "integration"):
        made = gaussian_categories(kind, subjects=200, trials=400, separation=1.6, seed=0)
        x, y = made.stimuli, made.categories
        means = np.stack([x[y == k].reshape(-1, 2).mean(0) for k in (0, 1)])
        assert np.isfinite(means).all()
        best = [
            max(np.mean((xs @ d > 0) == ys), np.mean((xs @ d < 0) == ys))
            for xs, ys in zip(x, y, strict=True)
            for d in [xs[ys == 1].mean(0) - xs[ys == 0].mean(0)]
        ]
        assert np.mean(best) == pytest.approx(norm.cdf(0.8), abs=0.006)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: shj("VII"), "did you mean"),
        (lambda: ns.tasks.Trials(np.zeros((2, 3)), np.zeros((2, 3), int)), "subjects, trials, features"),
        (lambda: ns.tasks.Trials(np.zeros((2, 3, 1)), np.zeros((2, 3))), "whole numbers"),
        (lambda: ns.tasks.Trials(np.full((1, 1, 1), np.nan), np.zeros((1, 1), int)), "finite"),
        (lambda: ALCOVE("loud"), "choice rule"),
        (lambda: ALCOVE().probabilities(SIX.subjects([0]), {"specifity": 2.0}), "did you mean 'specificity'"),
        (lambda: ALCOVE().probabilities(SIX.subjects([0]), {"specificity": np.nan}), "finite"),
        (lambda: GCM(4).probabilities(SIX.subjects([0])), "4 features, got 3"),
        (lambda: behaviour.choice_nll(np.full((1, 256, 2), 0.5), SIX.subjects([0])), "choices"),
        (lambda: shj_trials("nowhere.csv"), "existing file"),
    ],
)  # fmt: skip
def test_wrong_inputs_are_refused_in_one_line(call, words):
    with pytest.raises(ns.NeurospinError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_a_learner_that_overflows_is_never_the_best_fit():
    trials = shj("II", subjects=2, blocks=1)
    choices = replace(trials, choices=trials.categories)
    told = np.full((2, 16, 2), 0.5)
    told[1] = np.nan
    np.testing.assert_allclose(behaviour.choice_nll(told, choices), [math.log(2), -math.log(1e-6)])
