"""Figures: one function each, `(figure, axes)` back, units on every axis, colours that everybody can tell apart.

Okabe and Ito's colours; cividis for what grows, blue to orange for what has two signs. Text stays text in SVG. No global
state of matplotlib is used.
"""

from neurospin.report.plots.activity import raster as raster
from neurospin.report.plots.activity import traces as traces
from neurospin.report.plots.base import COLOURS as COLOURS
from neurospin.report.plots.base import STYLE as STYLE
from neurospin.report.plots.base import save as save
from neurospin.report.plots.base import svg as svg
from neurospin.report.plots.certificate import certificate as certificate
from neurospin.report.plots.devices import conductances as conductances
from neurospin.report.plots.devices import drift as drift
from neurospin.report.plots.devices import ir_drop as ir_drop
from neurospin.report.plots.flexible import changes as changes
from neurospin.report.plots.flexible import over_learning as over_learning
from neurospin.report.plots.geometry import dimension as dimension
from neurospin.report.plots.geometry import rdms as rdms
from neurospin.report.plots.learning import accuracy_matrix as accuracy_matrix
from neurospin.report.plots.learning import category_curves as category_curves
from neurospin.report.plots.learning import forgetting_curves as forgetting_curves
from neurospin.report.plots.learning import hidden_values as hidden_values
from neurospin.report.plots.learning import learning_curves as learning_curves
from neurospin.report.plots.learning import synapses as synapses
from neurospin.report.plots.pulses import ageing as ageing
from neurospin.report.plots.pulses import hysteresis as hysteresis
from neurospin.report.plots.pulses import pulse_response as pulse_response
from neurospin.report.plots.pulses import switching as switching
from neurospin.report.plots.pulses import wear as wear
from neurospin.report.plots.pulses import yields as yields
from neurospin.report.plots.targets import agreement as agreement
from neurospin.report.plots.targets import pareto as pareto
