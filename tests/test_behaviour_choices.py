"""Psychometric functions and measures of errors against scipy, scikit-learn, planted truth and published numbers."""

import csv
from itertools import combinations

import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import cohen_kappa_score, confusion_matrix

from neurospin.errors import InputError, UnknownName
from neurospin.twins.behaviour import (
    Psychometric,
    confusion,
    error_consistency,
    fit_psychometric,
    i1,
    i2,
    pairwise,
)
from tests.shared_data import shared_data


@pytest.mark.parametrize(
    ("shape", "law"),
    [("weibull", stats.weibull_min(1.7, scale=0.4)), ("logistic", stats.logistic(0.4, 1 / 3)), ("normal", stats.norm(0.4, 1 / 3))],
)  # fmt: skip
def test_functions_are_those_of_scipy(shape, law):
    made = Psychometric(shape, 0.4, 1.7 if shape == "weibull" else 3.0, guess=0.25, lapse=0.05)
    x = np.linspace(0.01, 2, 30)
    np.testing.assert_allclose(made(x), 0.25 + 0.7 * law.cdf(x), rtol=1e-12)
    assert made.at(0.6) == pytest.approx(float(law.ppf(0.35 / 0.7)), rel=1e-12)


def test_a_logistic_fit_is_the_logistic_regression_of_scikit_learn():
    draw = np.random.default_rng(0)
    x = draw.uniform(-1, 1, 600)
    y = draw.random(600) < 1 / (1 + np.exp(-4 * (x - 0.2)))
    found = fit_psychometric(x, y, shape="logistic", guess=0.0)
    other = LogisticRegression(C=1e12, tol=1e-12, max_iter=1000).fit(x[:, None], y)
    assert found.slope == pytest.approx(other.coef_[0, 0], rel=1e-4)
    assert found.threshold == pytest.approx(-other.intercept_[0] / other.coef_[0, 0], abs=1e-5)


@pytest.mark.parametrize("shape", ["weibull", "normal"])
def test_fits_find_what_was_planted_within_the_scatter_of_data(shape):
    true = Psychometric(shape, 0.3, 2.0 if shape == "weibull" else 6.0, guess=0.5, lapse=0.04)
    levels, trials = np.array([0.02, 0.1, 0.2, 0.3, 0.45, 0.7, 1.2]), np.full(7, 400)
    draw = np.random.default_rng(1)
    found = [
        fit_psychometric(levels, draw.binomial(trials, true(levels)), trials, shape=shape, lapse=None)
        for _ in range(12)
    ]
    for name in ("threshold", "slope", "lapse"):
        values = np.array([getattr(one, name) for one in found])
        error = values.std(ddof=1) / np.sqrt(len(values))
        assert abs(values.mean() - getattr(true, name)) < 3.5 * error + 0.02 * getattr(true, name), name


def test_monkeys_see_random_dots_with_published_thresholds():
    """Weibull fits of another implementation to these 6149 trials: α, β, NLL per trial of both monkeys."""
    with shared_data("roitman", "roitman_rts.csv").open() as file:
        rows = [(row["monkey"], float(row["coh"]), float(row["correct"])) for row in csv.DictReader(file)]
    for monkey, expected in (("1", (0.0824, 1.44, 0.3675)), ("2", (0.0674, 1.20, 0.3442))):
        x, y = np.array([row[1:] for row in rows if row[0] == monkey]).T
        found = fit_psychometric(x, y)
        assert (round(found.threshold, 4), round(found.slope, 2)) == expected[:2]
        assert found.nll == pytest.approx(expected[2], abs=6e-5)


def test_confusion_is_that_of_scikit_learn():
    draw = np.random.default_rng(2)
    true, told = draw.integers(0, 5, 300), draw.integers(-1, 5, 300)
    answered = told >= 0
    np.testing.assert_array_equal(confusion(true, told), confusion_matrix(true[answered], told[answered]))


def accuracy_of(strength, bias, objects):
    """Proportion right of observers whose evidence has unit variance: Φ(strength of the image + bias of its object)."""
    share = stats.norm.cdf(strength[:, None] + bias[objects][:, None] - bias)
    share[np.arange(len(objects)), objects] = np.nan
    return share


