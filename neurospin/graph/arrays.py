"""The arrays that go into a graph, from an npz file."""

from __future__ import annotations

import os
import zipfile

import nir
import numpy as np

from neurospin.errors import InputError, NeurospinError
from neurospin.files import existing
from neurospin.graph.contract import ports


def read_spikes(
    path: str | os.PathLike[str], graph: nir.NIRGraph
) -> tuple[np.ndarray | dict[str, np.ndarray], np.ndarray | None]:
    """The array `spikes`, or of several inputs one array by name; and `labels`, where there are any.

    Args:
        path: of an npz file.
        graph: the graph that is to be fed.

    Raises:
        MissingFile: no such file.
        InputError: it is no npz file, or lacks the array.
    """
    names = list(ports(graph, nir.Input))
    if not zipfile.is_zipfile(existing(path)):  # numpy would speak of pickles
        got = "a file of another kind"
        raise InputError(str(path), "an npz file with the array spikes", got, "write it with numpy.savez")
    try:
        with np.load(path, allow_pickle=False) as file:
            labels = file["labels"] if "labels" in file.files and "labels" not in names else None
            if len(names) > 1:
                return {name: file[name] for name in file.files if name in names or name != "labels"}, labels
            if "spikes" not in file.files:
                raise InputError(str(path), "an array named spikes", ", ".join(file.files) or "none", "name it spikes")
            return file["spikes"], labels
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        if isinstance(error, NeurospinError):
            raise
        raise InputError(
            str(path), "an npz file with the array spikes", str(error), "write it with numpy.savez"
        ) from error
