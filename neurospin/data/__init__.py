"""Public data sets: those that come with a dependency, and those that lie in a folder."""

from neurospin.data.digits import Images as Images
from neurospin.data.digits import digits as digits
from neurospin.data.images import fashion_mnist as fashion_mnist
from neurospin.data.images import kmnist as kmnist
from neurospin.data.images import mnist as mnist
from neurospin.data.nmnist import nmnist as nmnist
from neurospin.data.sets import SOURCES as SOURCES
from neurospin.data.sets import load as load
