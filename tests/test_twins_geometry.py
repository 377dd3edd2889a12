"""Geometry against scipy, definitions written as loops, and planted truths; rsatoolbox where it can be imported."""

from itertools import combinations, product
from math import comb

import numpy as np
import pytest
from scipy.io import loadmat
from scipy.spatial import procrustes
from scipy.spatial.distance import pdist, squareform
from scipy.stats import spearmanr

from neurospin.errors import InputError, UnknownName
from neurospin.twins import geometry
from neurospin.twins.geometry import codes
from tests.shared_data import shared_data

DRAW = np.random.default_rng(0)
PATTERNS = DRAW.standard_normal((12, 30))
OTHER = PATTERNS @ DRAW.standard_normal((30, 9)) + DRAW.standard_normal((12, 9))


def test_dissimilarities_are_those_of_scipy():
    np.testing.assert_allclose(geometry.rdm(PATTERNS), 1 - np.corrcoef(PATTERNS)[np.triu_indices(12, 1)], atol=1e-14)
    expected = pdist(PATTERNS, "sqeuclidean") / 30
    np.testing.assert_allclose(geometry.rdm(PATTERNS, "euclidean"), expected, rtol=1e-14)


def test_crossnobis_is_its_definition_and_has_no_bias():
    draw = np.random.default_rng(1)
    x = draw.standard_normal((3, 4, 5))
    precision = np.linalg.inv(np.cov(draw.standard_normal((20, 5)), rowvar=False))
    expected = [
        np.mean([(x[m, i] - x[m, j]) @ precision @ (x[n, i] - x[n, j]) for m in range(3) for n in range(3) if m != n]) / 5
        for i, j in combinations(range(4), 2)
    ]  # fmt: skip
    np.testing.assert_allclose(geometry.crossnobis(x, precision), expected, rtol=1e-12)
    true = draw.standard_normal((6, 200))
    noisy = true + draw.standard_normal((20, 6, 200))
    np.testing.assert_allclose(geometry.crossnobis(noisy), geometry.rdm(true, "euclidean"), atol=0.2)
    assert geometry.rdm(noisy[0], "euclidean").mean() > geometry.rdm(true, "euclidean").mean() + 1.8
    assert abs(geometry.crossnobis(noisy - true).mean()) < 0.03


def test_comparisons_are_their_definitions():
    a, b = np.round(3 * geometry.rdm(PATTERNS)), np.round(3 * geometry.rdm(OTHER))  # many ties
    assert geometry.compare_rdms(a, b, "pearson") == pytest.approx(np.corrcoef(a, b)[0, 1])
    assert geometry.compare_rdms(a, b, "spearman") == pytest.approx(spearmanr(a, b).statistic)
    assert geometry.compare_rdms(a, b, "cosine") == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    signs = [np.sign(a[i] - a[j]) * np.sign(b[i] - b[j]) for i, j in combinations(range(len(a)), 2)]
    assert geometry.compare_rdms(a, b, "tau-a") == pytest.approx(np.mean(signs))
    draw = np.random.default_rng(0)
    broken = [spearmanr(*(np.lexsort((draw.random(66), x)).argsort() for x in (a, b))).statistic for _ in range(500)]
    assert geometry.compare_rdms(a, b, "rho-a") == pytest.approx(np.mean(broken), abs=4 * np.std(broken) / 500**0.5)


def test_noise_ceiling_holds_the_true_model_between_its_bounds():
    draw = np.random.default_rng(0)
    true = geometry.rdm(PATTERNS)
    subjects = true + 0.2 * draw.standard_normal((8, len(true)))
    for method in ("pearson", "spearman", "tau-a", "rho-a"):
        told = geometry.rsa(true, subjects, method, resamples=20)
        assert told.ceiling is not None
        assert told.ceiling[0] < told.mean < told.ceiling[1]
    assert geometry.noise_ceiling(np.tile(true, (3, 1)), "pearson") == pytest.approx((1.0, 1.0))


