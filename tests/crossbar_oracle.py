"""Kirchhoff's equations of a wired crossbar, written down node by node: sparse LU, and a netlist for ngspice."""

import shutil
import subprocess

import numpy as np
import scipy.sparse as sparse
import scipy.sparse.linalg as linalg

NGSPICE = shutil.which("ngspice")


def nodal(g, row, column, driver=0.0, sense=0.0, driven=None, drives=None, ends=None):
    """Outputs per drive `(drives, columns)` and node voltages `(drives, 2, rows, columns)`; rows not driven float."""
    m, n = g.shape
    u, w = np.arange(m * n).reshape(m, n), m * n + np.arange(m * n).reshape(m, n)
    row, column = np.array(np.broadcast_to(row, g.shape), float), np.array(np.broadcast_to(column, g.shape), float)
    row[:, 0] += driver
    column[-1] += sense
    driven = np.ones(m, bool) if driven is None else driven
    drives = np.eye(m) if drives is None else np.asarray(drives)
    ends = np.zeros((len(drives), n)) if ends is None else np.asarray(ends)
    at, to, value = [], [], []

    def edge(a, b, c):
        for i, j, sign in ((a, a, 1), (b, b, 1), (a, b, -1), (b, a, -1)):
            at.append(i.ravel()), to.append(j.ravel()), value.append(sign * c.ravel())

    edge(u, w, g)
    edge(u[:, :-1], u[:, 1:], 1 / row[:, 1:])
    edge(w[:-1], w[1:], 1 / column[:-1])
    for node, c in ((u[driven, 0], 1 / row[driven, 0]), (w[-1], 1 / column[-1])):
        at.append(node), to.append(node), value.append(c)
    matrix = sparse.csc_matrix(
        (np.concatenate(value), (np.concatenate(at), np.concatenate(to))), shape=(2 * m * n,) * 2
    )
    right = np.zeros((2 * m * n, len(drives)))
    right[u[driven, 0]] = (drives[:, driven] / row[driven, 0]).T
    right[w[-1]] += (ends / column[-1]).T
    lu = linalg.splu(matrix, permc_spec="MMD_AT_PLUS_A")
    x = lu.solve(right)
    x += lu.solve(right - matrix @ x)
    return ((x[w[-1]].T - ends) / column[-1]), x.T.reshape(len(drives), 2, m, n)


def ngspice(g, row, column, volts, folder):
    """Output currents of one drive, from a plain netlist."""
    m, n = g.shape
    lines = ["crossbar"]
    for i in range(m):
        lines.append(f"V{i} r{i}_0 0 {volts[i]:.17g}")
        for j in range(n):
            below = f"c{i + 1}_{j}" if i + 1 < m else f"o{j}"
            lines += [
                f"RW{i}_{j} r{i}_{j} r{i}_{j + 1} {row:.17g}",
                f"RD{i}_{j} r{i}_{j + 1} c{i}_{j} {1 / g[i, j]:.17g}",
                f"RB{i}_{j} c{i}_{j} {below} {column:.17g}",
            ]
    lines += [f"VO{j} o{j} 0 0" for j in range(n)]
    lines += [".options reltol=1e-12 abstol=1e-18 vntol=1e-15 gmin=1e-30", ".control", "set numdgt=16", "op"]
    lines += [*(f"print i(VO{j})" for j in range(n)), "quit 0", ".endc", ".end"]
    (folder / "a.cir").write_text("\n".join(lines))
    done = subprocess.run([str(NGSPICE), "-b", "a.cir"], cwd=folder, capture_output=True, text=True, timeout=60)
    told = [line.split("=")[1] for line in done.stdout.splitlines() if line.startswith("i(vo")]
    assert len(told) == n, done.stdout + done.stderr
    return np.array([float(x) for x in told])
