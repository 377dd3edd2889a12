"""Every refusal of neurospin, in one shape: `where: expected …, got …. Fix: ….`

Each kind is also the matching built-in error, so that `except ValueError` still works.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class NeurospinError(Exception):
    """A refusal that says where, what was expected, what came, and how to mend it.

    Args:
        where: the object and attribute at fault, for example `"lif1.tau_mem"`.
        expected: what would have been accepted.
        got: what came instead.
        fix: what the user can do about it.
    """

    def __init__(self, where: str, expected: str, got: str, fix: str) -> None:
        self.where, self.expected, self.got, self.fix = where, expected, got, fix
        super().__init__(where, expected, got, fix)

    def __str__(self) -> str:
        text = f"{self.where}: expected {self.expected}, got {self.got}. Fix: {self.fix}"
        return " ".join(text.split()) + ("" if text.endswith("?") else ".")


class InputError(NeurospinError, ValueError):
    """An argument, array or value that cannot be used."""


class ConfigError(NeurospinError, ValueError):
    """An experiment file or option that cannot be used."""


class GraphError(NeurospinError, ValueError):
    """A graph that is malformed, unsafe, or says what NIR cannot express."""


class UnknownName(NeurospinError, LookupError):
    """A name that no registry knows."""


class MissingFile(NeurospinError, FileNotFoundError):
    """A file or folder that is not there."""


class OutputError(NeurospinError, OSError):
    """A result that cannot be written."""


class TargetError(NeurospinError, RuntimeError):
    """A target that could not run a graph."""


class MissingDependency(NeurospinError, ImportError):
    """An optional package that is not installed; the fix is the command that installs it."""


def unknown_name(where: str, got: str, known: Iterable[str], kind: str = "name") -> UnknownName:
    """The error for a name that is not in a registry, with the nearest known name in the fix.

    Args:
        where: the option or argument that carried the name.
        got: the name that came.
        known: every name that would have been accepted.
        kind: what the names are, for example `"target"`.
    """
    names = sorted(known)
    near = difflib.get_close_matches(got, names, n=1, cutoff=0.5)
    fix = f"did you mean {near[0]!r}?" if near else f"choose a known {kind}"
    return UnknownName(where, f"one of {', '.join(names) or '(none)'}", repr(got), fix)