def test_image_level_behaviour_is_its_definition():
    draw = np.random.default_rng(3)
    objects = np.repeat(np.arange(4), 5)
    accuracy = accuracy_of(draw.uniform(0, 2, 20), 0.3 * draw.standard_normal(4), objects)
    one, two = i1(accuracy, objects), i2(accuracy, objects)
    one_n, two_n = i1(accuracy, objects, normalised=True), i2(accuracy, objects, normalised=True)
    for i, mine in enumerate(objects):
        others = [k for k in range(4) if k != mine]
        alarms = [1 - accuracy[j, mine] for j in range(20) if objects[j] != mine]
        by_hand = stats.norm.ppf(np.mean([accuracy[i, k] for k in others])) - stats.norm.ppf(np.mean(alarms))
        assert one[i] == pytest.approx(by_hand, rel=1e-12)
        same = [j for j in range(20) if objects[j] == mine]
        assert one_n[i] == pytest.approx(one[i] - np.mean([one[j] for j in same]), abs=1e-12)
        for k in others:
            alarm = np.mean([1 - accuracy[j, mine] for j in range(20) if objects[j] == k])
            assert two[i, k] == pytest.approx(stats.norm.ppf(accuracy[i, k]) - stats.norm.ppf(alarm), rel=1e-12)
            assert two_n[i, k] == pytest.approx(two[i, k] - np.mean([two[j, k] for j in same]), abs=1e-12)
        assert np.isnan(two[i, mine])


def test_sensitivity_does_not_see_bias():
    """Equal images of two objects: whatever the bias b, hits Φ(s + b) and false alarms Φ(b − s) give d′ = 2 s."""
    objects = np.array([0, 0, 1, 1])
    for bias in (0.0, 0.6):
        accuracy = accuracy_of(np.full(4, 0.8), np.array([bias, 0.0]), objects)
        np.testing.assert_allclose(i1(accuracy, objects), 1.6, rtol=1e-12)
        np.testing.assert_allclose(i2(accuracy, objects)[[0, 2], [1, 0]], 1.6, rtol=1e-12)


def test_a_choice_among_all_becomes_choices_between_two():
    found = pairwise(np.array([[0.6, 0.3, 0.1], [0.0, 0.0, 1.0]]), np.array([0, 1]))
    np.testing.assert_allclose(found, [[np.nan, 2 / 3, 6 / 7], [0.5, np.nan, 0.0]])
    assert np.abs(i1(np.array([[np.nan, 1.0], [1.0, np.nan]]), np.array([0, 1]))).max() == 5.0


def test_error_consistency_is_the_kappa_of_scikit_learn_and_0_by_chance():
    draw = np.random.default_rng(4)
    for share in (0.3, 0.8):
        a, b = draw.random(200_000) < share, draw.random(200_000) < 0.7
        assert error_consistency(a[:500], b[:500]) == pytest.approx(cohen_kappa_score(a[:500], b[:500]), rel=1e-12)
        assert abs(error_consistency(a, b)) < 0.01
        assert error_consistency(a, a) == 1.0
    assert np.isnan(error_consistency(np.ones(4), np.ones(4)))


def test_people_err_on_the_same_conflicting_images_and_go_by_shape():
    """Geirhos et al.: mean consistency of ten people .331, shape bias .959."""
    right, shape, texture = {}, 0, 0
    for place in sorted(shared_data("cue_conflict").glob("*.csv")):
        with place.open() as file:
            for row in csv.DictReader(file):
                image = row["imagename"].split("_")[-1].removesuffix(".png")  # shape and texture: bird3-clock2
                texture_of = image.rpartition("-")[2].rstrip("0123456789")
                right.setdefault(row["subj"], {})[image] = row["object_response"] == row["category"]
                if texture_of != row["category"]:
                    shape += row["object_response"] == row["category"]
                    texture += row["object_response"] == texture_of
    assert len(right) == 10
    kappas = []
    for a, b in combinations(right.values(), 2):
        images = sorted(a.keys() & b.keys())
        kappas.append(error_consistency(np.array([a[i] for i in images]), np.array([b[i] for i in images])))
    assert np.mean(kappas) == pytest.approx(0.331, abs=5e-4)
    assert shape / (shape + texture) == pytest.approx(0.959, abs=5e-4)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: fit_psychometric(np.ones(3), np.ones(3)), InputError),
        (lambda: fit_psychometric(np.array([-1.0, 1.0]), np.array([0, 1])), InputError),
        (lambda: fit_psychometric(np.arange(3.0), np.array([0, 2, 1])), InputError),
        (lambda: fit_psychometric(np.arange(3.0), np.array([0, 1, 1]), shape="probit"), UnknownName),
        (lambda: Psychometric("weibull", 1.0, 1.0, guess=0.5).at(0.4), InputError),
        (lambda: confusion(np.array([0, 1]), np.array([0])), InputError),
        (lambda: confusion(np.array([0, 3]), np.array([0, 1]), classes=2), InputError),
        (lambda: i1(np.ones((2, 2)), np.array([0, 2])), InputError),
        (lambda: i2(np.full((2, 2), 1.5), np.array([0, 1])), InputError),
        (lambda: error_consistency(np.array([0.5, 1]), np.array([0, 1])), InputError),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(call, error):
    with pytest.raises(error, match=r"expected .*, got .*\. Fix: "):
        call()
