"""Two thousand damaged files: each is read, or refused by a NeurospinError; nothing crashes or swells."""

import json
import subprocess
import sys
import textwrap

import pytest

import neurospin as ns

CHILD = textwrap.dedent(
    """
    import json, resource, sys, time, warnings
    import numpy as np
    import neurospin as ns
    from neurospin.graph.file import read
    warnings.simplefilter("ignore")
    whole, first, last, out = open(sys.argv[1], "rb").read(), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    found = {"refused": 0, "read": 0, "slowest": 0.0, "other": []}
    found["before"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    for number in range(first, last):
        draw = np.random.default_rng(number)
        data = bytearray(whole)
        if number % 4 == 0:
            data = data[: draw.integers(0, len(data))]
        else:
            for place in draw.integers(0, len(data), draw.integers(1, 9)):
                data[place] = draw.integers(0, 256)
        with open(out, "wb") as file:
            file.write(data)
        began = time.perf_counter()
        try:
            read(out)
            found["read"] += 1
        except ns.NeurospinError as error:
            found["refused"] += 1
            if "\\n" in str(error):
                found["other"].append(f"{number}: several lines")
        except BaseException as error:
            found["other"].append(f"{number}: {type(error).__name__}: {error}")
        found["slowest"] = max(found["slowest"], time.perf_counter() - began)
    found["megabytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(found))
    """
)


@pytest.mark.parametrize("part", range(4))
def test_damaged_files_are_refused_or_read(tmp_path, part):
    net = ns.Network([ns.Dense(20, 16, weight=ns.Binary(), bias=True), ns.LIF(16), ns.Dense(16, 4), ns.LI(4)], dt=1e-3)
    ns.write(tmp_path / "whole.nir", ns.to_graph(net))
    command = [sys.executable, "-c", CHILD, tmp_path / "whole.nir", 500 * part, 500 * (part + 1), tmp_path / "x.nir"]
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]  # a crash of libhdf5 would show here
    found = json.loads(done.stdout)
    assert found["other"] == []
    assert found["refused"] > 50 and found["read"] > 50  # the damage is neither always fatal nor always harmless
    assert found["megabytes"] < found["before"] + 100
