"""Cognitive tasks against an observer that reads them, pictures against geometry, streams against the rules."""

import math
import warnings

import numpy as np
import pytest
import torch

import neurospin as ns
from neurospin.continual import Stream
from neurospin.errors import InputError, UnknownName
from neurospin.tasks import (
    MULTITASK,
    SHJ,
    category_stream,
    five_four,
    gaussian_categories,
    gratings,
    irrelevant_variability,
    multitask,
    objects,
    pictures,
    shj,
)

RING = 32


def seen(inputs, start, stop):
    """Direction and summed activity of both rings over some steps, from the inputs alone."""
    rings = inputs[start:stop, 1 : 1 + 2 * RING].mean(0).reshape(2, RING)
    angles = 2 * math.pi * torch.arange(RING) / RING
    return [float(torch.atan2((r * angles.sin()).sum(), (r * angles.cos()).sum())) for r in rings], rings.sum(
        1
    ).tolist()


def apart(a, b):
    return abs((a - b + math.pi) % (2 * math.pi) - math.pi)


def observed(episodes, b):
    """What an observer of the inputs alone would answer in trial b: a direction, or None."""
    x, name = episodes.inputs[:, b], MULTITASK[int(episodes.inputs[0, b, 1 + 2 * RING :].argmax())]
    first, second = episodes.events[b].tolist()
    weigh = {"1": [1.0, 0.0], "2": [0.0, 1.0]}.get(name[-1], [1.0, 1.0])
    if name.startswith("d") and name.endswith(("ms", "mc")):
        (here, how), (there, how2) = seen(x, *first), seen(x, *second)
        here, there = here[int(np.argmax(how))], there[int(np.argmax(how2))]
        if name.endswith("mc"):
            same = (here % (2 * math.pi) < math.pi) == (there % (2 * math.pi) < math.pi)
        else:
            same = apart(here, there) < 0.2
        return there if same != name.startswith("dn") else None
    if "delayed" in name and "dm" in name:
        told = [seen(x, *span) for span in (first, second)]
        sums = [np.dot(weigh, how) for _, how in told]
        return told[int(sums[1] > sums[0])][0][weigh.index(1.0)]
    if "dm" in name:
        rings = x[slice(*first), 1 : 1 + 2 * RING].mean(0).reshape(2, RING)
        return 2 * math.pi * peak(np.array(weigh) @ rings.numpy()) / RING
    where, how = seen(x, first[0], min(first[1], len(x)))
    return where[int(np.argmax(how))] + (math.pi if "anti" in name else 0.0)


def peak(ring):
    """Place of the larger of two bumps, by the best template."""
    places = np.linspace(0, RING, 8 * RING, endpoint=False)
    away = (places[:, None] - np.arange(RING) + RING / 2) % RING - RING / 2
    bumps = np.exp(-0.5 * (16 * away / RING) ** 2)
    return places[int((bumps @ ring).argmax())]


