"""Streams of tasks, learners on them, and what they kept."""

from neurospin.continual.calibration import Uncertainty as Uncertainty
from neurospin.continual.calibration import uncertainty as uncertainty
from neurospin.continual.comparison import Paired as Paired
from neurospin.continual.comparison import paired as paired
from neurospin.continual.learner import Epoch as Epoch
from neurospin.continual.learner import Result as Result
from neurospin.continual.learner import accuracy as accuracy
from neurospin.continual.learner import learn as learn
from neurospin.continual.linear import drifting_twin as drifting_twin
from neurospin.continual.mixing import blurred as blurred
from neurospin.continual.mixing import drifting as drifting
from neurospin.continual.mixing import shortened as shortened
from neurospin.continual.perceptron import Perceptron as Perceptron
from neurospin.continual.streams import Stream as Stream
from neurospin.continual.streams import Task as Task
from neurospin.continual.streams import permuted as permuted
from neurospin.continual.streams import rotated as rotated
from neurospin.continual.streams import sequence as sequence
from neurospin.continual.streams import split as split
from neurospin.continual.streams import subsets as subsets
