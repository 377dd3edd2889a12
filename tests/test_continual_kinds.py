"""Streams of every kind from an experiment file, and what a run says of them."""

import json
import math

import numpy as np
import pytest
import torch
from scipy import stats

import neurospin as ns
from neurospin.continual import Perceptron, drifting, drifting_twin, learn, permuted, split, subsets
from neurospin.continual.belief import belief
from neurospin.continual.tally import Tally
from neurospin.data import load
from neurospin.plasticity import BiMU, DeviceAware, Kalman, LevelLimited, Levels, Metaplastic, Naive
from neurospin.report.numbers import numbers
from neurospin.runs.config import parse
from neurospin.runs.experiment import citations
from neurospin.runs.train import build_code, build_stream
from neurospin.tasks import randman
from neurospin.theory import gaussian
from tests.shared_data import shared_data

DIGITS = ns.encode.Direct(1)


def perceptron(inputs=64, classes=10, hidden=32, weight=None, seed=0):
    return Perceptron([inputs, hidden, classes], weight, generator=torch.Generator().manual_seed(seed))


def test_subsets_share_out_the_samples_and_test_on_all():
    whole, stream = load("digits", 2), subsets("digits", 7, seed=2)
    rows = torch.cat([task.train_x for task in stream.tasks])
    assert len(rows) == 7 * (len(whole.train_y) // 7) and stream.scenario == "domain"
    assert {tuple(r) for r in rows.tolist()} <= {tuple(r) for r in whole.train_x.tolist()}
    assert rows.unique(dim=0).shape[0] >= len(rows) - 5  # the set itself has few equal images
    assert all(torch.equal(task.test_x, whole.test_x) for task in stream.tasks)


def test_a_drift_goes_from_task_to_task_at_a_constant_pace_and_tells_no_boundary():
    stream = split("digits", 5, "class", seed=0)
    mixed = drifting(stream, seed=1)
    size = min(len(task.train_y) for task in stream.tasks)
    labels = torch.cat([task.train_y for task in mixed.tasks]) // 2
    assert len(labels) == 4 * size and not mixed.boundaries and mixed.ordered
    place = np.arange(len(labels)) / size
    assert bool(((labels.numpy() == np.floor(place)) | (labels.numpy() == np.floor(place) + 1)).all())
    for number in range(4):  # the share of the next task grows linearly: its mean place is two thirds of the way
        here = (place >= number) & (place < number + 1)
        later = labels.numpy()[here] == number + 1
        fraction = place[here] - number
        assert float(later.mean()) == pytest.approx(0.5, abs=4 * 0.5 / math.sqrt(size))
        assert float(fraction[later].mean()) == pytest.approx(2 / 3, abs=4 * 0.24 / math.sqrt(later.sum()))
    assert [torch.equal(a.test_x, b.test_x) for a, b in zip(mixed.tasks, stream.tasks, strict=True)] == [True] * 5
    rule = Metaplastic([torch.nn.Parameter(torch.zeros(1))])
    with pytest.raises(ns.InputError, match="needs no task boundaries"):
        learn(perceptron(), mixed, rule, encode=DIGITS)


def test_ordered_samples_are_shown_in_their_order():
    stream, seen = drifting(permuted("digits", 2), seed=0), []

    class Watching(Perceptron):
        def forward(self, x):
            if self.training:
                seen.append(x.detach().clone())
            return super().forward(x)

    net = Watching([64, 10])
    net.train()
    learn(
        net, stream, Naive(torch.optim.SGD(net.parameters(), 0.1)), encode=DIGITS, epochs=1, batch_size=100, test="own"
    )
    first = [x for x in seen if len(x) <= 100]
    assert torch.equal(
        torch.cat(first[: len(stream.tasks[0].train_y) // 100]),
        stream.tasks[0].train_x[: 100 * (len(stream.tasks[0].train_y) // 100)],
    )


def test_the_optimum_of_the_drifting_twin_is_that_of_regression_on_many_samples():
    stream = drifting_twin(3, inputs=6, samples=20_000, signal=2.0, drift=0.3, seed=1)
    found = []
    for task, best in zip(stream.tasks, stream.optimum, strict=True):
        x, y = task.train_x.double().numpy(), task.train_y[:, 0].double().numpy()
        w, *_ = np.linalg.lstsq(x, y, rcond=None)
        found.append(w)
        said = task.test_x.double().numpy() @ w
        real = task.test_y[:, 0].double().numpy()
        share = 1 - ((said - real) ** 2).sum() / ((real - real.mean()) ** 2).sum()
        assert share == pytest.approx(best, abs=0.08)  # of 1000 test samples
        assert float(w @ w) / (float(w @ w) + 1) == pytest.approx(best, abs=0.02)
    assert np.linalg.norm(found[1] - found[0]) > 0.2
    assert drifting_twin(2, drift=0.0).optimum[0] == pytest.approx(drifting_twin(2, drift=0.0).optimum[1])


def test_a_filter_on_the_drifting_twin_comes_close_to_the_exact_one_and_plain_descent_does_not():
    stream = drifting_twin(12, inputs=8, samples=150, signal=2.0, drift=0.2, seed=0)
    window = 200.0
    prior = exact = gaussian.Posterior(np.zeros(8), np.eye(8) * 0.25)
    wanted = []
    for task in stream.tasks:
        for x, y in zip(task.train_x.double().numpy(), task.train_y[:, 0].double().numpy(), strict=True):
            exact = gaussian.update_windowed(exact, prior, x, float(y), 1.0, window)
        real, said = task.test_y[:, 0].double().numpy(), task.test_x.double().numpy() @ exact.mean
        wanted.append(1 - ((said - real) ** 2).sum() / ((real - real.mean()) ** 2).sum())

    def run(make):
        net = Perceptron([8, 1], generator=torch.Generator().manual_seed(0))
        return learn(net, stream, make(net.parameters()), encode=DIGITS, epochs=1, batch_size=1, test="own")

    ours = run(lambda p: Kalman(p, window=window, sigma=1.0, trust=math.inf))
    slow = run(lambda p: Naive(torch.optim.SGD(p, 1e-3)))
    diagonal = np.diag(ours.accuracy_matrix)[2:].mean()
    regret = float(np.mean(np.array(stream.optimum) - wanted))
    assert diagonal == pytest.approx(np.mean(wanted[2:]), abs=0.06)
    assert np.diag(slow.accuracy_matrix)[2:].mean() < diagonal - 0.1
    assert 0 < regret < 0.35


def test_random_manifolds_are_smooth_spike_once_and_can_be_told_apart():
    spikes, labels = randman(3, samples=150, inputs=20, steps=64, seed=1)
    assert spikes.shape == (450, 64, 20) and set(spikes.sum(1).ravel().tolist()) == {1}
    assert labels.tolist() == sorted(labels.tolist())
    again, _ = randman(3, samples=150, inputs=20, steps=64, seed=1)
    assert np.array_equal(spikes, again) and not np.array_equal(spikes, randman(3, samples=150, inputs=20, steps=64)[0])

    def dimension(spread):  # of the points around each point, by the variance that one direction has
        times = randman(1, samples=400, inputs=20, steps=4096, seed=2, **spread)[0].argmax(1) / 4096
        near = np.argsort(((times[:, None] - times[None]) ** 2).sum(-1), axis=1)[:, 1:9]
        parts = []
        for i in range(0, 400, 8):
            values = np.linalg.svd(times[near[i]] - times[near[i]].mean(0), compute_uv=False) ** 2
            parts.append(values[0] / values.sum())
        return float(np.mean(parts))

    assert dimension({"alpha": 3.0}) > 0.97  # a curve is a line from near
    assert dimension({"alpha": 3.0, "dimensions": 2}) < 0.9
    assert dimension({"alpha": 0.5}) < dimension({"alpha": 3.0})  # rough
    times = spikes.argmax(1)
    nearest = [np.argsort(((times - t) ** 2).sum(1))[1] for t in times]
    assert float((labels[nearest] == labels).mean()) > 0.95


def test_events_become_spikes_of_their_polarity_row_column_and_step(monkeypatch):
    monkeypatch.setenv("NEUROSPIN_DATA", str(shared_data("nmnist").parent))
    found = load("nmnist")
    assert found.train_x.shape == (1000, 32, 2 * 34 * 34) and found.train_x.dtype == torch.uint8
    assert found.test_y.bincount(minlength=10).sum() == 100
    with np.load(shared_data("nmnist", "nmnist_small_1000_100.npz")) as file:
        lo, hi = file["test_off"][7:9]
        x, y, p, t = (file[f"test_{n}"][lo:hi].astype(int) for n in "xypt")
    kept = t < 320_000
    wanted = {(a, b, c, d) for a, b, c, d in zip(t[kept] // 10_000, p[kept], y[kept], x[kept], strict=True)}
    at = found.test_x[7].reshape(32, 2, 34, 34).nonzero().tolist()
    assert {tuple(index) for index in at} == wanted and len(at) == len(wanted)


def test_category_tasks_are_those_of_the_types():
    for kind in ("I", "VI"):
        found = load(f"shj_{kind}", 3)
        assert found.train_x.shape == (256, 6) and found.test_x.shape == (8, 6)
        assert bool((found.test_x[:, 0::2] + found.test_x[:, 1::2] == 1).all())
        table = {tuple(x): y for x, y in zip(found.test_x.tolist(), found.test_y.tolist(), strict=True)}
        assert len(table) == 8 and all(
            table[tuple(x)] == y for x, y in zip(found.train_x.tolist(), found.train_y.tolist(), strict=True)
        )
        linear = max(abs(float((found.test_x[:, f] * 2 - 1) @ (found.test_y * 2.0 - 1))) for f in range(6))
        assert linear == (8 if kind == "I" else 0)  # one feature tells type I, none tells type VI
    rule = load("rule", 0)
    middle = rule.train_x.reshape(-1, 2, 9).argmax(-1) - 4
    assert rule.train_x.shape == (1000, 18) and max(
        abs(np.corrcoef(middle[:, f], rule.train_y)[0, 1]) for f in (0, 1)
    ) == pytest.approx(0.7, abs=0.1)  # of two unit Gaussians two apart, told by one feature


STREAMS = {
    "permuted": {},
    "rotated": {"kind": "rotated"},
    "split": {"kind": "split", "scenario": "class"},
    "subsets": {"kind": "subsets", "tasks": 2},
    "blurred": {"ends": "blurred", "blur": 0.3},
    "drifting": {"ends": "drifting"},
    "categories": {"kind": "sequence", "datasets": ["shj_I", "shj_IV", "shj_VI"], "tasks": 3},
    "gaussian categories": {"kind": "sequence", "datasets": ["rule", "integration"], "tasks": 2},
    "random manifolds": {"kind": "split", "scenario": "class", "dataset": "randman"},
    "linear": {"kind": "linear", "tasks": 3},
}


def experiment(stream, **others):
    kind = (
        "direct"
        if stream.get("kind") == "linear"
        else "recorded"
        if stream.get("dataset") in ("randman", "nmnist")
        else "rate"
    )
    return parse(
        {
            "name": "small", "stream": {"tasks": 2, **stream}, "encode": {"kind": kind, "steps": 2}, "targets": [],
            "network": {"hidden": [6], "weight": "float", "gain": [2.0, 2.0]},
            "training": {"epochs": 1, "batch_size": 400},
            "learners": {"one": {"title": "One", "rule": "kalman"}}, **others,
        },
        "here",
    )  # fmt: skip


@pytest.mark.parametrize("name", STREAMS)
def test_every_stream_is_reached_from_an_experiment_file(name):
    config = experiment({"tasks": 5, **STREAMS[name]} if "split" in STREAMS[name].values() else STREAMS[name])
    stream, code = build_stream(config), build_code(config)
    assert len(stream) == config.stream.tasks
    shown = code(stream.tasks[-1].train_x[:3], torch.Generator().manual_seed(0))
    assert shown.shape[1:] == (3, stream.inputs) and shown.dtype == torch.float32
    assert stream.boundaries == (name not in ("blurred", "drifting", "linear"))
    assert all(citations(config))


@pytest.mark.parametrize(
    ("stream", "others", "told"),
    [
        ({"ends": "drifting", "scenario": "task"}, {}, "ends: sharp where tasks are told"),
        ({"dataset": "randman"}, {"encode": {"kind": "rate"}}, "encode.kind: recorded with nmnist and randman"),
        ({"dataset": "digits"}, {"encode": {"kind": "recorded"}}, "encode.kind: recorded with nmnist and randman"),
        ({"kind": "linear"}, {"encode": {"kind": "rate"}}, "encode.kind: direct in a linear stream"),
    ],
)
def test_what_does_not_fit_together_is_refused(stream, others, told):
    with pytest.raises(ns.ConfigError, match=told):
        experiment(stream, **others)


def test_sign_changes_and_writes_are_counted_and_a_gap_is_seen():
    stream = permuted("digits", 2)
    net = Perceptron(
        [64, 64, 10],
        ns.Binary(1.0),
        activation="sign",
        normalisation="batch",
        generator=torch.Generator().manual_seed(0),
    )
    rule = LevelLimited(Metaplastic(net.parameters(), lr=0.01, m=0.0), Levels(257, 2.0))
    before = {name: v.clone() for name, v in net.hidden_state().items()}
    flips, seen = {name: torch.zeros_like(v) for name, v in before.items()}, []

    def count(moment):
        for name, v in net.hidden_state().items():
            flips[name] += (v >= 0) != (before[name] >= 0)
            before[name] = v.clone()

    original = Tally.close_gap

    def watch(self):
        seen.append((self.before, self.lowest))
        original(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tally, "close_gap", watch)
        found = learn(net, stream, rule, encode=DIGITS, epochs=6, batch_size=100, gap=100, on_batch=count)
    tally = found.tally
    assert all(torch.equal(tally.flips[name].float(), flips[name]) for name in flips)
    assert tally.samples == 2 * 6 * len(stream.tasks[0].train_y)
    assert 0 < tally.flips_per_synapse < tally.most_flips
    (start, low) = next(pair for pair in seen if np.isfinite(pair[0]))
    assert tally.gaps == [max(0.0, start - low)] and low < start  # a new order of pixels hurts at once
    assert all(rule.writes(p) is not None and float(rule.writes(p).max()) > 0 for p in net.parameters())
    fresh = Tally(**tally.state_dict())
    assert fresh.stability_gap == tally.stability_gap and len(tally.untrained) == 2


def test_belief_is_calibration_of_the_mean_prediction_and_tells_other_images(monkeypatch):
    monkeypatch.setenv("NEUROSPIN_DATA", str(shared_data()))
    stream = permuted("digits", 2)
    net = perceptron(hidden=64, weight=ns.Binary(4.0))
    rule = BiMU(net.parameters(), lr=4.0, window=300, batch_size=1)
    learn(net, stream, rule, encode=DIGITS, epochs=2, batch_size=50, test="own")
    foreign = load("digits")._replace(test_x=torch.rand(300, 64))
    found = belief(net, rule, stream, DIGITS, foreign)
    assert set(found) == {
        "negative_log_likelihood", "brier_score", "expected_calibration_error", "detection_auc_total",
        "detection_auc_aleatoric", "detection_auc_epistemic",
    }  # fmt: skip
    assert found["detection_auc_epistemic"] > 0.5 and 0 < found["negative_log_likelihood"] < 5
    plain = Naive(torch.optim.SGD(net.parameters(), 0.1))
    alone = belief(net, plain, stream, DIGITS)
    with torch.no_grad():
        said = torch.cat([net(task.test_x) for task in stream.tasks]).log_softmax(-1)
    y = torch.cat([task.test_y for task in stream.tasks])
    assert alone["negative_log_likelihood"] == pytest.approx(float(-said[torch.arange(len(y)), y].mean()), rel=1e-5)


def test_the_device_aware_rule_moves_by_the_variance_on_average():
    """Mean move of every level: −V (lr g + λ/N), within four standard errors; plain torch and the kernel alike."""
    for dtype in (torch.float32, torch.float64):
        for gradient in (0.03, -0.4):
            p = torch.nn.Parameter((2 * torch.arange(8.0).repeat(20_000) + 1) / 8 - 1)
            p = torch.nn.Parameter(p.detach().to(dtype))
            rule = DeviceAware([p], lr=0.5, window=40, levels=8)
            start = p.detach().clone()
            p.grad = torch.full_like(p, gradient)
            rule.step()
            moved = (p.detach() - start).double().reshape(-1, 8)
            mean = start[:8].double()
            wanted = -(1 - mean**2) * (0.5 * gradient + mean.atanh() / 40)
            inside = (mean + wanted).abs() < 1 - 1 / 8
            error = moved.std(0) / math.sqrt(20_000)
            assert bool(((moved.mean(0) - wanted).abs() < 4.5 * error + 1e-9)[inside].all())
            assert int(inside.sum()) >= 7
            assert torch.equal(rule.writes(p), (p.detach() != start).to(dtype))
    assert rule.state_bits_per_synapse == 3


def test_noise_alone_leaves_the_device_aware_rule_where_theory_says():
    """Detailed balance: shares as 1/V; damping on one side only piles synapses up at the bounds."""
    from neurospin.theory.devices import noise_alone

    count, levels = 20_000, 8
    p = torch.nn.Parameter(torch.zeros(count))
    rule = DeviceAware([p], lr=1.0, levels=levels)
    g = torch.Generator().manual_seed(0)
    for _ in range(400):
        p.grad = 0.2 * (torch.randint(0, 2, (count,), generator=g).float() * 2 - 1)
        rule.step()
    mean = (2 * np.arange(4) + 1) / 8
    variance = 1 - mean**2
    wanted = noise_alone(variance, variance)
    np.testing.assert_allclose(wanted, (1 / variance) / (1 / variance).sum(), rtol=1e-12)
    seen = np.bincount(((p.detach().abs().numpy() * levels - 1) / 2).round().astype(int), minlength=4)
    assert stats.chisquare(seen, count * wanted).pvalue > 1e-3
    published = noise_alone(np.ones(4), 1 / np.cosh(2 * np.arctanh(mean)) ** 2)
    chance = noise_alone(np.exp(-4 * mean), np.exp(-4 * mean))
    assert published[-1] > 0.95 and max(chance[-1], wanted[-1]) < 0.7


def test_every_number_that_was_measured_is_told():
    learner = {
        "average_accuracy": 0.5,
        "stability_gap": None,
        "flips_per_synapse": 1.25,
        "neurobench": {"SynapticOperations": {"Effective_ACs": 3.0}},
    }
    rows = dict(numbers([learner, {"average_accuracy": 0.25, "stability_gap": 0.1}]))
    assert rows["accuracy, all tasks (%)"] == ["50.0", "25.0"] and rows["stability gap (points)"] == ["–", "10.0"]
    assert rows["SynapticOperations, Effective_ACs"] == ["3", "–"] and "regret" not in " ".join(rows)
    assert json.dumps(rows)
