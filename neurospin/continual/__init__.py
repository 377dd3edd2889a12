"""Streams of tasks, learners on them, and what they kept."""

from neurospin.continual.learner import Epoch as Epoch
from neurospin.continual.learner import Result as Result
from neurospin.continual.learner import accuracy as accuracy
from neurospin.continual.learner import learn as learn
from neurospin.continual.streams import Stream as Stream
from neurospin.continual.streams import Task as Task
from neurospin.continual.streams import permuted as permuted
