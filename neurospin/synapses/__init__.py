"""Synapses between blocks of neurons, and the other maps that have no neurons."""

from neurospin.synapses.banks import Banks as Banks
from neurospin.synapses.base import Synapse as Synapse
from neurospin.synapses.conv import Conv as Conv
from neurospin.synapses.conv import Conv1d as Conv1d
from neurospin.synapses.conv import Conv2d as Conv2d
from neurospin.synapses.delay import Delay as Delay
from neurospin.synapses.dense import Dense as Dense
from neurospin.synapses.events import Events as Events
from neurospin.synapses.flatten import Flatten as Flatten
from neurospin.synapses.pool import AvgPool2d as AvgPool2d
from neurospin.synapses.pool import SumPool2d as SumPool2d
from neurospin.synapses.port import Port as Port
from neurospin.synapses.scale import Scale as Scale
from neurospin.synapses.threshold import Threshold as Threshold

KINDS: dict[str, type[Synapse]] = {
    kind.__name__.lower(): kind
    for kind in (AvgPool2d, Banks, Conv1d, Conv2d, Delay, Dense, Flatten, Port, Scale, SumPool2d, Threshold)
}