@pytest.mark.parametrize("name", MULTITASK)
def test_the_inputs_tell_the_answer_and_the_targets_give_it(name):
    found = multitask(name, 40, noise=0.0, seed=1)
    assert (found.task == MULTITASK.index(name)).all()
    assert found.correct(found.targets).all()
    assert float(found.loss(found.targets)) == 0
    for b in range(40):
        answer = observed(found, b)
        assert (answer is None) == bool(found.response[b].isnan())
        if answer is not None:
            assert apart(answer, float(found.response[b])) < 0.1
    wrong = found.targets.clone()
    wrong[..., 1:] = wrong[..., 1:].roll(RING // 2, dims=-1)
    moves = ~found.response.isnan()
    assert not found.correct(wrong)[moves].any()
    assert found.correct(wrong)[~moves].all()
    early = found.targets.clone()
    early[: int(found.go.min()) // 2, :, 0] = 0.1
    assert not found.correct(early).any()


def test_a_batch_of_all_tasks_is_timed_as_it_says():
    found = multitask(batch=400, seed=2)
    steps, batch, features = found.inputs.shape
    assert (batch, features) == (400, 1 + 2 * RING + 20) and set(found.task.tolist()) == set(range(20))
    assert steps == int(found.end.max()) and found.targets.shape == found.weights.shape == (steps, 400, 1 + RING)
    time = torch.arange(steps)[:, None]
    assert (found.weights[..., 1] > 0).eq((time < found.end) & ((time < found.go) | (time >= found.go + 5))).all()
    still = multitask(batch=400, noise=0.0, seed=2)
    noise = found.inputs - still.inputs
    assert (
        float(noise[..., : 1 + 2 * RING].std()) == pytest.approx(0.1, rel=0.01) and not noise[..., 1 + 2 * RING :].any()
    )
    assert torch.equal(multitask(batch=400, seed=2).inputs, found.inputs)
    matched = torch.tensor([MULTITASK[i].startswith("d") and MULTITASK[i].endswith(("ms", "mc")) for i in found.task])
    assert found.response.isnan().eq(found.response.isnan() & matched).all()
    assert 0.3 < float(found.response[matched].isnan().float().mean()) < 0.7


def test_a_recurrent_network_learns_opposite_tasks():
    names, settings = ("rt_go", "rt_anti"), {"dt": 50e-3, "ring": 16}
    draw = torch.Generator().manual_seed(0)
    net = ns.Network(
        {
            "w": ns.Dense(1 + 2 * 16 + 20, 64, bias=True, generator=draw),
            "r": ns.Recurrent(ns.Rate(64, 100e-3), ns.Dense(64, 64, generator=draw)),
            "out": ns.Dense(64, 1 + 16, bias=True, generator=draw),
        },
        dt=50e-3,
    )
    step = torch.optim.Adam(net.parameters(), lr=5e-3)
    test = multitask(names, 200, seed=10_000, **settings)
    before = float(test.correct(net(test.inputs).output).float().mean())
    for k in range(150):
        trials = multitask(names, 64, seed=k, **settings)
        step.zero_grad()
        trials.loss(net(trials.inputs).output).backward()
        step.step()
    after = float(test.correct(net(test.inputs).output).float().mean())
    assert before < 0.05 and after > 0.9


def test_objects_show_their_features():
    features = np.array([[f, s, b] for f in (0, 1) for s in (0, 1) for b in (0, 1)], float)
    drawn = objects(features, 32)[:, 0]
    assert drawn.shape == (8, 32, 32) and drawn.dtype == np.float32
    bright = drawn[:, 16, 16]
    np.testing.assert_allclose(bright, 0.4 + 0.6 * features[:, 2], atol=1e-3)
    area = (drawn / bright[:, None, None]).mean((1, 2))
    for row, (form, size, _) in enumerate(features):  # of |x|^p + |y|^p < r^p: 4 r² Γ(1 + 1/p)² / Γ(1 + 2/p)
        p, r = 1 + 7 * form, 0.22 + 0.18 * size
        assert area[row] == pytest.approx(4 * r * r * math.gamma(1 + 1 / p) ** 2 / math.gamma(1 + 2 / p), rel=0.06)
    striped = objects(np.array([1.0, 1.0, 1.0, 1.0]), 32)[0]
    assert striped.mean() == pytest.approx(objects(np.array([1.0, 1.0, 1.0, 0.0]), 32)[0].mean() / 2, rel=0.1)


@pytest.mark.parametrize(("cycles", "degrees"), [(3, 0), (5, 30), (6, 120)])
def test_gratings_have_their_frequency_and_orientation(cycles, degrees):
    side = 64
    drawn = gratings(np.array(cycles), np.radians(degrees), side, phase=0.3)[0]
    power = np.abs(np.fft.fft2(drawn - 0.5, s=(512, 512))) ** 2  # finer than one cycle
    row, column = np.unravel_index(power[:, :256].argmax(), (512, 256))
    fy, fx = (row if row < 256 else row - 512) * side / 512, column * side / 512
    assert math.hypot(fx, fy) == pytest.approx(cycles, rel=0.06)
    turned = (math.degrees(math.atan2(fy, fx)) - degrees + 90) % 180 - 90
    assert abs(turned) < 2.5


def test_all_category_stimuli_have_pictures():
    assert pictures(shj("VI", subjects=2, blocks=1)).shape == (2, 16, 1, 16, 16)
    assert pictures(five_four(subjects=2, blocks=1), 24).shape == (2, 9, 1, 24, 24)
    trials = gaussian_categories("integration", subjects=3, trials=20, seed=1)
    drawn = pictures(trials, seed=4)
    assert drawn.shape == (3, 20, 1, 16, 16) and drawn.min() >= 0 and drawn.max() <= 1
    assert (pictures(trials, seed=4) == drawn).all() and (pictures(trials, seed=5) != drawn).any()


def test_variability_of_what_does_not_matter_lets_learning_transfer():
    """As in people and deep networks (Manenti et al. 2023); a perceptron of scikit-learn learns from the pixels."""
    from sklearn.neural_network import MLPClassifier

    for seed in range(2):
        told = {}
        for variable in (False, True):
            here = irrelevant_variability(variable, samples=1500, seed=seed)
            assert here.trained.train_x.shape == (1500, 256) and here.new.test_x.shape == (500, 256)
            assert abs(float(here.trained.train_y.float().mean()) - 0.5) < 0.01
            net = MLPClassifier((64,), max_iter=30, random_state=0, learning_rate_init=3e-3)
            with warnings.catch_warnings(action="ignore"):  # it is not asked to converge
                net.fit(here.trained.train_x.numpy(), here.trained.train_y)
            told[variable] = [net.score(part.test_x.numpy(), part.test_y) for part in here]
        assert min(told[True][0], told[False][0]) > 0.95
        assert told[True][1] > 0.95 > 0.9 > told[False][1]


def test_a_stream_of_rules_shows_the_same_stimuli_under_other_names():
    stream = category_stream(("I", "VI", "I"), samples=64, tests=32, noise=0.0, seed=5)
    assert isinstance(stream, Stream) and (stream.classes, stream.inputs, len(stream)) == (2, 24 + 8, 3)
    first, second, again = stream.tasks
    assert torch.equal(first.train_x[:, :24], second.train_x[:, :24]) and torch.equal(first.train_x, again.train_x)
    assert torch.equal(first.train_y, again.train_y) and not torch.equal(first.train_x[:, 24:], second.train_x[:, 24:])
    kinds = first.train_x[:, [0, 8, 16]].round().numpy().astype(int)  # the high half of each feature
    for task, wanted in ((first, 1), (second, 3)):
        table = {tuple(k): int(y) for k, y in zip(kinds, task.train_y, strict=True)}
        assert len(table) == 8 and sum(table.values()) == 4
        changes = [
            any(table[k] != table[tuple(v ^ (i == f) for i, v in enumerate(k))] for k in table) for f in range(3)
        ]
        assert sum(changes) == wanted  # features on which the category depends
    plain = category_stream(("II",), samples=8, tests=8, cue=False, side=12, seed=1)
    assert plain.inputs == 144


def test_rules_of_a_stream_are_the_types_up_to_names():
    from neurospin.tasks.streams import rule_labels

    cube = np.array([[(i >> 2) & 1, (i >> 1) & 1, i & 1] for i in range(8)])
    for kind, labels in SHJ.items():
        for seed in range(8):
            drawn = rule_labels(kind, np.random.default_rng(seed))
            found = set()
            for order in ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)):
                moved = np.array([labels[int("".join(map(str, row[list(order)])), 2)] for row in cube])
                found |= {tuple(moved), tuple(1 - moved)}
            assert tuple(drawn) in found


