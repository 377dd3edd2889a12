"""Streams: what they are made of, what they hide, and data sets from files."""

import gzip

import numpy as np
import pytest
import torch
from scipy.ndimage import rotate

import neurospin as ns
from neurospin.continual import blurred, learn, permuted, rotated, sequence, split
from neurospin.continual.learner import allowed
from neurospin.data import fashion_mnist, kmnist, mnist
from neurospin.plasticity import EWC, MESU, Naive, Replay
from tests.shared_data import shared_data


def network(classes=10):
    g = torch.Generator().manual_seed(0)
    return ns.Network(
        [ns.Dense(64, 24, weight=ns.Float(6.0), generator=g), ns.LIF(24, 8e-3), ns.Dense(24, classes, generator=g), ns.LI(classes, 8e-3)],
        dt=1e-3,
    )  # fmt: skip


@pytest.mark.parametrize("scenario", ["task", "domain", "class"])
def test_split_shares_out_every_sample_once(scenario):
    whole, stream = permuted("digits", 1, seed=3).tasks[0], split("digits", 5, scenario, seed=3)
    assert sum(len(task.train_y) for task in stream.tasks) == len(whole.train_y)
    assert stream.classes == (2 if scenario == "domain" else 10)
    for number, task in enumerate(stream.tasks):
        wanted = [0, 1] if scenario == "domain" else [2 * number, 2 * number + 1]
        assert task.train_y.unique().tolist() == task.test_y.unique().tolist() == wanted
        assert task.classes == (tuple(wanted) if scenario == "task" else None)
        assert float(task.train_x[task.train_y == wanted[1]].sum()) == float(
            whole.train_x[whole.train_y == 2 * number + 1].sum()
        )
    with pytest.raises(ns.InputError, match="a divisor of 10 classes"):
        split("digits", 3)


def test_a_scenario_that_hides_the_task_cannot_leak_it():
    told = []

    class Curious(Naive):
        needs_task_id = True
        needs_task_boundaries = True

        def begin_task(self, task: int) -> None:
            told.append(task)

    net = network()
    curious = Curious(torch.optim.SGD(net.parameters(), 0.1))
    for stream in (split("digits", 5, "class"), permuted("digits", 2)):
        with pytest.raises(ns.InputError, match="needs no task identity"):
            learn(net, stream, curious, encode=ns.encode.Rate(2))
    learn(net, split("digits", 2, "task"), curious, encode=ns.encode.Rate(1), epochs=1, batch_size=2000)
    assert told == [0, 1]
    ewc = EWC(torch.optim.SGD(net.parameters(), 0.1))
    with pytest.raises(ns.InputError, match="needs no task boundaries"):
        learn(net, blurred(permuted("digits", 2)), ewc, encode=ns.encode.Rate(2))
    hidden = split("digits", 2, "task").tasks
    with pytest.raises(ns.InputError, match="tasks that do not tell their classes"):
        ns.continual.Stream("split", "digits", "class", hidden, "")


def test_only_the_classes_of_the_task_are_decided_between():
    task = split("digits", 5, "task").tasks[1]
    output = torch.arange(10.0).flip(0).expand(3, 4, 10)
    assert ns.decide(allowed(output, task)).tolist() == [2] * 4
    assert torch.equal(allowed(output, permuted("digits", 1).tasks[0]), output)


def test_blurring_swaps_neighbours_and_loses_nothing():
    stream = permuted("digits", 3, seed=0)
    mixed = blurred(stream, 0.25, seed=1)
    rows = [{tuple(row) for row in task.train_x.tolist()} for task in stream.tasks]
    count = int(0.25 * len(stream.tasks[0].train_y))
    for number, task in enumerate(mixed.tasks):
        of = [sum(tuple(row) in known for row in task.train_x.tolist()) for known in rows]
        wanted = [count * (abs(number - other) == 1) for other in range(3)]
        wanted[number] = len(task.train_y) - sum(wanted)
        assert of == wanted
    assert torch.equal(mixed.tasks[0].test_x, stream.tasks[0].test_x) and not mixed.boundaries
    with pytest.raises(ns.InputError, match="hides its tasks"):
        blurred(split("digits", 5, "task"))


def test_rotation_is_that_of_scipy():
    stream = rotated("digits", 3, degrees=90)
    images = stream.tasks[0].test_x[:20].view(-1, 8, 8).numpy()
    for number, angle in ((1, 30), (2, 60)):
        # scipy turns the other way and pads outside; inside the circle both are linear interpolation
        wanted = np.stack([rotate(image, angle, reshape=False, order=1) for image in images])
        got = stream.tasks[number].test_x[:20].view(-1, 8, 8).numpy()
        np.testing.assert_allclose(got[:, 2:6, 2:6], wanted[:, 2:6, 2:6], atol=1e-5)
    assert torch.equal(stream.tasks[0].train_x, permuted("digits", 1).tasks[0].train_x)


@pytest.mark.parametrize(
    "make", [lambda p: Replay(torch.optim.Adam(p, 1e-2), 40), lambda p: MESU(p, sigma=0.2, samples=2, batch_size=50)]
)
def test_a_task_free_rule_learns_a_split_and_a_blurred_stream(make):
    for stream in (split("digits", 2, "task", seed=0), blurred(permuted("digits", 2), 0.2)):
        net = network()
        found = learn(net, stream, make(net.parameters()), encode=ns.encode.Rate(6, 1.0), epochs=5, batch_size=100)
        assert bool(np.isfinite(found.accuracy_matrix).all())
        assert found.learning_accuracy > 0.3  # chance is 0.2 and 0.1


def test_files_of_mnist_are_read_and_refused_in_one_line(tmp_path):
    images = np.arange(2 * 28 * 28, dtype=np.uint32).astype(np.uint8).reshape(2, 28, 28)
    for name, values in (("images-idx3", images), ("labels-idx1", np.array([7, 3], np.uint8))):
        head = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">u4").tobytes()
        for part in ("train", "t10k"):
            (tmp_path / f"{part}-{name}-ubyte.gz").write_bytes(gzip.compress(head + values.tobytes()))
    found = mnist(folder=tmp_path)
    np.testing.assert_allclose(found.test_x.numpy(), images.reshape(2, -1) / 255, rtol=1e-6)
    assert found.train_y.tolist() == [7, 3]
    place = tmp_path / "train-images-idx3-ubyte.gz"
    for damage, told in (
        (lambda b: gzip.compress(gzip.decompress(b)[:-1]), "bytes, got 1567"),
        (lambda b: b[:40], "gzip"),
        (lambda b: b"PK..", "IDX"),
    ):
        whole = place.read_bytes()
        place.write_bytes(damage(whole))
        with pytest.raises(ns.InputError, match=told):
            fashion_mnist(folder=tmp_path)
        place.write_bytes(whole)
    with pytest.raises(ns.MissingFile):
        kmnist(folder=tmp_path)


def test_the_real_sets_follow_each_other(monkeypatch):
    monkeypatch.setenv("NEUROSPIN_DATA", str(shared_data()))
    assert shared_data("mnist").is_dir() and shared_data("kmnist").is_dir()
    stream = sequence(["mnist", "kmnist"])
    assert [len(task.train_y) for task in stream.tasks] == [60_000, 8_000]
    assert stream.tasks[0].test_y.bincount().tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert stream.tasks[1].test_y.bincount().tolist() == [200] * 10
    with pytest.raises(ns.InputError, match="images of one size"):
        sequence(["digits", "kmnist"])
