"""Twins of behaviour: models that learn categories trial by trial, fitted to people and monkeys."""

from neurospin.twins.behaviour.alcove import ALCOVE as ALCOVE
from neurospin.twins.behaviour.errors import confusion as confusion
from neurospin.twins.behaviour.errors import error_consistency as error_consistency
from neurospin.twins.behaviour.errors import i1 as i1
from neurospin.twins.behaviour.errors import i2 as i2
from neurospin.twins.behaviour.errors import pairwise as pairwise
from neurospin.twins.behaviour.exemplar import GCM as GCM
from neurospin.twins.behaviour.exemplar import Prototype as Prototype
from neurospin.twins.behaviour.fit import Comparison as Comparison
from neurospin.twins.behaviour.fit import Fitted as Fitted
from neurospin.twins.behaviour.fit import choice_nll as choice_nll
from neurospin.twins.behaviour.fit import compare as compare
from neurospin.twins.behaviour.fit import cross_validated_nll as cross_validated_nll
from neurospin.twins.behaviour.fit import curve_sse as curve_sse
from neurospin.twins.behaviour.fit import fit_choices as fit_choices
from neurospin.twins.behaviour.fit import fit_curves as fit_curves
from neurospin.twins.behaviour.fit import fit_subjects as fit_subjects
from neurospin.twins.behaviour.fit import pooled_nll as pooled_nll
from neurospin.twins.behaviour.learner import Learner as Learner
from neurospin.twins.behaviour.learner import Parameter as Parameter
from neurospin.twins.behaviour.learner import correct as correct
from neurospin.twins.behaviour.mlp import MLP as MLP
from neurospin.twins.behaviour.psychometric import Psychometric as Psychometric
from neurospin.twins.behaviour.psychometric import fit_psychometric as fit_psychometric
from neurospin.twins.behaviour.spiking import LIFExemplar as LIFExemplar
from neurospin.twins.behaviour.sustain import SUSTAIN as SUSTAIN
