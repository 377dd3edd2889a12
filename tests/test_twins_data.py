"""TwinData: what goes in comes out, splits do not leak, and what does not fit is refused in one line."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from neurospin.errors import InputError, MissingDependency, MissingFile
from neurospin.twins import Counts, Signal, Spikes, TwinData, ceilings, from_nwb, to_nwb
from tests.shared_data import shared_data


def recording(trials=24, stimuli=6, units=4, seed=0, **more):
    """Two sessions in turn, each with half of the units; every stimulus four times."""
    draw = np.random.default_rng(seed)
    number = 600
    session = np.array(["a", "b"])
    trial, unit = draw.integers(0, trials, number), draw.integers(0, units // 2, number) * 2
    table = {
        "stimulus": np.repeat(np.arange(stimuli), trials // stimuli),
        "session": session[np.arange(trials) % 2],
        "block": np.arange(trials) // 4,
        "choice": draw.integers(0, 2, trials),
        "rt": draw.random(trials),
        "correct": draw.random(trials) < 0.5,
    }
    spikes = Spikes(draw.random(number) * 0.5, unit + trial % 2, trial, 0.5)
    parts = {
        "responses": spikes,
        "units": {"session": session[np.arange(units) % 2], "depth": np.arange(units) * 0.1},
        "covariates": {"pupil": draw.random((trials, 5, 2))},
        "meta": {"species": "cat", "rates": [1, 2.5], "note": None},
    }
    return TwinData(table, draw.random((stimuli, 1, 8, 8)).astype(np.float32), **{**parts, **more})


def same(a, b, *, times=0.0):
    assert set(a.trials) == set(b.trials) and set(a.units) == set(b.units) and set(a.covariates) == set(b.covariates)
    for part in ("trials", "units", "covariates"):
        for name, column in getattr(a, part).items():
            np.testing.assert_array_equal(column, getattr(b, part)[name], err_msg=name)
            assert column.dtype.kind == getattr(b, part)[name].dtype.kind
    np.testing.assert_array_equal(a.stimuli, b.stimuli)
    assert dict(a.meta) == dict(b.meta) and type(a.responses) is type(b.responses)
    if isinstance(a.responses, Spikes):
        keys = [np.lexsort((r.time, r.unit, r.trial)) for r in (a.responses, b.responses)]
        for name in ("trial", "unit", "time"):
            x, y = (getattr(r, name)[k] for r, k in zip((a.responses, b.responses), keys, strict=True))
            np.testing.assert_allclose(x, y, rtol=0, atol=times if name == "time" else 0)
        assert a.responses.duration == b.responses.duration
    elif a.responses is not None:
        np.testing.assert_array_equal(a.responses.values, b.responses.values)
        assert a.responses.dt == b.responses.dt


def variants():
    data = recording()
    draw = np.random.default_rng(1)
    return {
        "spikes": data,
        "counts": replace(data, responses=Counts(draw.integers(0, 5, (24, 10, 4)).astype(np.uint16), 0.05)),
        "signal": replace(data, responses=Signal(draw.standard_normal((24, 7, 4)).astype(np.float32), 2.0)),
        "behaviour": TwinData({"stimulus": np.arange(3), "choice": np.array([1, 0, 1])}, np.eye(3)),
    }


@pytest.mark.parametrize("kind", list(variants()))
def test_a_file_brings_everything_back(kind, tmp_path):
    data = variants()[kind]
    data.save(tmp_path / "x.npz")
    same(data, TwinData.load(tmp_path / "x.npz"))
    assert [p.name for p in tmp_path.iterdir()] == ["x.npz"]
    with np.load(tmp_path / "x.npz", allow_pickle=False) as file:
        assert all(file[name].dtype.kind != "O" for name in file.files)


def test_counts_are_a_histogram_and_units_of_other_sessions_are_missing():
    data = recording()
    assert isinstance(data.responses, Spikes)
    found = data.counts(0.1, (0.1, 0.4))
    assert found.shape == (24, 3, 4)
    for trial, unit in ((0, 0), (0, 2), (5, 1), (5, 3)):
        mine = (data.responses.trial == trial) & (data.responses.unit == unit)
        expected = np.histogram(data.responses.time[mine], [0.1, 0.2, 0.3, 0.4])[0]
        np.testing.assert_array_equal(found[trial, :, unit], expected)
    assert np.isnan(found[0::2, :, 1::2]).all() and np.isnan(found[1::2, :, 0::2]).all()
    assert np.nansum(data.counts(0.5)) == 600
    edge = Spikes(np.array([0.0, 0.1, 0.3, 0.5]), np.zeros(4, int), np.zeros(4, int), 0.5)
    assert edge.binned(0.1, None, 1, 1)[0, :, 0].tolist() == [1, 1, 0, 1, 0]


def test_wider_bins_of_counts_add_and_of_signals_average():
    data = variants()
    np.testing.assert_allclose(np.nansum(data["counts"].counts(0.25)), np.nansum(data["counts"].counts()))
    assert data["counts"].counts(0.1, (0.1, 0.3)).shape == (24, 2, 4)
    signal = replace(data["signal"], trials={"stimulus": data["signal"].trials["stimulus"]})
    np.testing.assert_allclose(signal.counts(14.0)[:, 0], signal.responses.values.mean(1), rtol=1e-6)


def test_splits_share_no_stimulus_session_or_block_and_are_reproducible():
    data = recording()
    for by in ("stimulus", "block"):
        split = data.split(by, test=0.3, val=0.2)
        keys = split.trials["stimulus"] if by == "stimulus" else np.array([
            f"{s}{b}" for s, b in zip(split.trials["session"], split.trials["block"], strict=True)
        ])  # fmt: skip
        groups = [set(keys[split.trials["tier"] == tier]) for tier in ("train", "val", "test")]
        assert all(groups) and sum(map(len, groups)) == len(set(keys))
        assert len(split.tier("train")) + len(split.tier("val")) + len(split.tier("test")) == 24
    assert set(data.split("session", test=0.5, val=0).tier("test").trials["session"]) in ({"a"}, {"b"})
    trial = data.split("trial", test=0.25, val=0.25)
    for tier in ("val", "test"):
        assert sorted(trial.tier(tier).trials["stimulus"].tolist()) == [0, 1, 2, 3, 4, 5]
    again = data.split("trial", test=0.25, val=0.25)
    np.testing.assert_array_equal(trial.trials["tier"], again.trials["tier"])
    other = data.split("trial", test=0.25, val=0.25, seed=1)
    assert (trial.trials["tier"] != other.trials["tier"]).any()
    assert any("another tier" in line for line in trial.validate())
    assert data.split("stimulus", test=0.3).validate() == []


def test_a_selection_takes_its_spikes_along():
    data = recording()
    order = np.array([7, 3, 3, 20])
    taken = data.select(order)
    np.testing.assert_array_equal(taken.counts(0.1), data.counts(0.1)[order])
    np.testing.assert_array_equal(taken.covariates["pupil"], data.covariates["pupil"][order])
    np.testing.assert_array_equal(taken.trials["rt"], data.trials["rt"][order])
    empty = replace(data, responses=Spikes(np.zeros(0), np.zeros(0, int), np.zeros(0, int), 0.5))
    assert np.nansum(empty.select(order).counts(0.1)) == 0


def test_repeats_are_stacked_by_stimulus_and_give_the_ceiling():
    draw = np.random.default_rng(2)
    rates = draw.gamma(2.0, 2.0, (50, 3))
    shown = draw.permutation(np.repeat(np.arange(50), 8))[:390]
    counts = Counts(draw.poisson(rates[shown])[:, None].astype(np.uint16), 0.5)
    data = TwinData({"stimulus": shown}, np.eye(50), counts)
    repeated, stimulus = data.repeated()
    assert repeated.shape == (8, 50, 3) and stimulus.tolist() == list(range(50))
    for s in (0, 17, 49):
        held = repeated[:, s, 1]
        assert sorted(held[np.isfinite(held)]) == sorted(counts.values[shown == s, 0, 1])
    assert np.isnan(repeated).sum() == 10 * 3
    np.testing.assert_allclose(data.ceiling().cc_max, ceilings.cc_max(repeated))
    assert data.ceiling().reliable().all()


def test_tensors_have_time_first():
    told = recording().to_torch(0.1)
    assert told.responses is not None and told.responses.shape == (5, 24, 4) and told.stimuli.shape == (24, 1, 8, 8)
    assert told.covariates["pupil"].shape == (5, 24, 2) and told.responses.dtype == torch.float32
    assert variants()["behaviour"].to_torch().responses is None


def test_tables_of_a_laboratory(tmp_path):
    data = recording()
    assert isinstance(data.responses, Spikes)
    lines = [",".join(data.trials)]
    lines += [",".join(str(v) for v in row) for row in zip(*data.trials.values(), strict=True)]
    (tmp_path / "trials.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "units.csv").write_text("session,depth\na,0.0\nb,0.1\na,\nb,0.3\n")
    np.save(tmp_path / "stimuli.npy", data.stimuli)
    np.savez(tmp_path / "spikes.npz", **vars(data.responses))
    np.savez(tmp_path / "covariates.npz", **data.covariates)
    read = TwinData.from_tables(
        tmp_path / "trials.csv", tmp_path / "stimuli.npy", tmp_path / "spikes.npz", units=tmp_path / "units.csv",
        covariates=tmp_path / "covariates.npz", meta=data.meta,
    )  # fmt: skip
    np.testing.assert_array_equal(read.counts(0.1), data.counts(0.1))
    np.testing.assert_array_equal(read.trials["rt"], data.trials["rt"])
    assert np.isnan(read.units["depth"][2]) and read.trials["session"].dtype.kind == "U"
    np.savez(tmp_path / "counts.npz", counts=np.ones((24, 3, 4)), dt=0.1)
    np.savez(tmp_path / "signal.npz", signal=np.ones((24, 3, 4)), dt=0.1)
    for name, kind in (("counts", Counts), ("signal", Signal)):
        read = TwinData.from_tables(tmp_path / "trials.csv", tmp_path / "stimuli.npy", tmp_path / f"{name}.npz")
        assert isinstance(read.responses, kind)
    (tmp_path / "bad.csv").write_text("stimulus,rt\n0,1\n1\n")
    np.savez(tmp_path / "bad.npz", x=np.ones(3))
    np.save(tmp_path / "bad.npy", np.array([{}]), allow_pickle=True)
    good = ["trials.csv", "stimuli.npy", "spikes.npz"]
    for i, name in ((0, "bad.csv"), (0, "bad.npz"), (1, "bad.npz"), (1, "bad.npy"), (1, "bad.csv"), (2, "bad.npz"),
                    (2, "stimuli.npy")):  # fmt: skip
        files = [tmp_path / (name if k == i else g) for k, g in enumerate(good)]
        with pytest.raises(InputError, match=name):
            TwinData.from_tables(*files)
    with pytest.raises(MissingFile):
        TwinData.from_tables(tmp_path / "none.csv", tmp_path / "stimuli.npy")


@pytest.mark.parametrize(
    "change",
    [
        {"trials": {"choice": np.arange(3)}},
        {"trials": {"stimulus": np.array([0.0, 1.0])}},
        {"trials": {"stimulus": np.array([0, 6])}},
        {"trials": {"stimulus": np.array([0, 1]), "rt": np.ones(3)}},
        {"trials": {"stimulus": np.array([0, 1]), "x": np.array([{}, {}])}},
        {"trials": {"stimulus": np.array([0, 1]), "tier": np.array(["train", "exam"])}},
        {"responses": Counts(np.ones((23, 2, 4)), 0.1)},
        {"responses": Counts(np.ones((24, 2, 3)), 0.1)},
        {"responses": Counts(-np.ones((24, 2, 4)), 0.1)},
        {"responses": Signal(np.full((24, 2, 4), np.inf), 0.1)},
        {"responses": Signal(np.ones((24, 2, 4)), 0.0)},
        {"responses": Spikes(np.ones(2), np.array([0, 4]), np.zeros(2, int), 0.5)},
        {"responses": Spikes(np.ones(2), np.zeros(2, int), np.array([0, 24]), 0.5)},
        {"responses": Spikes(np.ones(2), np.zeros(3, int), np.zeros(2, int), 0.5)},
        {"responses": Spikes(np.array([np.nan]), np.zeros(1, int), np.zeros(1, int), 0.5)},
        {"covariates": {"pupil": np.ones((3, 2))}},
        {"meta": {"x": np.ones(3)}},
    ],
)
def test_what_does_not_fit_is_refused(change):
    with pytest.raises(InputError, match=r"expected .*, got .*\. Fix: "):
        replace(recording(), **change)


@pytest.mark.parametrize(
    "call",
    [
        lambda d: d.split("animal"),
        lambda d: d.split(test=0.9, val=0.2),
        lambda d: d.split("session"),
        lambda d: d.tier("test"),
        lambda d: d.split().tier("exam"),
        lambda d: d.counts(),
        lambda d: d.counts(0.3),
        lambda d: d.counts(0.1, (0.3, 0.2)),
        lambda d: variants()["counts"].counts(0.02),
        lambda d: variants()["counts"].counts(0.05, (0.3, 0.6)),
        lambda d: variants()["behaviour"].counts(0.1),
    ],
)
def test_what_cannot_be_asked_is_refused(call):
    with pytest.raises(InputError):
        call(recording())


def test_a_damaged_file_is_refused(tmp_path):
    (tmp_path / "x.npz").write_bytes(b"not a file")
    with pytest.raises(InputError, match="TwinData"):
        TwinData.load(tmp_path / "x.npz")
    np.savez(tmp_path / "y.npz", header=np.array(json.dumps({"responses": "Pickle", "meta": {}})), stimuli=np.eye(2))
    with pytest.raises(InputError, match="TwinData"):
        TwinData.load(tmp_path / "y.npz")


def test_without_pynwb_the_fix_is_told(tmp_path):
    try:
        import pynwb  # noqa: F401
    except ImportError:
        with pytest.raises(MissingDependency, match=r"neurospin\[nwb\]"):
            to_nwb(recording(), tmp_path / "x.nwb")
    else:
        pytest.skip("pynwb is installed")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", list(variants()))
def test_neurodata_without_borders_brings_everything_back(kind, tmp_path):
    pytest.importorskip("pynwb", reason="pynwb is not installed")
    data = variants()[kind]
    to_nwb(data, tmp_path / "x.nwb")
    same(data, from_nwb(tmp_path / "x.nwb"), times=1e-12)
    started = replace(data, trials={**data.trials, "start": 10.0 + 100 * np.arange(len(data))[::-1]})
    to_nwb(started, tmp_path / "y.nwb")
    same(started, from_nwb(tmp_path / "y.nwb"), times=1e-9)


@pytest.mark.filterwarnings("ignore")
def test_a_file_of_a_laboratory(tmp_path):
    pynwb = pytest.importorskip("pynwb", reason="pynwb is not installed")
    from datetime import UTC, datetime

    file = pynwb.NWBFile("a day", "id", datetime(2026, 1, 1, tzinfo=UTC))
    file.add_trial_column("odour", "what was smelled")
    for start, odour in ((0.0, "rose"), (2.0, "mint"), (4.0, "rose")):
        file.add_trial(start_time=start, stop_time=start + 1.0, odour=odour)
    file.add_unit(spike_times=[0.5, 1.5, 2.25, 4.9])
    file.add_unit(spike_times=[4.0])
    with pynwb.NWBHDF5IO(str(tmp_path / "lab.nwb"), "w") as writer:
        writer.write(file)
    data = from_nwb(tmp_path / "lab.nwb", stimulus_column="odour")
    assert data.trials["stimulus"].tolist() == [1, 0, 1] and data.trials["odour_label"].tolist() == [
        "rose",
        "mint",
        "rose",
    ]
    np.testing.assert_array_equal(data.counts(0.5)[:, :, 0], [[0, 1], [1, 0], [0, 1]])
    np.testing.assert_array_equal(data.counts(0.5)[:, :, 1], [[0, 0], [0, 0], [1, 0]])
    with pytest.raises(InputError, match="odour"):
        from_nwb(tmp_path / "lab.nwb")


def test_an_xarray_has_the_tables_as_coordinates():
    xarray = pytest.importorskip("xarray", reason="xarray is not installed")
    data = recording()
    found = data.to_xarray(0.2, (0.1, 0.5))
    assert isinstance(found, xarray.DataArray) and found.dims == ("trial", "time", "unit")
    np.testing.assert_array_equal(found.values, data.counts(0.2, (0.1, 0.5)))
    np.testing.assert_allclose(found["time"].values, [0.1, 0.3])
    for name, column in data.trials.items():
        np.testing.assert_array_equal(found[name].values, column)
    np.testing.assert_array_equal(found["unit_session"].values, data.units["session"])
    one = int(data.trials["stimulus"][0])
    chosen = found.where(found["stimulus"] == one, drop=True)
    np.testing.assert_array_equal(chosen.values, data.select(data.trials["stimulus"] == one).counts(0.2, (0.1, 0.5)))


@pytest.mark.data
def test_a_recording_of_the_piriform_cortex():
    with np.load(shared_data("piriform", "aPCx_15_spikes.npz")) as file:
        odour, trial = file["odor"].astype(int), file["trial"].astype(int)
        spikes = Spikes(file["t_ms"] / 1000, file["unit"].astype(int), odour * 10 + trial, 10.0)
        units = {"session": file["info"][:, 0]}
    data = TwinData({"stimulus": np.repeat(np.arange(15), 10)}, np.eye(15), spikes, units)
    counts = data.counts(0.05)
    assert counts.shape == (150, 200, 199) and counts.sum() == 782_808
    rate = counts.mean((0, 1)) / 0.05
    assert (rate > 0.5).sum() == 136 and rate.mean() == pytest.approx(782_808 / 199 / 1500)
    train, test = (data.split("trial", test=0.3, val=0).tier(name) for name in ("train", "test"))
    assert len(train) == 105 and len(test) == 45
    assert train.repeated(0.5)[0].shape == (7, 15 * 20, 199) and 5 <= test.ceiling(0.1).reliable().sum() < 20
