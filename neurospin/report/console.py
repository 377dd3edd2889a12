"""What a person sees in the terminal: progress while it runs, one table at the end."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, requires, version
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from rich import progress
from rich.console import Console as Terminal
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from neurospin.continual import Epoch
    from neurospin.continual.moment import Moment
    from neurospin.target import TargetStatus

Item = TypeVar("Item")
PACKAGES = (
    "neurospin", "torch", "numpy", "scipy", "nir", "h5py", "safetensors", "matplotlib", "snntorch", "norse", "numba",
)  # fmt: skip


class _Bars:
    """Bars on a terminal, for as long as a block runs; quiet elsewhere."""

    def __init__(self, terminal: Terminal | None, *columns: progress.ProgressColumn) -> None:
        self.terminal = terminal or Terminal(highlight=False)
        self.bars = progress.Progress(*columns, console=self.terminal, disable=not self.terminal.is_terminal)

    def __enter__(self) -> Self:
        self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bars.stop()

    def say(self, text: str) -> None:
        """A line of text above the bars."""
        self.terminal.print(text, markup=False)


class Console(_Bars):
    """Progress bars in a terminal, with what the epoch gave so far; quiet elsewhere. An observer of `neurospin.runs`."""

    def __init__(self, terminal: Terminal | None = None) -> None:
        super().__init__(
            terminal, progress.TextColumn("{task.description:24}"), progress.BarColumn(),
            progress.TaskProgressColumn(), progress.TextColumn("{task.fields[state]}"), _Rate(),
            progress.TimeRemainingColumn(),
        )  # fmt: skip
        self.task: progress.TaskID | None = None

    def begin(self, learner: str, batches: int, done: int) -> None:
        """A learner begins."""
        self.task = self.bars.add_task(learner, total=batches, completed=done, state="")

    def batch(self, moment: Moment) -> None:
        """A batch is done."""
        if self.task is None or self.bars.disable:
            return
        loss, accuracy, spikes = moment.means
        state = f"task {moment.task + 1}  loss {loss:.2f}  accuracy {accuracy:.2f}"
        state += f"  spikes/neuron {spikes:.1f}" if spikes else ""
        self.bars.update(self.task, advance=1, state=state)

    def epoch(self, learner: str, epoch: Epoch) -> None:
        """An epoch is done; the bar knows."""

    def stage(self, text: str) -> None:
        """What is being done now, on a terminal."""
        if self.terminal.is_terminal:
            self.terminal.print(text)


class _Rate(progress.ProgressColumn):
    """Batches per second."""

    def render(self, task: progress.Task) -> Text:
        """Of the last moments; of the whole once it is done."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f} batches/s")


class SweepConsole(_Bars):
    """One bar over the cells of a sweep, in a terminal. A watcher of `neurospin.runs.sweep`."""

    def __init__(self, terminal: Terminal | None = None) -> None:
        super().__init__(
            terminal, progress.TextColumn("cells"), progress.BarColumn(), progress.MofNCompleteColumn(),
            progress.TextColumn("{task.fields[state]}"), progress.TimeElapsedColumn(), progress.TimeRemainingColumn(),
        )  # fmt: skip
        self.task = self.bars.add_task("cells", total=None, state="")

    def cells(self, done: int, failed: int, running: int, total: int) -> None:
        """How far the sweep is."""
        state = f"{running} running" + (f", {failed} failed" if failed else "")
        self.bars.update(self.task, total=total, completed=done + failed, state=state)


def outcome_table(failed: Mapping[str, str]) -> None:
    """The cells that failed, and why."""
    if not failed:
        return
    table = Table(title="cells that failed")
    table.add_column("cell", overflow="fold")
    table.add_column("why", overflow="fold")
    for name, why in failed.items():
        table.add_row(name, why)
    print_table(table)


def print_table(table: Table) -> None:
    """Print a table as wide as the terminal, or 120 columns where there is none."""
    terminal = Terminal(highlight=False)
    if not terminal.is_terminal:
        terminal.width = 120  # a file or a pipe has no width of its own
    terminal.print(table)


