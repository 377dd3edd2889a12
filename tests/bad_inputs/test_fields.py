"""Every field of every primitive, with every odd value: read, or refused in one line; also under `python -O`."""

import subprocess
import sys

import nir
import numpy as np

import neurospin as ns
from neurospin.graph.file import of_content
from neurospin.graph.hdf5 import tree
from tests.bad_inputs.test_damage import images, nested
from tests.graphs import neuron

ODD = {
    "a text": "same",
    "an empty text": "",
    "nothing": None,
    "a fraction": np.float64(0.5),
    "a negative": np.int64(-3),
    "the largest": np.int64(2**62),
    "zero": np.int64(0),
    "flag": np.bool_(True),
    "NaN": np.float64(np.nan),
    "three": np.array([1, 2, 3]),
    "negative pair": np.array([-1, -1]),
    "huge pair": np.array([2**30, 2**30]),
    "no numbers": np.zeros((0,)),
    "eight axes": np.ones((1,) * 8, np.float32),
    "texts": ["a", "b"],
    "complex": np.ones(3, np.complex64),
    "small integers": np.array([[1, 2], [3, 4]], np.int8),
    "float64": np.ones(3),
    "a group": {"x": np.int64(1)},
}


def zoo():
    """One node of every kind that the other graphs here lack, in a chain."""
    rng, one = np.random.default_rng(0), np.ones(5, np.float32)
    return nir.NIRGraph.from_list(
        nir.Conv1d(9, rng.normal(size=(5, 3, 2)), 2, 1, 1, 1, np.zeros(5)),
        nir.Flatten({"input": np.array([5, 5])}, 0, -1),
        nir.Affine(rng.normal(size=(5, 25)), rng.normal(size=5)),
        nir.Delay(0.002 * one),
        nir.Threshold(one),
        *(neuron(kind, 5, rng) for kind in ("if", "cubali", "li", "lif")),
        nir.I(r=one),
    )


def pooled():
    pool = nir.AvgPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0]))
    shape = np.array([1, 4, 4])
    nodes = {"input": nir.Input({"input": shape}), "p": pool, "output": nir.Output({"output": np.array([1, 2, 2])})}
    return nir.NIRGraph(nodes, [("input", "p"), ("p", "output")])


def odd_contents(folder):
    """What files of every graph hold, with every odd value in the place of every array, one at a time."""
    for make in (zoo, images, nested, pooled):
        ns.write(folder / "whole.nir", make())
        content = tree(folder / "whole.nir")
        done = set()
        for group, key, place in leaves(content, ""):
            if (alike := (group.get("type"), key)) in done:
                continue
            done.add(alike)
            was = group[key]
            for label, value in ODD.items():
                group[key] = value
                yield content, f"{make.__name__}: {place} = {label}"
            del group[key]
            yield content, f"{make.__name__}: no {place}"
            group[key] = was


def leaves(group, path):
    for key, value in list(group.items()):
        if isinstance(value, dict):
            yield from leaves(value, f"{path}/{key}")
        yield group, key, f"{path}/{key}"


def outcomes(folder):
    """What each odd file says."""
    told = []
    for content, label in odd_contents(folder):
        try:
            _, repairs = of_content(content, "x.nir")
            told.append(f"{label}: read {repairs}")
        except ns.NeurospinError as error:
            told.append(f"{label}: {error}")
    return told


def test_every_field_with_every_odd_value(tmp_path):
    told = outcomes(tmp_path)
    assert len(told) > 1000
    assert not [line for line in told if "\n" in line or len(line) > 1000]
    command = "import sys, pathlib, tests.bad_inputs.test_fields as t\n"
    command += "print('\\n'.join(t.outcomes(pathlib.Path(sys.argv[1]))))"
    done = subprocess.run([sys.executable, "-O", "-c", command, str(tmp_path)], capture_output=True, text=True)
    assert done.stdout.splitlines() == told, done.stderr[-1000:]
