"""Public data sets, and the small ones that come with a dependency."""

from neurospin.data.digits import digits as digits
from neurospin.data.digits import load as load
