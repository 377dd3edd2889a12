"""Neurons: every one integrates `τ dv/dt = (v_leak − v) + r i` by forward Euler; see `neurospin.scan`."""

from __future__ import annotations

from typing import Any

import nir
import numpy as np

from neurospin.errors import GraphError
from neurospin.neurons.alif import ALIF as ALIF
from neurospin.neurons.alpha import Alpha as Alpha
from neurospin.neurons.base import Neuron as Neuron
from neurospin.neurons.base import nir_names
from neurospin.neurons.cuba import CubaLI as CubaLI
from neurospin.neurons.cuba import CubaLIF as CubaLIF
from neurospin.neurons.discrete import DiscreteLIF as DiscreteLIF
from neurospin.neurons.li import LI as LI
from neurospin.neurons.li import Integrator as Integrator
from neurospin.neurons.lif import IF as IF
from neurospin.neurons.lif import LIF as LIF
from neurospin.neurons.rate import Rate as Rate
from neurospin.neurons.spiking import Spiking as Spiking

KINDS: dict[str, type[Neuron]] = {
    kind.__name__.lower(): kind for kind in (ALIF, Alpha, CubaLI, CubaLIF, DiscreteLIF, IF, Integrator, LI, LIF, Rate)
}


def from_nir(node: nir.NIRNode, **options: Any) -> Neuron:
    """The neurons that a NIR node describes.

    Args:
        node: I, IF, LI, LIF, CubaLI or CubaLIF.
        options: what NIR does not say, for example `reset="subtract"`, `learn`, `surrogate`, `dt`.

    Raises:
        GraphError: the node is no neuron.
        InputError: constants that no neuron can have.
    """
    for kind in KINDS.values():
        if kind.node is type(node):
            values = {ours: np.asarray(getattr(node, theirs)) for theirs, ours in nir_names(kind.node).items()}
            return kind(np.shape(node.r), **values, **options)  # type: ignore[arg-type]
    known = ", ".join(kind.node.__name__ for kind in KINDS.values() if kind.node)
    raise GraphError("from_nir", f"one of {known}", type(node).__name__, "give a neuron node")
