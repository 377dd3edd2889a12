"""What a synapse remembers: one rule per file, each usable on any torch model."""

from neurospin.plasticity.metaplastic import Metaplastic as Metaplastic
from neurospin.plasticity.rule import Rule as Rule
