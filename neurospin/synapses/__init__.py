"""Synapses between blocks of neurons."""

from neurospin.synapses.base import Synapse as Synapse
from neurospin.synapses.dense import Dense as Dense