def test_bootstrap_interval_is_as_wide_as_new_data_scatter():
    draw = np.random.default_rng(0)
    scatter, told = [], []
    for k in range(40):
        x = draw.standard_normal((16, 10))
        model, data = geometry.rdm(x, "euclidean"), geometry.rdm(x + 1.5 * draw.standard_normal((16, 10)), "euclidean")
        found = geometry.rsa(model, data[None], "pearson", resamples=60, seed=k)
        scatter.append(found.mean)
        told.append((found.high - found.low) / 3.92)
    assert np.mean(told) == pytest.approx(np.std(scatter), rel=0.4)
    over = geometry.rsa(model, np.stack([model, data]), "pearson", over="subjects", resamples=500)
    assert over.high == pytest.approx(1.0) and over.low == pytest.approx(found.mean)


def test_alignment_is_the_cosine_of_centred_grams_and_procrustes_that_of_scipy():
    grams = []
    for x in (PATTERNS, OTHER):
        centring = np.eye(12) - 1 / 12
        grams.append((centring @ x @ x.T @ centring).ravel())
    expected = grams[0] @ grams[1] / np.linalg.norm(grams[0]) / np.linalg.norm(grams[1])
    assert geometry.linear_cka(PATTERNS, OTHER) == pytest.approx(expected, rel=1e-12)
    padded = np.pad(OTHER, ((0, 0), (0, 21)))
    assert geometry.procrustes(PATTERNS, OTHER) == pytest.approx(procrustes(PATTERNS, padded)[2], rel=1e-10)
    assert np.cos(geometry.angular_distance(PATTERNS, OTHER)) ** 2 == pytest.approx(
        1 - geometry.procrustes(PATTERNS, OTHER)
    )
    turned = 3 * PATTERNS @ np.linalg.qr(np.random.default_rng(1).standard_normal((30, 30)))[0] + 1
    assert geometry.linear_cka(PATTERNS, turned) == pytest.approx(1.0)
    assert geometry.procrustes(PATTERNS, turned) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(
    "spectrum",
    [np.ones(5), np.ones(20), np.ones(60), 1 / np.arange(1.0, 101), np.exp(-np.arange(60) / 10)],
    ids=["5 dimensions", "20 dimensions", "60 dimensions", "power law", "exponential"],
)
def test_participation_ratio_from_fifteen_samples(spectrum):
    draw = np.random.default_rng(1)
    truth = spectrum.sum() ** 2 / (spectrum**2).sum()
    drawn = draw.standard_normal((1000, 15, len(spectrum))) * np.sqrt(spectrum)
    assert np.mean([geometry.participation_ratio(x) for x in drawn]) == pytest.approx(truth, rel=0.05)
    plain = np.mean([geometry.participation_ratio(x, corrected=False) for x in drawn])
    eigenvalues = np.linalg.eigvalsh(np.cov(drawn[0], rowvar=False))
    assert geometry.participation_ratio(drawn[0], corrected=False) == pytest.approx(
        eigenvalues.sum() ** 2 / (eigenvalues**2).sum()
    )
    assert plain < 0.85 * truth


def test_participation_ratio_by_leaving_out_every_sample():
    def without_jackknife(x):
        covariance, n = np.cov(x, rowvar=False), len(x) - 1
        a, b = np.trace(covariance) ** 2, (covariance**2).sum()
        return ((1 + 1 / n) * a - 2 * b / n) / (b - a / n)

    for shape in ((9, 6), (9, 30)):
        x = np.random.default_rng(1).standard_normal(shape)
        fewer = [without_jackknife(np.delete(x, i, 0)) for i in range(9)]
        assert geometry.participation_ratio(x) == pytest.approx(9 * without_jackknife(x) - 8 * np.mean(fewer), rel=1e-9)


