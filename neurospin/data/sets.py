"""Data sets by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from neurospin.data.digits import Images, digits
from neurospin.data.images import fashion_mnist, kmnist, mnist
from neurospin.data.nmnist import nmnist
from neurospin.errors import unknown_name

TYPES = tuple(f"shj_{kind}" for kind in ("I", "II", "III", "IV", "V", "VI"))


def _made(name: str, seed: int) -> Images:
    """A data set that is made of a task; tasks are imported when one is asked for, since streams of tasks need data."""
    from neurospin.data import categories

    return categories.SETS[name](seed)


SETS: dict[str, Callable[[int], Images]] = {
    "digits": digits,
    "mnist": mnist,
    "fashion_mnist": fashion_mnist,
    "kmnist": kmnist,
    "nmnist": nmnist,
    **{name: partial(_made, name) for name in ("randman", *TYPES, "five_four", "rule", "integration")},
}
SOURCES = {
    "digits": "Alpaydin & Kaynak, UCI Machine Learning Repository, 1998, doi:10.24432/C50P49",
    "mnist": "LeCun et al., Proceedings of the IEEE 86:2278, 1998, doi:10.1109/5.726791",
    "fashion_mnist": "Xiao, Rasul & Vollgraf, arXiv:1708.07747",
    "kmnist": "Clanuwat et al., arXiv:1812.01718",
    "nmnist": "Orchard et al., Frontiers in Neuroscience 9:437, 2015, doi:10.3389/fnins.2015.00437",
    "randman": "Zenke & Vogels, Neural Computation 33:899, 2021, doi:10.1162/neco_a_01367",
    **dict.fromkeys(TYPES, "Nosofsky et al., Memory & Cognition 22, 1994, doi:10.3758/BF03200862"),
    "five_four": "Medin & Schaffer, Psychological Review 85, 1978, doi:10.1037/0033-295X.85.3.207",
    **dict.fromkeys(
        ("rule", "integration"), "Ashby & Gott, J. Exp. Psychol. LMC 14, 1988, doi:10.1037/0278-7393.14.1.33"
    ),
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
