"""Human learning of the six category types: published group means, and the trial-level file."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np

from neurospin.errors import InputError
from neurospin.files import existing
from neurospin.tasks.categories import CUBE, SHJ, Trials

_MEANS = """
.211 .025 .003 .000 .000 .000 .000 .000 .000 .000 .000 .000 .000 .000 .000 .000
.378 .156 .083 .056 .031 .027 .028 .016 .016 .008 .000 .002 .005 .003 .002 .000
.459 .286 .223 .145 .081 .078 .063 .033 .023 .016 .019 .009 .008 .013 .009 .013
.422 .295 .222 .172 .148 .109 .089 .063 .025 .031 .019 .025 .005 .000 .000 .000
.472 .331 .230 .139 .106 .081 .067 .078 .048 .045 .050 .036 .031 .027 .016 .014
.498 .341 .284 .245 .217 .192 .192 .177 .172 .128 .139 .117 .103 .098 .106 .106
"""


def shj_curves() -> dict[str, np.ndarray]:
    """Probability of an error of 40 people in each of 16 blocks of 16 trials, by type.

    Source: Nosofsky, Gluck, Palmeri, McKinley & Glauthier, Memory & Cognition 22, 1994, table 1,
    doi:10.3758/BF03200862.
    """
    rows = [[float(x) for x in line.split()] for line in _MEANS.strip().splitlines()]
    return {kind: np.array(row) for kind, row in zip(SHJ, rows, strict=True)}


def shj_trials(path: str | Path) -> Trials:
    """The trials of 120 people, two types each, that were published with the means.

    Args:
        path: `nosof94tld.csv.gz` (or not compressed): columns `subj, type, block, logstim, resp, cat`;
            rows without a response lie behind the criterion and are left out.

    Raises:
        MissingFile: nothing there.
        InputError: a column is missing, or a value is not one of the experiment's.

    Source: Nosofsky et al., Memory & Cognition 22, 1994, doi:10.3758/BF03200862.
    """
    place = existing(path)
    people: dict[tuple[str, str], list[tuple[int, int, int]]] = {}
    wanted = ("subj", "type", "logstim", "resp", "cat")
    try:
        with gzip.open(place, "rt", newline="") if place.suffix == ".gz" else place.open(newline="") as file:
            reader = csv.DictReader(file)
            missing = [name for name in wanted if name not in (reader.fieldnames or ())]
            if missing:
                raise InputError(str(place), f"the columns {', '.join(wanted)}", f"no {missing[0]}", "check the file")
            for line, row in enumerate(reader, start=2):
                if row["resp"] not in ("0", "1"):
                    continue
                shown, category, kind = int(row["logstim"]) - 1, int(row["cat"]), int(row["type"])
                if not (0 <= shown < 8 and category in (0, 1) and 1 <= kind <= 6):
                    raise InputError(
                        f"{place}, line {line}", "stimulus 1–8, category 0–1, type 1–6", str(row), "mend it"
                    )
                key = (row["subj"], list(SHJ)[kind - 1])
                people.setdefault(key, []).append((shown, category, int(row["resp"])))
    except (ValueError, EOFError, gzip.BadGzipFile, UnicodeDecodeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(str(place), "a table of trials", str(error), "check the file") from error
    if not people:
        raise InputError(str(place), "trials with responses", "none", "check the file")
    longest = max(map(len, people.values()))
    table = np.zeros((len(people), longest, 3), np.int64)
    valid = np.zeros((len(people), longest), bool)
    for i, rows in enumerate(people.values()):
        table[i, : len(rows)] = rows
        valid[i, : len(rows)] = True
    return Trials(
        CUBE[table[..., 0]], table[..., 1], np.where(valid, table[..., 2], -1), valid,
        condition=tuple(kind for _, kind in people), names=tuple(f"{who}-{kind}" for who, kind in people),
    )  # fmt: skip
