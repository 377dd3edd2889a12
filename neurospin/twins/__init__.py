"""Digital twins: models of brains and of behaviour, fitted to recordings and to choices."""

from neurospin.twins import behaviour as behaviour
from neurospin.twins import ceilings as ceilings
from neurospin.twins import geometry as geometry
from neurospin.twins import scores as scores
from neurospin.twins import variability as variability
from neurospin.twins.ceilings import ceiling as ceiling
from neurospin.twins.scores import score as score
