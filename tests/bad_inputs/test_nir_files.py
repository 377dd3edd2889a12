"""Files from strangers: each is refused in one line that names what is wrong, before anything is allocated."""

import resource

import h5py
import numpy as np
import pytest

import neurospin as ns

ONE = np.ones(3, np.float32)


def good(path):
    """A file of a layer of three LIF neurons behind an Affine."""
    net = ns.Network([ns.Dense(4, 3, bias=True), ns.LIF(3)], dt=1e-3)
    ns.write(path, ns.to_graph(net))
    return path


def change(key, value):
    def apply(file):
        del file[key]
        file[key] = value

    return apply


def nodes(name):
    return f"node/nodes/{name}"


def external_link(file):
    del file["node/nodes/dense1/weight"]
    file["node/nodes/dense1/weight"] = h5py.ExternalLink("other.h5", "/secret")


def external_storage(file):
    del file["node/nodes/dense1/weight"]
    file.create_dataset("node/nodes/dense1/weight", (3, 4), "f4", external=[("/etc/hostname", 0, 48)])


def virtual(file):
    del file["node/nodes/dense1/weight"]
    layout = h5py.VirtualLayout((3, 4), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "x", (3, 4))
    file.create_virtual_dataset("node/nodes/dense1/weight", layout)


def soft_cycle(file):
    file["node/nodes/loop"] = h5py.SoftLink("/node/nodes")


def hard_cycle(file):
    file["node/nodes/loop"] = file["node"]


def add_type(file):
    file["node/kind"] = np.dtype("f4")


def huge(file):
    del file["node/nodes/dense1/weight"]
    file.create_dataset("node/nodes/dense1/weight", (10**6, 10**6), "f4", chunks=(1000, 1000))


def bomb(file):
    del file["node/nodes/dense1/weight"]
    file.create_dataset("node/nodes/dense1/weight", (3, 2 * 10**8), "f4", chunks=(1, 10**6), compression="gzip")


def deep(file):
    group = file["node/nodes"]
    for _ in range(200):
        group = group.create_group("g")


def stored(**how):
    """A weight stored in some other way."""

    def apply(file):
        del file[nodes("dense1/weight")]
        file[nodes("dense1")].create_dataset("weight", **how)

    return apply


def committed(file):
    file["type"] = np.dtype("f4")
    stored(shape=(3, 4), dtype=file["type"])(file)


def ports_of(*shape):
    """Input and Output of one shape, and between them one neuron that holds one number a constant."""

    def apply(file):
        for name in ("input", "output"):
            change(nodes(f"{name}/shape"), np.array(shape))(file)
        del file[nodes("dense1")]
        change("node/edges", np.array([["input", "lif1"], ["lif1", "output"]], object))(file)
        for field in ("tau", "r", "v_leak", "v_threshold", "v_reset"):
            change(nodes(f"lif1/{field}"), np.float32(0 if field == "v_reset" else 0.5))(file)

    return apply


def add(key, value):
    return lambda file: file.create_dataset(key, data=value)


def edge(a, b):
    def apply(file):
        edges = [[x.decode() for x in pair] for pair in file["node/edges"][()]] + [[a, b]]
        del file["node/edges"]
        file.create_dataset("node/edges", data=np.array(edges, dtype=object), dtype=h5py.string_dtype())

    return apply


