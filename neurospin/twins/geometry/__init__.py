"""Geometry of representations: distances, likeness, dimension, and what a linear reader can make of them.

Patterns are `(conditions, units)`; patterns with trials are `(conditions, trials, units)`.
"""

from neurospin.twins.geometry.codes import capacity as capacity
from neurospin.twins.geometry.codes import ccgp as ccgp
from neurospin.twins.geometry.codes import class_dimension as class_dimension
from neurospin.twins.geometry.codes import class_radius as class_radius
from neurospin.twins.geometry.codes import separable as separable
from neurospin.twins.geometry.codes import separable_fraction as separable_fraction
from neurospin.twins.geometry.codes import shattering_dimension as shattering_dimension
from neurospin.twins.geometry.dimension import cvpca as cvpca
from neurospin.twins.geometry.dimension import participation_ratio as participation_ratio
from neurospin.twins.geometry.dimension import signal_dimension as signal_dimension
from neurospin.twins.geometry.dimension import two_nn as two_nn
from neurospin.twins.geometry.measures import MEASURES as MEASURES
from neurospin.twins.geometry.measures import measures as measures
from neurospin.twins.geometry.rdm import RSA as RSA
from neurospin.twins.geometry.rdm import compare_rdms as compare_rdms
from neurospin.twins.geometry.rdm import crossnobis as crossnobis
from neurospin.twins.geometry.rdm import noise_ceiling as noise_ceiling
from neurospin.twins.geometry.rdm import rdm as rdm
from neurospin.twins.geometry.rdm import rsa as rsa
from neurospin.twins.geometry.similarity import angular_distance as angular_distance
from neurospin.twins.geometry.similarity import linear_cka as linear_cka
from neurospin.twins.geometry.similarity import procrustes as procrustes