@pytest.mark.parametrize("axes", [1, 2, 5])
def test_dimension_of_a_signal_under_noise_is_that_without_noise(axes):
    """Planted means; single trials are mostly noise, which fills all 60 dimensions."""
    draw = np.random.default_rng(axes)
    means = draw.standard_normal((8, axes)) * np.arange(1, axes + 1) @ draw.standard_normal((axes, 60))
    centred = means - means.mean(0)
    power = np.linalg.svd(centred, compute_uv=False) ** 2
    true = power.sum() ** 2 / (power**2).sum()
    found = [geometry.signal_dimension(means[:, None] + 3 * draw.standard_normal((8, 20, 60))) for _ in range(60)]
    assert np.mean(found) == pytest.approx(true, rel=0.04)
    exact = geometry.signal_dimension(np.repeat(means[:, None], 2, axis=1))
    assert exact == pytest.approx(true, rel=1e-9)
    assert exact == pytest.approx(geometry.participation_ratio(means, corrected=False), rel=1e-9)


def test_measures_by_name_are_the_functions():
    trials = noisy(np.random.default_rng(5).standard_normal((8, 12)), trials=4, noise=0.5)
    labels, reference = np.repeat([-1, 1], 4), OTHER[:8]
    told = geometry.measures(labels=labels, reference=reference)
    assert tuple(told) == geometry.MEASURES
    means, flat = trials.mean(1), trials.reshape(-1, 12)
    expected = {
        "participation_ratio": geometry.participation_ratio(flat),
        "signal_dimension": geometry.signal_dimension(trials),
        "two_nn": geometry.two_nn(flat),
        "cvpca": geometry.cvpca(np.stack([trials[:, ::2].mean(1), trials[:, 1::2].mean(1)])).sum(),
        "class_dimension": geometry.class_dimension(trials).mean(),
        "class_radius": geometry.class_radius(trials).mean(),
        "capacity": geometry.capacity(trials),
        "separable_fraction": geometry.separable_fraction(means),
        "shattering_dimension": geometry.shattering_dimension(trials),
        "rdm": geometry.rdm(means, "euclidean").mean(),
        "crossnobis": geometry.crossnobis(trials.swapaxes(0, 1)).mean(),
        "ccgp": geometry.ccgp(trials, labels),
        "linear_cka": geometry.linear_cka(means, reference),
        "procrustes": geometry.procrustes(means, reference),
        "angular_distance": geometry.angular_distance(means, reference),
        "rsa": spearmanr(pdist(means), pdist(reference))[0],
    }
    assert expected.keys() == told.keys()
    for name, measure in told.items():
        assert measure(trials) == pytest.approx(expected[name], rel=1e-9), name
    with pytest.raises(InputError, match="labels"):
        geometry.measures("ccgp")
    with pytest.raises(InputError, match="reference"):
        geometry.measures("rsa")
    with pytest.raises(UnknownName, match="capacity"):
        geometry.measures("capacities")


def test_intrinsic_dimension_of_clouds_in_planes():
    draw = np.random.default_rng(0)
    for dimension in (2, 5, 10):
        x = draw.standard_normal((3000, dimension)) @ np.linalg.qr(draw.standard_normal((30, dimension)))[0].T
        assert geometry.two_nn(x) == pytest.approx(dimension, rel=0.06)


def test_cross_validated_spectrum_is_the_planted_power_law():
    draw = np.random.default_rng(0)
    spectrum = 1 / np.arange(1, 101.0)
    signal = draw.standard_normal((2000, 100)) * np.sqrt(spectrum)
    signal = signal @ np.linalg.qr(draw.standard_normal((100, 100)))[0]
    found = geometry.cvpca(signal + 0.3 * draw.standard_normal((2, 2000, 100)))
    exponent = np.polyfit(np.log(np.arange(1, 31)), np.log(found[:30]), 1)[0]
    assert exponent == pytest.approx(-1.0, abs=0.06)
    assert found.sum() == pytest.approx(spectrum.sum(), rel=0.03)
    assert abs(geometry.cvpca(draw.standard_normal((2, 500, 50))).sum()) < 1.5  # of 50 by plain PCA


