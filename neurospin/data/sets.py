"""Data sets by name."""

from __future__ import annotations

from collections.abc import Callable

from neurospin.data.digits import Images, digits
from neurospin.data.images import fashion_mnist, kmnist, mnist
from neurospin.errors import unknown_name

SETS: dict[str, Callable[[int], Images]] = {
    "digits": digits,
    "mnist": mnist,
    "fashion_mnist": fashion_mnist,
    "kmnist": kmnist,
}
SOURCES = {
    "digits": "Alpaydin & Kaynak, UCI Machine Learning Repository, 1998, doi:10.24432/C50P49",
    "mnist": "LeCun et al., Proceedings of the IEEE 86:2278, 1998, doi:10.1109/5.726791",
    "fashion_mnist": "Xiao, Rasul & Vollgraf, arXiv:1708.07747",
    "kmnist": "Clanuwat et al., arXiv:1812.01718",
}


def load(name: str, seed: int = 0) -> Images:
    """A data set by name; see `neurospin.data.images` for where files are looked for.

    Raises:
        UnknownName: no data set of that name.
        MissingFile: its files are not there.
    """
    if name not in SETS:
        raise unknown_name("dataset", name, SETS, "data set")
    return SETS[name](seed)
