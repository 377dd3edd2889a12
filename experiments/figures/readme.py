"""The picture of the README, from a run of the quickstart: `python experiments/figures/readme.py RUN OUT.png`."""

import json
import sys
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from neurospin.report import plots


def draw(run: Path, out: Path) -> None:
    results = json.loads((run / "results.json").read_text())
    arrays = np.load(run / "figures" / "arrays.npz", allow_pickle=False)
    tasks = results["stream"]["tasks"]
    learners = results["learners"]
    ran = {n: t["certificate"] for n, t in results["targets"].items() if t["available"]}
    with rc_context(plots.STYLE):
        figure = Figure(figsize=(11, 6), layout="constrained")
        grid = figure.add_gridspec(2, 3)
        layers = {
            "input": arrays["raster/input"],
            "hidden": arrays["raster/lif1"],
            "on Loihi": arrays["raster/loihi/lif1"],
        }
        plots.raster(
            layers, 1e-3, title="one digit, as trained and on Loihi arithmetic", axes=figure.add_subplot(grid[0, :2])
        )
        differing = {
            n: sum(a["differing"] for a in c["nodes"].values()) / sum(a["total_spikes"] for a in c["nodes"].values())
            for n, c in ran.items()
        }
        accuracy = {n: (c["accuracy"]["before"], c["accuracy"]["after"]) for n, c in ran.items()}
        _, ax = plots.agreement(differing, accuracy, axes=figure.add_subplot(grid[0, 2]))
        for text in list(ax.texts):
            text.set_position((2, text.get_position()[1]))
        for column, name in enumerate(("metaplastic", "plain")):
            matrix = np.array(learners[name]["accuracy_matrix"])
            plots.accuracy_matrix(
                matrix, tasks, title=learners[name]["title"], axes=figure.add_subplot(grid[1, column])
            )
        values = [arrays[f"hidden/metaplastic/dense1/{n + 1}"] for n in range(len(tasks))]
        plots.hidden_values(values, tasks, title="what the synapses hold", axes=figure.add_subplot(grid[1, 2]))
        FigureCanvasAgg(figure).print_png(out, metadata={"Software": None}) if out.suffix == ".png" else figure.savefig(
            out
        )


if __name__ == "__main__":
    draw(Path(sys.argv[1]), Path(sys.argv[2]))