def test_clouds_have_the_dimension_and_radius_that_they_were_given():
    draw = np.random.default_rng(0)
    centres = 5 * np.eye(12, 200)
    clouds = np.stack([
        centre + draw.standard_normal((40, 10)) @ np.linalg.qr(draw.standard_normal((200, 10)))[0].T for centre in centres
    ])  # fmt: skip
    assert geometry.class_dimension(clouds).mean() == pytest.approx(10.0, rel=0.05)
    assert geometry.class_radius(clouds).mean() == pytest.approx(np.sqrt(10 / 50), rel=0.05)
    few = geometry.class_radius(clouds[:, :4]).mean()
    assert few == pytest.approx(np.sqrt(10 / 50), rel=0.1)


def test_separability_follows_cover_and_capacity_is_two():
    draw = np.random.default_rng(0)
    for ratio in (1.5, 2.0, 2.5):
        points = int(ratio * 30)
        cover = 2.0 ** (1 - points) * sum(comb(points - 1, k) for k in range(30))
        assert geometry.separable_fraction(draw.standard_normal((points, 30))) == pytest.approx(cover, abs=0.1)
    single = geometry.capacity(draw.standard_normal((40, 1, 40)))
    assert single == pytest.approx(2.0, rel=0.1)
    line = draw.standard_normal((40, 1, 40)) + draw.standard_normal((40, 1, 40)) * np.array([-1, 1])[:, None]
    assert 1.0 < geometry.capacity(line) < 0.9 * single  # a segment lies between a point and two points
    assert not geometry.separable(np.array([[1.0, 0], [-1.0, 0]]), np.array([1, 1]))


CUBE = np.array(list(product([-1.0, 1.0], repeat=3)))
TYPES = {"I": "00001111", "II": "00111100", "IV": "00010111", "VI": "01101001"}


def noisy(code, trials=40, noise=0.05, seed=0):
    return code[:, None] + noise * np.random.default_rng(seed).standard_normal((len(code), trials, code.shape[1]))


def test_shattering_of_a_cube_and_of_a_code_in_general_position():
    draw = np.random.default_rng(0)
    # 3 dichotomies of one feature and 4 majorities can be read, 3 exclusive ors and the parity not at all, the
    # 24 others but for two conditions
    linear = noisy(CUBE @ np.linalg.qr(draw.standard_normal((20, 3)))[0].T)
    assert len(codes.dichotomies(8)) == 35
    assert geometry.shattering_dimension(linear) == pytest.approx((7 + 4 * 0.5 + 24 * 0.75) / 35, abs=0.03)
    assert geometry.shattering_dimension(noisy(draw.standard_normal((8, 40)))) > 0.99


def test_generalisation_across_conditions():
    side = {kind: 2 * np.array(list(map(int, labels))) - 1 for kind, labels in TYPES.items()}
    linear = noisy(CUBE)
    assert geometry.ccgp(linear, side["I"]) > 0.99
    for kind in ("I", "II"):  # conditions without anything in common
        told = [geometry.ccgp(noisy(np.eye(8, 30), noise=0.1, seed=k), side[kind]) for k in range(20)]
        assert np.mean(told) == pytest.approx(0.5, abs=0.05)
    assert geometry.ccgp(linear, side["VI"]) < 0.4


@pytest.mark.data
def test_inferior_temporal_cortex_of_monkeys_and_people():
    file = loadmat(shared_data("objects92") / "Kriegeskorte_Neuron2008_supplementalData.mat", simplify_cells=True)
    monkey, human = (m["RDM"] for m in file["RDMs_mIT_hIT_fig1"])
    assert geometry.compare_rdms(monkey, human, "pearson") == pytest.approx(0.4912, abs=0.0005)
    assert geometry.compare_rdms(monkey, human, "spearman") == pytest.approx(0.4389, abs=0.0005)
    assert geometry.compare_rdms(monkey, human, "tau-a") == pytest.approx(0.3040, abs=0.0005)
    brains = loadmat(shared_data("objects92") / "92_brainRDMs.mat")["RDMs"]
    first = np.stack([brains[0, i, 0]["RDM"][np.triu_indices(92, 1)] for i in range(4)])
    assert geometry.noise_ceiling(first, "pearson") == pytest.approx((0.252, 0.612), abs=0.001)


