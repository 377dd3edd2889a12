"""Tasks: categories that humans and monkeys learn, as trials that a learner meets one after the other."""

from neurospin.tasks.categories import SHJ as SHJ
from neurospin.tasks.categories import Trials as Trials
from neurospin.tasks.categories import five_four as five_four
from neurospin.tasks.categories import gaussian_categories as gaussian_categories
from neurospin.tasks.categories import shj as shj