def results_table(results: Mapping[str, Any]) -> None:
    """One table: what every learner kept, and what every target did to the main one."""
    table = Table(title=f"{results['name']}, seed {results['seed']}: {len(results['stream']['tasks'])} tasks")
    for column in ("learner", "all tasks", "just learned", "lost since"):
        table.add_column(column, justify="left" if column == "learner" else "right", no_wrap=True)
    for learner in results["learners"].values():
        table.add_row(
            learner["title"],
            f"{100 * learner['average_accuracy']:.1f} %",
            f"{100 * learner['learning_accuracy']:.1f} %",
            f"{-100 * learner['backward_transfer']:.1f} points",
        )
    if results["main"] is None:
        print_table(table)
        return
    table.add_section()
    table.add_row(f"[bold]{results['main']} on", "[bold]accuracy", "[bold]before", "[bold]spikes that differ")
    for name, target in results["targets"].items():
        certificate = target["certificate"]
        if not target["available"]:
            table.add_row(name, "not here", "", "neurospin targets")
        elif certificate["problems"]:
            table.add_row(name, "does not run", "", "neurospin check")
        else:
            differing = sum(node["differing"] for node in certificate["nodes"].values())
            spikes = sum(node["total_spikes"] for node in certificate["nodes"].values())
            accuracy = certificate["accuracy"]
            table.add_row(
                name,
                f"{100 * accuracy['after']:.1f} %",
                f"{100 * accuracy['before']:.1f} %",
                f"{differing} of {spikes}" if differing else f"none of {spikes}",
            )
    print_table(table)


SHOWN_ROWS = 100


def rows_table(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """The answer of a query; the first hundred rows."""
    table = Table()
    for name in names:
        table.add_column(name, overflow="fold")
    for row in rows[:SHOWN_ROWS]:
        table.add_row(*(f"{value:.6g}" if isinstance(value, float) else str(value) for value in row))
    print_table(table)
    if len(rows) > SHOWN_ROWS:
        Terminal(highlight=False).print(f"and {len(rows) - SHOWN_ROWS} more rows; --output writes them all")


@contextmanager
def steps(title: str, items: Sequence[Item]) -> Iterator[Iterable[Item]]:
    """The items, with a bar in a terminal that goes on as they are taken, and goes away."""
    terminal = Terminal(stderr=True)
    with progress.Progress(console=terminal, transient=True, disable=not terminal.is_terminal) as bars:
        yield bars.track(items, description=title)


def targets_table(found: Iterable[TargetStatus]) -> None:
    """Every target, and why one cannot be used here."""
    table = Table()
    for column in ("target", "here", "package", "why not"):
        table.add_column(column)
    for status in found:
        table.add_row(status.name, "yes" if status.available else "no", status.package, Text(status.reason))
    print_table(table)


def doctor_table() -> None:
    """Versions, what each extra needs and lacks, devices and targets."""
    import torch

    from neurospin.target import targets

    table = Table(title="neurospin doctor")
    table.add_column("what")
    table.add_column("found", overflow="fold")
    table.add_row("python", platform.python_version())
    for name in PACKAGES:
        table.add_row(name, _version(name) or "not installed")
    table.add_section()
    for name, packages in extras().items():
        lacking = [package for package in packages if not _version(package)]
        told = ", ".join(f"{package} {_version(package)}" for package in packages if package not in lacking)
        missing = f"lacks {', '.join(lacking)}: pip install 'neurospin[{name}]'"
        table.add_row(f"extra {name}", Text(missing if lacking else told))  # [name] is no markup
    table.add_section()
    table.add_row("threads", str(torch.get_num_threads()))
    table.add_row("GPU", torch.cuda.get_device_name() if torch.cuda.is_available() else "none")
    for status in targets():
        table.add_row(f"target {status.name}", Text("runs here" if status.available else f"no: {status.reason}"))
    print_table(table)


def extras() -> dict[str, list[str]]:
    """What each extra of neurospin needs, from its installed metadata."""
    found: dict[str, list[str]] = {}
    for line in requires("neurospin") or []:
        asked = re.search(r"""extra == ["']([^"']+)["']""", line)
        if asked and (name := re.match(r"[\w.-]+", line)):
            found.setdefault(asked[1], []).append(name[0])
    return found


def _version(package: str) -> str:
    """Of what is installed, or nothing."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