@pytest.mark.filterwarnings("ignore")
def test_rsatoolbox_says_the_same():
    rsatoolbox = pytest.importorskip("rsatoolbox", reason="rsatoolbox is not installed")
    draw = np.random.default_rng(1)
    data = [rsatoolbox.data.Dataset(x) for x in (PATTERNS, OTHER)]
    theirs = [rsatoolbox.rdm.calc_rdm(d, method="euclidean") for d in data]
    ours = [geometry.rdm(x, "euclidean") for x in (PATTERNS, OTHER)]
    np.testing.assert_allclose(ours[0], theirs[0].get_vectors()[0], rtol=1e-10)
    np.testing.assert_allclose(
        geometry.rdm(PATTERNS), rsatoolbox.rdm.calc_rdm(data[0], method="correlation").get_vectors()[0], rtol=1e-10
    )
    names = {"pearson": "corr", "spearman": "spearman", "tau-a": "tau-a", "rho-a": "rho-a", "cosine": "cosine"}
    for method, name in names.items():
        told = rsatoolbox.rdm.compare(*theirs, method=name)[0, 0]
        assert geometry.compare_rdms(*ours, method) == pytest.approx(told, rel=1e-9), method
    told = rsatoolbox.rdm.compare(*theirs, method="cosine_cov")[0, 0]
    assert geometry.linear_cka(PATTERNS, OTHER) == pytest.approx(told, rel=1e-9)
    repeats = draw.standard_normal((3, 6, 8))
    labels = {"condition": np.tile(np.arange(6), 3), "run": np.repeat(np.arange(3), 6)}
    data = rsatoolbox.data.Dataset(repeats.reshape(18, 8), obs_descriptors=labels)
    told = rsatoolbox.rdm.calc_rdm(data, method="crossnobis", descriptor="condition", cv_descriptor="run")
    np.testing.assert_allclose(geometry.crossnobis(repeats), told.get_vectors()[0], rtol=1e-9)
    subjects = np.abs(draw.standard_normal((5, 45)))
    for method in ("pearson", "spearman", "rho-a", "cosine"):
        told = rsatoolbox.inference.boot_noise_ceiling(rsatoolbox.rdm.RDMs(subjects), method=names[method])
        assert geometry.noise_ceiling(subjects, method) == pytest.approx(told, rel=1e-9), method


@pytest.mark.parametrize(
    "call",
    [
        lambda: geometry.rdm(PATTERNS, "other"),
        lambda: geometry.rdm(np.ones((3, 4))),
        lambda: geometry.rdm(PATTERNS[0]),
        lambda: geometry.crossnobis(PATTERNS),
        lambda: geometry.compare_rdms(np.arange(3), np.arange(4)),
        lambda: geometry.compare_rdms(np.arange(3), np.arange(3), "other"),
        lambda: geometry.compare_rdms(np.array([0, np.nan]), np.arange(2)),
        lambda: geometry.noise_ceiling(np.ones((1, 3))),
        lambda: geometry.rsa(geometry.rdm(PATTERNS), geometry.rdm(OTHER)[None], over="other"),
        lambda: geometry.linear_cka(PATTERNS, OTHER[:-1]),
        lambda: geometry.procrustes(PATTERNS, np.ones((12, 2))),
        lambda: geometry.participation_ratio(np.ones((5, 3))),
        lambda: geometry.two_nn(np.ones((5, 3))),
        lambda: geometry.cvpca(PATTERNS[None]),
        lambda: geometry.signal_dimension(PATTERNS),
        lambda: geometry.signal_dimension(np.ones((3, 1, 2))),
        lambda: geometry.class_radius(np.ones((3, 1, 2))),
        lambda: geometry.shattering_dimension(np.ones((3, 4, 2))),
        lambda: geometry.ccgp(noisy(CUBE), np.array([1, -1, -1, -1, -1, -1, -1, -1])),
    ],
)
def test_what_has_no_geometry_is_refused(call):
    with pytest.raises(InputError, match="expected"):
        call()


def test_squares_and_vectors_have_the_same_order():
    square = squareform(geometry.rdm(PATTERNS))
    np.testing.assert_array_equal(square[np.triu_indices(12, 1)], geometry.rdm(PATTERNS))