def test_a_network_learns_a_stream_of_rules():
    stream = category_stream(("I", "II"), samples=128, tests=64, seed=0)
    net = ns.continual.Perceptron([stream.inputs, 64, 2], ns.Float(2.0), generator=torch.Generator().manual_seed(0))
    rule = ns.plasticity.Naive(torch.optim.Adam(net.parameters(), lr=3e-3))
    found = ns.continual.learn(net, stream, rule, encode=ns.encode.Direct(1), epochs=40, seed=0)
    assert found.learning_accuracy > 0.95 and found.accuracy_matrix[0, 1] < 0.8


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: multitask("dm3"), UnknownName),
        (lambda: multitask(batch=0), InputError),
        (lambda: multitask(dt=0.2), InputError),
        (lambda: objects(np.full((2, 3), 1.5)), InputError),
        (lambda: objects(np.zeros((2, 5))), InputError),
        (lambda: gratings(np.array(9.0), 0.0, 16), InputError),
        (lambda: irrelevant_variability(True, degrees=50), InputError),
        (lambda: category_stream(("VII",)), UnknownName),
        (lambda: category_stream(samples=100), InputError),
    ],
)
def test_what_cannot_be_is_refused(call, error):
    with pytest.raises(error, match=r"expected .*, got .*\. Fix: "):
        call()
