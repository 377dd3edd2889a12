"""Imports point one way, and no file grows beyond four hundred lines."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ORDER = [
    {"errors", "types", "files"},
    {"surrogate", "weights", "encode", "topology"},
    {"scan"},
    {"neurons", "synapses"},
    {"executor"},
    {"network"},
    {"graph"},
    {"frontends"},
    {"target"},
    {"certificate", "quantise"},
    {"plasticity", "continual", "twins", "tasks", "data", "energy", "theory"},
    {"report"},
    {"runs"},
    {"cli", "__main__", "__init__"},
]
# graph.order, graph.contract and graph.operators know nothing of networks; graph.build does
TARGETS_MAY = {"errors", "types", "target", "graph", "energy"}


def rooms(source: str) -> set[tuple[str, str]]:
    """Package and room of every import in a source text, imports for type checking included."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            package, _, rest = name.partition(".")
            if package in ("neurospin", "hardware_targets"):
                found.add((package, rest.split(".")[0]))
    return found


def faults(path: Path, source: str) -> list[str]:
    """What a source text at `path` (relative to the root) imports that it must not."""
    package, room = path.parts[0], path.with_suffix("").parts[1]
    told = []
    for other, there in rooms(source):
        if package == "neurospin" and other == "hardware_targets":
            told.append(f"{path}: neurospin never imports hardware_targets")
        elif package == "neurospin":
            ranks = [next((i for i, names in enumerate(ORDER) if name in names), None) for name in (room, there)]
            if None in ranks or (ranks[1] > ranks[0] and room != there):
                told.append(f"{path}: {room} imports {there}")
        elif package == "hardware_targets" and other == "neurospin" and there not in TARGETS_MAY:
            told.append(f"{path}: hardware_targets imports neurospin.{there}")
    return told


def sources():
    return [p for name in ("neurospin", "hardware_targets") for p in sorted((ROOT / name).rglob("*.py"))]


def test_imports_point_one_way():
    told = [fault for path in sources() for fault in faults(path.relative_to(ROOT), path.read_text())]
    assert told == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("neurospin/network.py", "from neurospin.graph.build import to_graph"),
        ("neurospin/errors.py", "import neurospin.types as t\nimport neurospin.network"),
        ("neurospin/target.py", "import hardware_targets.reference"),
        ("neurospin/nowhere.py", "from neurospin.errors import InputError"),
        ("hardware_targets/x.py", "from neurospin.network import Network"),
        ("neurospin/scan/cpu.py", "if TYPE_CHECKING:\n    from neurospin.neurons import LIF"),
    ],
)
def test_the_test_sees_a_violation(path, source):
    assert faults(Path(path), source)


def test_no_import_goes_in_a_circle():
    graph: dict[str, set[str]] = {}
    for path in sources():
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        graph[name] = set()
        tree = ast.parse(path.read_text())
        guarded = {
            id(n)
            for i in ast.walk(tree)
            if isinstance(i, ast.If) and "TYPE_CHECKING" in ast.dump(i.test)
            for n in ast.walk(i)
        }
        for node in tree.body:
            if isinstance(node, ast.ImportFrom) and id(node) not in guarded:
                graph[name] |= {str(node.module), *(f"{node.module}.{a.name}" for a in node.names)}
    state: dict[str, int] = {}

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert state.get(name) != 1, f"circle: {' -> '.join((*trail, name))}"
        if state.get(name) != 2 and name in graph:
            state[name] = 1
            for other in sorted(graph[name]):
                if other != name:
                    visit(other, (*trail, name))
            state[name] = 2

    for name in graph:
        visit(name, ())


def test_no_file_is_two_things():
    long = {}
    for folder in ("neurospin", "hardware_targets", "tests", "experiments"):
        for path in (ROOT / folder).rglob("*.py"):
            count = len(path.read_text().splitlines())
            if count > 400:
                long[str(path.relative_to(ROOT))] = count
    assert long == {}


def test_every_public_name_is_there():
    import neurospin

    names = neurospin.__all__
    assert 30 < len(names) < 90
    for name in names:
        assert getattr(neurospin, name) is not None
        assert getattr(neurospin, name).__doc__, name
