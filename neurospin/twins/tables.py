"""Tables as columns: a mapping from names to arrays of one length."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from neurospin.errors import InputError
from neurospin.files import existing

Table = Mapping[str, np.ndarray]


def rows(table: Table) -> int:
    """Number of rows."""
    return len(next(iter(table.values()))) if table else 0


def checked_table(table: Table, where: str) -> dict[str, np.ndarray]:
    """The columns as arrays.

    Raises:
        InputError: a column is not one-dimensional, is of another length, or holds objects.
    """
    found = {name: np.asarray(column) for name, column in table.items()}
    for name, column in found.items():
        if column.ndim != 1 or len(column) != rows(found):
            raise InputError(
                f"{where}.{name}", f"({rows(found)},) as the other columns", str(column.shape), "match them"
            )
        if column.dtype.kind not in "biufU":
            raise InputError(f"{where}.{name}", "numbers, truth values or text", str(column.dtype), "convert it")
        if "/" in name or not name:
            raise InputError(f"{where}.{name}", "a name without '/'", repr(name), "rename the column")
    return found


def read_csv(path: str | Path) -> dict[str, np.ndarray]:
    """A csv file with a header as columns: whole numbers, other numbers (empty is nan), else text.

    Raises:
        MissingFile: nothing there.
        InputError: no header, a name twice, or a row with another number of fields.
    """
    place = existing(path)
    try:
        with place.open(newline="", encoding="utf-8-sig") as file:
            lines = list(csv.reader(file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(str(place), "a csv file in UTF-8", str(error), "check the file") from error
    if len(lines) < 2 or len(set(lines[0])) != len(lines[0]):
        raise InputError(str(place), "a header with different names, and rows", f"{len(lines)} lines", "check the file")
    for number, line in enumerate(lines[1:], start=2):
        if len(line) != len(lines[0]):
            raise InputError(f"{place}, line {number}", f"{len(lines[0])} fields", str(len(line)), "mend the row")
    return {name: _typed(list(column)) for name, *column in zip(*lines, strict=True)}


def _typed(column: list[str]) -> np.ndarray:
    try:
        return np.array([int(x) for x in column], dtype=np.int64)
    except (ValueError, OverflowError):
        pass
    try:
        return np.array([float(x) if x else np.nan for x in column])
    except ValueError:
        return np.array(column, dtype=np.str_)