CASES = {
    "NaN weight": (
        change(nodes("dense1/weight"), np.full((3, 4), np.nan, "f4")),
        r"dense1.weight: expected finite numbers, got 12 of 12",
    ),
    "infinite bias": (change(nodes("dense1/bias"), np.array([1, np.inf, 0], "f4")), r"dense1.bias: .*1 of 3"),
    "negative tau": (change(nodes("lif1/tau"), -0.01 * ONE), r"lif1.tau: expected > 0 s, got -0.01 s"),
    "zero tau": (change(nodes("lif1/tau"), 0 * ONE), r"lif1.tau: expected > 0 s, got 0 s"),
    "tau below dt": (change(nodes("lif1/tau"), 1e-4 * ONE), r"lif1.tau: expected at least dt = 0.001 s"),
    "threshold at reset": (
        change(nodes("lif1/v_threshold"), 0 * ONE),
        r"lif1.v_threshold: expected more than v_reset = 0",
    ),
    "bias shape": (
        change(nodes("dense1/bias"), np.zeros(7, "f4")),
        r"dense1.bias: expected shape \(3,\), got shape \(7,\)",
    ),
    "complex weight": (
        change(nodes("dense1/weight"), np.ones((3, 4), "c8")),
        r"dense1.weight: expected real numbers, got dtype complex64",
    ),
    "text weight": (change(nodes("dense1/weight"), "abc"), r"dense1.weight: expected real numbers"),
    "reset shape": (
        change(nodes("lif1/v_reset"), np.zeros(2, "f4")),
        r"lif1.v_reset: expected shape \(3,\), got shape \(2,\)",
    ),
    "unknown type": (
        change(nodes("lif1/type"), "Izhikevich"),
        r"node lif1: type: expected one of .*LIF.*, got 'Izhikevich'",
    ),
    "misspelt type": (change(nodes("lif1/type"), "LIFF"), r"did you mean 'LIF'\?"),
    "extra field": (
        add(nodes("lif1/taau"), ONE),
        r"lif1.taau: expected one of .*, got 'taau'. Fix: did you mean 'tau'",
    ),
    "missing field": (lambda f: f.__delitem__(nodes("lif1/tau")), r"lif1.tau: expected a value, got none"),
    "no node": (lambda f: f.__delitem__("node"), r"a NIR file, with a group `node`"),
    "edge to nowhere": (edge("lif1", "ghost"), r"edge lif1 -> ghost: .*no node 'ghost'"),
    "edge twice": (edge("lif1", "output"), r"edge lif1 -> output: expected each edge once"),
    "loop without delay": (edge("dense1", "dense1"), r"loop|shape"),
    "external link": (external_link, r"dense1/weight: expected content of this file, got a link"),
    "external storage": (external_storage, r"dense1/weight: expected an array in this file"),
    "virtual": (virtual, r"dense1/weight: expected an array in this file"),
    "soft link": (soft_cycle, r"nodes/loop: expected content of this file, got a link"),
    "hard cycle": (hard_cycle, r"nodes/loop: expected every object once|every object once"),
    "huge": (huge, r"arrays that fit the file, got 4000000000\d+ bytes"),
    "bomb": (bomb, r"arrays that fit the file"),
    "deep": (deep, r"at most 64 nested groups"),
    "empty weight": (
        change(nodes("dense1/weight"), np.zeros((0, 4), "f4")),
        r"dense1.weight: expected at least one number",
    ),
    "committed type": (committed, r"dense1/weight: expected an array with its own type, got a committed datatype"),
    "a type as content": (add_type, r"node/kind: expected a group or an array, got a datatype"),
    "record": (stored(data=np.zeros(3, [("a", "f4"), ("b", "i4")])), r"dense1/weight: expected numbers or text"),
    "references": (stored(shape=(3, 4), dtype=h5py.ref_dtype), r"dense1/weight: .*got dtype a reference"),
    "ragged": (stored(shape=(3,), dtype=h5py.vlen_dtype("f4")), r"dense1/weight: .*got dtype a list"),
    "opaque": (stored(data=np.zeros((3, 4), "V4")), r"dense1/weight: .*got dtype opaque"),
    "long doubles": (stored(data=np.zeros((3, 4), "g")), r"dense1/weight: .*got dtype floats of 16 bytes"),
    "other filters": (stored(data=np.ones((3, 4)), scaleoffset=3), r"dense1/weight: expected filters gzip, .*filter 6"),
    "declared, not stored": (stored(shape=(3, 4), dtype="f4"), r"dense1/weight: 48 bytes expected, none stored"),
    "parts not stored": (stored(shape=(3, 4), dtype="f4", chunks=(1, 4)), r"dense1/weight: 0 of 3 parts"),
    "a huge layer": (ports_of(2**30, 2**30), r"node input: expected 1 to 268435456 values"),
    "one number for a huge layer": (ports_of(2**28), r"node lif1: expected input of shape \(\), got shape"),
    "type_check": (add("node/type_check", True), r"type_check"),
    "control characters": (lambda f: f.move(nodes("lif1"), nodes("li\nf")), r"a printable name"),
    "long name": (lambda f: f.move(nodes("lif1"), nodes("x" * 10_000)), r"a printable name of at most 200"),
    "negative dt": (change("node/metadata/neurospin/dt", -1.0), r"dt: expected a positive number of seconds, got -1"),
    "NaN dt": (change("node/metadata/neurospin/dt", np.nan), r"dt: expected a positive number"),
    "wrong size": (
        change(nodes("output/shape"), np.array([5])),
        r"node output: expected input of shape \(5,\), got shape \(3,\)",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_it_is_refused_in_one_line(tmp_path, name):
    spoil, words = CASES[name]
    path = good(tmp_path / "g.nir")
    with h5py.File(path, "r+") as file:
        spoil(file)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ns.NeurospinError, match=words) as caught:
        ns.read(path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB: nothing was inflated


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "an empty file"),
        (b"hello, world", "a file of another kind"),
        (b"\x89HDF\r\n\x1a\n" + bytes(200), "a damaged"),
    ],
)
def test_it_is_no_hdf5_file(tmp_path, content, words):
    (tmp_path / "x.nir").write_bytes(content)
    with pytest.raises(ns.GraphError, match=words):
        ns.read(tmp_path / "x.nir")


def test_a_cut_file_is_told(tmp_path):
    path = good(tmp_path / "g.nir")
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(ns.GraphError, match="damaged or cut"):
        ns.read(path)


def test_no_version_is_repaired(tmp_path):
    path = good(tmp_path / "g.nir")
    with h5py.File(path, "r+") as file:
        del file["version"]
    with pytest.warns(UserWarning, match="no version"):
        ns.read(path)
