"""What a synapse remembers: one rule per file, each usable on any torch model."""

from neurospin.plasticity.evidence import Evidence as Evidence
from neurospin.plasticity.ewc import EWC as EWC
from neurospin.plasticity.mas import MAS as MAS
from neurospin.plasticity.metaplastic import Metaplastic as Metaplastic
from neurospin.plasticity.naive import Naive as Naive
from neurospin.plasticity.rule import Rule as Rule
from neurospin.plasticity.si import SI as SI
