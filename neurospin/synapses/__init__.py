"""Synapses between blocks of neurons."""

from neurospin.synapses.base import Synapse as Synapse
from neurospin.synapses.delay import Delay as Delay
from neurospin.synapses.dense import Dense as Dense
from neurospin.synapses.events import Events as Events
