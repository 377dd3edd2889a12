"""Certificates: what changed between a model and what a target made of it, and which cause changed how much."""

from neurospin.certificate.certify import certify as certify
from neurospin.certificate.content import Agreement as Agreement
from neurospin.certificate.content import Cause as Cause
from neurospin.certificate.content import Certificate as Certificate
from neurospin.certificate.content import Deviation as Deviation
from neurospin.certificate.content import Difference as Difference
from neurospin.certificate.content import Trace as Trace
