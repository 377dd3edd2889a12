"""Tasks: categories that humans and monkeys learn, as trials, as pictures and as streams; and twenty cognitive tasks."""

from neurospin.tasks.categories import SHJ as SHJ
from neurospin.tasks.categories import Trials as Trials
from neurospin.tasks.categories import five_four as five_four
from neurospin.tasks.categories import gaussian_categories as gaussian_categories
from neurospin.tasks.categories import shj as shj
from neurospin.tasks.multitask import MULTITASK as MULTITASK
from neurospin.tasks.multitask import Episodes as Episodes
from neurospin.tasks.multitask import multitask as multitask
from neurospin.tasks.pictures import Transfer as Transfer
from neurospin.tasks.pictures import gratings as gratings
from neurospin.tasks.pictures import irrelevant_variability as irrelevant_variability
from neurospin.tasks.pictures import objects as objects
from neurospin.tasks.pictures import pictures as pictures
from neurospin.tasks.randman import randman as randman
from neurospin.tasks.streams import category_stream as category_stream
