"""The reference: one page a subject, of every public name, from the code as it is.

Names are read from the stubs and from the imports of packages, so that a new name is on its page at once.
Docstrings are plain text with `code` in backticks; what reStructuredText would take for markup is escaped.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
OURS = ("neurospin", "hardware_targets")
TOP = {  # of the names of `neurospin`, by the module that they come from
    "Networks": ("network", "weights", "encode", "types"),
    "Neurons and surrogates": ("neurons", "surrogate"),
    "Synapses": ("synapses",),
    "Graphs": ("graph", "report", "quantise"),
    "Targets and certificates": ("target", "certificate"),
    "snnTorch and Norse": ("frontends",),
    "Errors": ("errors",),
}
PAGES: dict[str, tuple[str, ...]] = {
    "Rules of plasticity": ("neurospin.plasticity",),
    "Continual learning": ("neurospin.continual",),
    "Encoding": ("neurospin.encode",),
    "Energy": ("neurospin.energy",),
    "Twins": ("neurospin.twins", "neurospin.twins.ceilings", "neurospin.twins.scores", "neurospin.twins.variability"),
    "Geometry of representations": ("neurospin.twins.geometry",),
    "Twins of behaviour": ("neurospin.twins.behaviour",),
    "Tasks and data": ("neurospin.tasks", "neurospin.data"),
    "Theory": ("neurospin.theory",),
    "Pictures": ("neurospin.report.plots",),
    "Runs and reports": ("neurospin.runs", "neurospin.report.html"),
    "Crossbar": ("hardware_targets.crossbar", "hardware_targets.crossbar.devices"),
}


def names(module: str) -> list[str]:
    """Public classes and functions of a module, in the order of the file; those that it gives on (`x as x`), too."""
    place = ROOT / module.replace(".", "/")
    stub = place / "__init__.pyi"
    file = stub if stub.is_file() else place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    found = []
    listed: list[str] = []
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.module and (node.level or node.module.startswith(OURS)):
            found += [alias.name for alias in node.names if alias.name == alias.asname and alias.name[0] != "_"]
        elif isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
            found.append(node.name)
        elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            listed = [ast.literal_eval(item) for item in getattr(node.value, "elts", [])]
    return listed or found


def _origins() -> dict[str, str]:
    """The first part of the module that a name of `neurospin` comes from."""
    stub = ast.parse((ROOT / "neurospin" / "__init__.pyi").read_text(encoding="utf-8"))
    pairs = {}
    for node in stub.body:
        if isinstance(node, ast.ImportFrom) and node.module:
            pairs |= {alias.name: node.module.split(".")[0] for alias in node.names}
    return pairs


def _entry(module: str, name: str) -> str:
    import importlib

    thing = getattr(importlib.import_module(module), name)
    if isinstance(thing, type):
        return f".. autoclass:: {module}.{name}\n"
    return (
        f".. autofunction:: {module}.{name}\n" if callable(thing) else f".. autodata:: {module}.{name}\n   :no-value:\n"
    )


def _submodules(package: str) -> list[str]:
    place = ROOT / package.replace(".", "/")
    return sorted(f"{package}.{p.stem}" for p in place.glob("[a-z]*.py"))


def pages() -> dict[str, str]:
    """File name and text of every page of the reference."""
    written: dict[str, str] = {}
    origins = _origins()
    listed = {name for parts in TOP.values() for name in parts}
    for title, parts in TOP.items():
        mine = [n for n, part in origins.items() if part in parts or (title == "Networks" and part not in listed)]
        written[title] = "".join(_entry("neurospin", name) + "\n" for name in mine)
    for title, modules in PAGES.items():
        text = ""
        for module in modules:
            inside = [module] if names(module) else _submodules(module)
            for one in inside:
                text += f".. automodule:: {one}\n   :no-members:\n\n" if len(inside) + len(modules) > 2 else ""
                text += "".join(_entry(one, name) + "\n" for name in names(one))
        written[title] = text
    heads = {title: f"{title}\n{'=' * len(title)}\n\n" for title in written}
    files = {re.sub(r"\W+", "_", title.lower()): heads[title] + text for title, text in written.items()}
    listing = "".join(f"   {name}\n" for name in files)
    files["index"] = "Reference\n=========\n\n" + INTRODUCTION + "\n.. toctree::\n   :maxdepth: 1\n\n" + listing
    return files


INTRODUCTION = """Every public name, with its equation, shapes, units, defaults and source. ``import neurospin as ns``
loads a name when it is first used.
"""


def _write(app: Any) -> None:
    folder = ROOT / "docs" / "api"
    folder.mkdir(exist_ok=True)
    content = pages()
    for old in folder.glob("*.rst"):
        if old.stem not in content:
            old.unlink()
    for name, text in content.items():
        place = folder / f"{name}.rst"
        if not place.is_file() or place.read_text(encoding="utf-8") != text:
            place.write_text(text, encoding="utf-8")


def plain(lines: list[str]) -> list[str]:
    """A docstring as reStructuredText means it: markup escaped outside of backticks and literal blocks; DOIs as links."""
    done, literal = [], -1
    for line in lines:
        depth = len(line) - len(line.lstrip())
        if literal >= 0 and line.strip() and depth <= literal:
            literal = -1
        if literal >= 0:
            done.append(line)
            continue
        if line.rstrip().endswith("::"):
            literal = depth
        done.append(_escaped(line))
    return done


def _escaped(line: str) -> str:
    parts = re.split(r"(``.*?``|`[^`]*`)", line)
    for number in range(0, len(parts), 2):
        text = re.sub(r"(?<!\\)([*|])", r"\\\1", parts[number])
        text = re.sub(r"(\w)_(?=\W|$)", r"\1\\_", text)
        parts[number] = re.sub(r"\bdoi:(10\.\d+/[^\s,;)]*[\w/])", r"`doi:\1 <https://doi.org/\1>`__", text)
    return "".join(parts)


def _docstring(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    lines[:] = [] if what == "data" and thing.__doc__ == type(thing).__doc__ else plain(lines)


def setup(app: Any) -> dict[str, bool]:
    """Sphinx's entry."""
    app.connect("builder-inited", _write)
    app.connect("autodoc-process-docstring", _docstring, priority=100)  # before napoleon
    return {"parallel_read_safe": True, "parallel_write_safe": True}
