"""Two thousand damaged files: each is read, or refused by a NeurospinError; nothing crashes, hangs or swells."""

import json
import subprocess
import sys
import textwrap
from itertools import pairwise

import h5py
import nir
import numpy as np
import pytest

import neurospin as ns
from neurospin.graph.hdf5 import tree
from tests.graphs import neuron

CHILD = textwrap.dedent(
    """
    import json, resource, signal, sys, warnings
    import numpy as np
    import neurospin as ns
    from neurospin.graph.file import read
    warnings.simplefilter("ignore")

    class TooLong(BaseException):
        pass

    def late(*_):
        raise TooLong("2 s of processor time")

    signal.signal(signal.SIGVTALRM, late)
    def megabytes():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    path, count, out = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    whole = open(path, "rb").read()
    read(path)
    found = {"refused": 0, "read": 0, "other": [], "before": megabytes()}
    for number in range(count):
        draw = np.random.default_rng([number, len(whole)])
        data, how = bytearray(whole), number % 5
        places = draw.integers(0, len(data), draw.integers(1, 9))
        if how == 0:
            del data[places[0] :]
        elif how == 1:
            for place in places:
                data[place] = draw.integers(0, 256)
        elif how == 2:
            for place in places[:3]:
                data[place] ^= 1 << draw.integers(0, 8)
        elif how == 3:
            data[places[0] : places[0] + 8] = bytes([draw.choice([0, 1, 127, 255])]) * 8
        else:
            length = draw.integers(4, 64)
            data[places[0] : places[0] + length] = data[places[-1] : places[-1] + length]
        with open(out, "wb") as file:
            file.write(data)
        signal.setitimer(signal.ITIMER_VIRTUAL, 2)
        try:
            read(out)
            found["read"] += 1
        except ns.NeurospinError as error:
            found["refused"] += 1
            if "\\n" in str(error) or len(str(error)) > 1000:
                found["other"].append(f"{number}: {error}")
        except BaseException as error:
            found["other"].append(f"{number}: {type(error).__name__}: {error}")
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    found["megabytes"] = megabytes()
    print(json.dumps(found))
    """
)


def trained(path):
    """Metadata, weights packed by gzip; written by neurospin."""
    net = ns.Network([ns.Dense(20, 16, weight=ns.Binary(), bias=True), ns.LIF(16), ns.Dense(16, 4), ns.LI(4)], dt=1e-3)
    ns.write(path, ns.to_graph(net))


def images():
    """A convolution, pooling, flattening."""
    rng = np.random.default_rng(0)
    one = np.ones((4, 8, 8), np.float32)
    return nir.NIRGraph.from_list(
        nir.Conv2d((8, 8), rng.normal(size=(4, 2, 3, 3)), 1, 1, 1, 1, np.zeros(4)),
        nir.LIF(tau=0.02 * one, r=one, v_leak=0 * one, v_threshold=one, v_reset=0 * one),
        nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
        nir.Flatten({"input": np.array([4, 4, 4])}, 0, -1),
        nir.Linear(rng.normal(size=(3, 64))),
    )


def nested():
    """A graph in a graph, a loop, metadata in metadata, and more nodes than one index block holds."""
    rng = np.random.default_rng(1)
    shape = np.array([5])
    inner = nir.NIRGraph(
        {
            "input": nir.Input({"input": shape}),
            "l": neuron("cubalif", 5, rng),
            "r": nir.Linear(rng.normal(size=(5, 5))),
            "output": nir.Output({"output": shape}),
        },
        [("input", "l"), ("l", "r"), ("r", "l"), ("l", "output")],
    )
    chain = {f"s{n}": nir.Scale(rng.normal(size=5)) for n in range(12)}
    nodes = {"input": nir.Input({"input": shape}), "g": inner, **chain, "output": nir.Output({"output": shape})}
    names = list(nodes)
    about = {"neurospin": {"dt": 1e-3}, "tool": {"name": "x", "table": np.arange(300.0)}}
    return nir.NIRGraph(nodes, list(pairwise(names)), metadata=about)


MAKERS = {
    "trained": trained,
    "images": lambda path: ns.write(path, images()),
    "images by nir": lambda path: nir.write(path, images()),
    "nested": lambda path: ns.write(path, nested()),
    "nested by nir": lambda path: nir.write(path, nested()),
}


@pytest.mark.parametrize("name", MAKERS)
def test_damaged_files_are_refused_or_read(tmp_path, name):
    MAKERS[name](tmp_path / "whole.nir")
    command = [sys.executable, "-c", CHILD, tmp_path / "whole.nir", 400, tmp_path / "x.nir"]
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert found["other"] == []
    assert found["refused"] > 50 and found["read"] > 50  # the damage is neither always fatal nor always harmless
    assert found["megabytes"] < found["before"] + 100


DTYPES = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", ">f4", ">i8", "c8", "c16", "?")


def of_h5py(group):
    """What the HDF5 library itself reads."""
    found = {}
    for key, item in group.items():
        if isinstance(item, h5py.Group):
            found[key] = of_h5py(item)
            continue
        value = item[()]
        if isinstance(value, np.ndarray) and value.dtype.kind in "OS":
            texts = [v.decode() if isinstance(v, bytes) else v for v in value.ravel()]
            value = np.array(texts, object).reshape(value.shape).tolist()
        found[key] = None if isinstance(value, h5py.Empty) else value.decode() if isinstance(value, bytes) else value
    return found


def alike(a, b):
    if isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            alike(a[key], b[key])
    elif isinstance(a, np.ndarray | np.generic):
        assert (a.dtype.newbyteorder("="), a.shape) == (b.dtype, b.shape)
        np.testing.assert_array_equal(a, b)
    else:
        assert type(a) is type(b) and a == b


@pytest.mark.parametrize("track", [False, True])
@pytest.mark.parametrize("version", ["earliest", "v108", "v110"])
def test_the_reader_sees_what_the_library_sees(tmp_path, version, track):
    rng = np.random.default_rng(0)
    with h5py.File(tmp_path / "x.h5", "w", libver=version, track_order=track, userblock_size=512) as file:
        for count in (5, 20, 700):  # links in the header, in one block of a heap, in blocks of blocks
            group = file.create_group(f"of {count}", track_order=track)
            for n in rng.permutation(count):
                group.create_dataset(f"{n}" + "x" * (n % 30), data=int(n))
        for dtype in DTYPES:
            values = np.abs(rng.normal(size=(9, 30, 2)) * 9).astype(dtype)
            file[f"one {dtype}"], file[f"some {dtype}"] = values[0, 0, 0], values
            whole = (9, 30, 2) if version == "v110" else (2, 7, 2)
            file.create_dataset(f"packed {dtype}", data=values, compression="gzip", shuffle=True, chunks=whole)
        file["text"], file["fixed"] = "täxt", np.array([b"ab", b"cde"])
        file["texts"] = np.array([["a", "bb"], ["", "d" * 300]], object)
        file["none"], file["empty"] = h5py.Empty("f4"), np.zeros((0, 4))
        run = np.repeat(rng.integers(0, 3, 500), 7)
        file.create_dataset("lzf", data=run, compression="lzf", chunks=(3500 if version == "v110" else 900,))
        file.attrs["about"] = "an attribute"
    with h5py.File(tmp_path / "x.h5") as file:
        expected = of_h5py(file)
    alike(expected, tree(tmp_path / "x.h5"))
