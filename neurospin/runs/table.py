"""Many runs as tables for SQL: one row per run and learner, per task, per epoch, and per target.

The configuration keeps its shape, so that a query reads like the experiment file::

    select training.lr, m, avg(average_accuracy) from results group by all order by 1, 2
"""

from __future__ import annotations

import glob
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurospin.errors import ConfigError, MissingDependency, MissingFile, NeurospinError, OutputError
from neurospin.files import replacing
from neurospin.report.results import read_run
from neurospin.runs import yaml_file

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Row = dict[str, Any]
TABLES = ("results", "tasks", "epochs", "targets")
SHARED = ("stream", "encode", "network", "training")
EMPTY = "run varchar, seed bigint, learner varchar"


def find(patterns: Iterable[str]) -> list[Path]:
    """The run folders that match, finished or not: those that hold a `config.yaml`.

    Raises:
        MissingFile: none.
    """
    given = list(patterns)
    found = {Path(place) for pattern in given for place in glob.glob(pattern, recursive=True)}  # noqa: PTH207 - patterns with a root
    folders = sorted(folder for folder in found if (folder / "config.yaml").is_file())
    if not folders:
        raise MissingFile(" ".join(given), "run folders", "none that match", "for example 'runs/*'")
    return folders


def open_tables(
    folders: Iterable[Path], wanted: Iterable[str] = TABLES, told: Callable[[str], None] = lambda text: None
) -> DuckDBPyConnection:
    """A database in memory with the tables of the runs.

    Args:
        folders: of runs.
        wanted: which of `TABLES`.
        told: gets one line for every run that cannot be read; it is left out.

    Raises:
        MissingDependency: duckdb is not installed.
    """
    try:
        import duckdb
    except ImportError as error:
        raise MissingDependency(
            "neurospin results", "duckdb", "a Python without it", "pip install 'neurospin[results]'"
        ) from error
    names = list(wanted)
    database = duckdb.connect()
    with tempfile.TemporaryDirectory() as place:
        files = {name: Path(place) / f"{name}.jsonl" for name in names}
        opened = {name: file.open("w", encoding="utf-8") for name, file in files.items()}
        try:
            for folder in folders:
                try:
                    found = {name: list(_rows(folder, name)) for name in names}
                except (NeurospinError, ValueError, KeyError, TypeError) as error:
                    told(f"{folder}: left out: {error}")
                    continue
                for name, rows in found.items():
                    opened[name].writelines(json.dumps(row) + "\n" for row in rows)
        finally:
            for file in opened.values():
                file.close()
        for name, file in files.items():
            if file.stat().st_size:
                options = "format = 'newline_delimited', sample_size = -1, map_inference_threshold = -1"
                options += ", field_appearance_threshold = 0, maximum_object_size = 100000000"
                database.execute(f"create table {name} as from read_json(?, {options})", [str(file)])
            else:
                database.execute(f"create table {name} ({EMPTY})")
    return database


def query(database: DuckDBPyConnection, sql: str, output: Path | None = None) -> tuple[list[str], list[tuple]]:
    """Column names and rows that a query gives; written to `output`, too: .parquet, .csv or .json by its suffix.

    Raises:
        ConfigError: the query cannot be answered; carries the database's first line.
        OutputError: another suffix, or a place that cannot be written to.
    """
    import duckdb

    formats = {".parquet": "parquet", ".csv": "csv", ".json": "json"}
    if output and output.suffix not in formats:
        raise OutputError(
            str(output), f"a name that ends in {', '.join(formats)}", output.suffix or "none", "rename it"
        )
    try:
        database.execute("begin")
        database.execute(f"create or replace temp table answer as {sql.rstrip().rstrip(';')}")
        found = database.execute("from answer")
        names, rows = [column[0] for column in found.description or ()], found.fetchall()
        database.execute("commit")
    except duckdb.Error as error:
        text = str(error).splitlines()[0]
        raise ConfigError("--sql", f"a query over {', '.join(TABLES)}", text, "change the query") from error
    if output:
        with replacing(output) as temporary:
            quoted = str(temporary).replace("'", "''")
            database.execute(f"copy answer to '{quoted}' (format {formats[output.suffix]})")
    return names, rows


def _rows(folder: Path, table: str) -> Iterator[Row]:
    """The rows that one run gives to a table."""
    config = yaml_file.read(folder / "config.yaml")
    results = read_run(folder) if (folder / "results.json").is_file() else None
    run = {"run": str(folder), "seed": config.get("seed", 0)}
    if table == "results":
        yield from _results(run, config, results)
    elif table == "epochs" and (folder / "metrics.jsonl").is_file():
        for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines():
            try:
                yield {**run, **json.loads(line)}
            except json.JSONDecodeError:  # the last line of a run that goes on
                continue
    elif table == "tasks" and results:
        for name, learner in results["learners"].items():
            for after, row in enumerate(learner["accuracy_matrix"], 1):
                for task, accuracy in enumerate(row, 1):
                    yield {**run, "learner": name, "after": after, "task": task, "accuracy": accuracy}
    elif table == "targets" and results:
        for name, target in results["targets"].items():
            yield {**run, "learner": results["main"], "target": name, **_target(target)}


def _results(run: Row, config: Row, results: Row | None) -> Iterator[Row]:
    shared = {name: config.get(name) for name in SHARED}
    for name, learner in config["learners"].items():
        own = {key: learner.get(key) for key in ("title", "neuron", "rule", "m", "settings", "levels")}
        found = {k: v for k, v in results["learners"][name].items() if k != "accuracy_matrix"} if results else {}
        yield {
            **run, "name": config["name"], "finished": results is not None, "learner": name,
            "main": name == config["main"], **own, **found, **shared,
            "versions": results["versions"] if results else None,
        }  # fmt: skip


def _target(target: Row) -> Row:
    certificate = target["certificate"] or {}
    accuracy, nodes = certificate.get("accuracy") or {}, (certificate.get("nodes") or {}).values()
    return {
        "available": target["available"],
        "reason": target["reason"],
        "problems": len(certificate.get("problems") or []),
        "accuracy_before": accuracy.get("before"),
        "accuracy_after": accuracy.get("after"),
        "differing": sum(node["differing"] for node in nodes) if nodes else None,
        "spikes": sum(node["total_spikes"] for node in nodes) if nodes else None,
    }
