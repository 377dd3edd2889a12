"""Digital twins: models of brains and of behaviour, fitted to recordings and to choices."""

from neurospin.twins import behaviour as behaviour
from neurospin.twins import ceilings as ceilings
from neurospin.twins import geometry as geometry
from neurospin.twins import scores as scores
from neurospin.twins import variability as variability
from neurospin.twins.ceilings import ceiling as ceiling
from neurospin.twins.data import Tensors as Tensors
from neurospin.twins.data import TwinData as TwinData
from neurospin.twins.nwb import from_nwb as from_nwb
from neurospin.twins.nwb import to_nwb as to_nwb
from neurospin.twins.responses import Counts as Counts
from neurospin.twins.responses import Signal as Signal
from neurospin.twins.responses import Spikes as Spikes
from neurospin.twins.scores import score as score
