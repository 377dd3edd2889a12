"""What is seen while a run goes on: bars in a terminal, nothing elsewhere; events for TensorBoard equal to metrics.jsonl."""

import io
import json
import re
import subprocess
import sys
import warnings

import pytest
from rich.console import Console as Terminal

from neurospin.report.console import Console, SweepConsole
from neurospin.runs import config, experiment
from tests.killing import TINY

SMALL = {**TINY, "targets": []}


def watch(tmp_path, terminal):
    with Console(terminal) as console:
        experiment.run(config.parse(SMALL, "test"), tmp_path / "run", console, report=False)
    return terminal.file.getvalue()


def test_a_terminal_sees_rate_loss_accuracy_spikes_and_time(tmp_path):
    seen = watch(tmp_path, Terminal(file=io.StringIO(), force_terminal=True, width=160, color_system=None))
    drawn = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen)  # a bar is drawn over the one before
    last = [line for line in re.split(r"[\r\n]+", drawn) if line.startswith(("a ", "b "))][-2:]
    assert len(last) == 2
    for line in last:
        for word in ("100%", "task 2", "loss ", "accuracy 0.", "spikes/neuron ", " batches/s", "0:00:00"):
            assert word in line, (word, line)
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    shown = f"loss {rows[-1]['loss']:.2f}  accuracy {rows[-1]['accuracy']:.2f}"
    assert shown in last[-1]


def test_a_file_sees_nothing(tmp_path):
    assert watch(tmp_path, Terminal(file=io.StringIO())) == ""
    terminal = Terminal(file=io.StringIO())
    with SweepConsole(terminal) as console:
        console.cells(1, 1, 2, 9)
    assert terminal.file.getvalue() == ""


def test_a_sweep_shows_cells_and_failures():
    terminal = Terminal(file=io.StringIO(), force_terminal=True, width=120, color_system=None)
    with SweepConsole(terminal) as console:
        console.cells(3, 1, 2, 9)
    assert "4/9" in terminal.file.getvalue() and "2 running, 1 failed" in terminal.file.getvalue()


def test_events_are_those_of_metrics_jsonl(tmp_path):
    pytest.importorskip("tensorboard")
    from neurospin.runs.tensorboard import TensorBoard
    from neurospin.runs.train import Silent

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        with TensorBoard(tmp_path / "run", SMALL["training"]["epochs"], Silent()) as observer:
            experiment.run(config.parse(SMALL, "test"), tmp_path / "run", observer, report=False)
        rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
        for learner in "ab":
            events = EventAccumulator(str(tmp_path / "run" / "tensorboard" / learner))
            events.Reload()
            for name in ("loss", "accuracy", "spikes_per_neuron"):
                found = [(e.step, e.value) for e in events.Scalars(name)]
                wanted = [(2 * r["task"] + r["epoch"], r[name]) for r in rows if r["learner"] == learner]
                assert found == [(step, pytest.approx(value, rel=1e-6)) for step, value in wanted]


def test_without_tensorboard_the_install_line_is_told(tmp_path):
    code = "import sys; sys.modules['tensorboard'] = None\nfrom neurospin.cli import main\n"
    code += "sys.argv[1:] = ['run', 'e.yaml', '-o', 'run', '--tensorboard']\nmain()"
    (tmp_path / "e.yaml").write_text(config.parse(SMALL, "test").to_yaml())
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and "pip install 'neurospin[tensorboard]'" in done.stderr, done.stderr
    assert not (tmp_path / "run").exists()
