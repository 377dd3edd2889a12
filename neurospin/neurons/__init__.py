"""Neurons: every one integrates `τ dv/dt = (v_leak − v) + r i` by forward Euler; see `neurospin.scan`."""

from neurospin.neurons.base import Neuron as Neuron
from neurospin.neurons.li import LI as LI
from neurospin.neurons.lif import LIF as LIF
from neurospin.neurons.rate import Rate as Rate

KINDS: dict[str, type[Neuron]] = {"lif": LIF, "li": LI, "rate": Rate}
