import numpy as np
import pytest
import torch

import neurospin as ns
from neurospin.continual import learn, metrics, permuted
from neurospin.plasticity import Metaplastic

MATRIX = np.array([[0.9, 0.1, 0.2], [0.7, 0.8, 0.1], [0.6, 0.9, 0.7]])


def test_metrics_on_a_matrix_worked_out_by_hand():
    assert metrics.average_accuracy(MATRIX) == pytest.approx((0.6 + 0.9 + 0.7) / 3)
    assert metrics.backward_transfer(MATRIX) == pytest.approx(((0.6 - 0.9) + (0.9 - 0.8)) / 2)
    assert metrics.forgetting(MATRIX) == pytest.approx(((0.9 - 0.6) + (0.8 - 0.9)) / 2)
    assert metrics.learning_accuracy(MATRIX) == pytest.approx((0.9 + 0.8 + 0.7) / 3)
    assert metrics.backward_transfer(np.full((4, 4), 0.5)) == 0
    with pytest.raises(ns.InputError, match="one row and column per task"):
        metrics.average_accuracy(MATRIX[:2])


def test_the_stream_permutes_pixels_and_nothing_else():
    stream = permuted("digits", tasks=3, seed=1)
    first, second = stream.tasks[0], stream.tasks[1]
    assert (len(stream), stream.inputs, stream.classes, stream.scenario) == (3, 64, 10, "domain")
    assert len(first.train_y) + len(first.test_y) == 1797
    assert torch.equal(first.train_y, second.train_y) and not torch.equal(first.train_x, second.train_x)
    torch.testing.assert_close(first.train_x.sort(1).values, second.train_x.sort(1).values)
    assert not torch.equal(permuted("digits", 2, 0).tasks[1].train_x, permuted("digits", 2, 2).tasks[1].train_x)
    with pytest.raises(ns.UnknownName, match="did you mean 'digits'"):
        permuted("digit")


def run(m=0.0, start=0, network=None, matrix=None, tasks=2):
    stream = permuted("digits", tasks=tasks, seed=0)
    if network is None:
        g = torch.Generator().manual_seed(0)
        network = ns.Network(
            [
                ns.Dense(64, 32, weight=ns.Binary(gain=8), generator=g),
                ns.LIF(32, 8e-3, surrogate=ns.ArcTan(5)),
                ns.Dense(32, 10, weight=ns.Binary(gain=16), generator=g),
                ns.LI(10, 8e-3),
            ],
            dt=1e-3,
        )
    rule = Metaplastic(network.parameters(), lr=1e-2, m=m, eps=1e-3)
    saved = {}
    result = learn(
        network, stream, rule, encode=ns.encode.Rate(8, 1.0), epochs=2, batch_size=200, seed=5, start=start,
        matrix=matrix,
        on_task=lambda task, rows: saved.setdefault(task, ({k: v.clone() for k, v in network.state_dict().items()}, rows.copy())),
    )  # fmt: skip
    return network, result, saved


def test_one_seed_gives_the_same_result_twice_and_learns():
    (a, first, _), (b, second, _) = run(), run()
    np.testing.assert_array_equal(first.accuracy_matrix, second.accuracy_matrix)
    assert all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))
    assert first.learning_accuracy > 0.5  # chance is 0.1


def test_a_stopped_run_goes_on_as_if_it_had_not_stopped():
    whole, result, saved = run(m=20.0)
    state, rows = saved[0]
    fresh, _, _ = run(m=20.0, tasks=1)
    fresh.load_state_dict(state)
    resumed, again, _ = run(m=20.0, start=1, network=fresh, matrix=rows)
    np.testing.assert_array_equal(result.accuracy_matrix, again.accuracy_matrix)
    assert all(torch.equal(x, y) for x, y in zip(whole.parameters(), resumed.parameters(), strict=True))


def test_rate_code_and_decision():
    spikes = ns.encode.Rate(4000, 0.5)(torch.tensor([[0.0, 0.2, 1.0]]), torch.Generator().manual_seed(0))
    # four standard errors of a Bernoulli mean
    np.testing.assert_allclose(spikes.mean(0)[0], [0, 0.1, 0.5], atol=4 * np.sqrt(0.25 / 4000))
    assert ns.decide(torch.tensor([[[0.0, 1.0]], [[3.0, 0.0]]])).tolist() == [0]
    with pytest.raises(ns.InputError, match=r"\[0, 1\]"):
        ns.encode.Rate()(torch.tensor([2.0]))
