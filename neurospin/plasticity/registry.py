"""Rules by name, for experiment files."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from neurospin.errors import InputError, unknown_name
from neurospin.plasticity.around import Around
from neurospin.plasticity.bayesbinn import BayesBiNN
from neurospin.plasticity.bennafusi import BennaFusi
from neurospin.plasticity.bgd import BGD
from neurospin.plasticity.bimu import BiMU
from neurospin.plasticity.device_aware import DeviceAware
from neurospin.plasticity.ewc import EWC
from neurospin.plasticity.kalman import Kalman
from neurospin.plasticity.mas import MAS
from neurospin.plasticity.mesu import MESU
from neurospin.plasticity.metaplastic import Metaplastic
from neurospin.plasticity.naive import Naive
from neurospin.plasticity.probabilistic import ProbabilisticMetaplasticity
from neurospin.plasticity.replay import Joint, Replay
from neurospin.plasticity.rule import Rule
from neurospin.plasticity.si import SI

RULES: dict[str, type[Rule]] = {
    "metaplastic": Metaplastic,
    "naive": Naive,
    "joint": Joint,
    "replay": Replay,
    "ewc": EWC,
    "si": SI,
    "mas": MAS,
    "benna_fusi": BennaFusi,
    "bgd": BGD,
    "mesu": MESU,
    "kalman": Kalman,
    "bayesbinn": BayesBiNN,
    "bimu": BiMU,
    "probabilistic": ProbabilisticMetaplasticity,
    "device_aware": DeviceAware,
}


def kind(name: str, settings: Mapping[str, Any] | None = None, where: str = "rule") -> type[Rule]:
    """The class of a rule, its settings' names checked.

    Raises:
        UnknownName: no rule of that name, or no setting of that name of this rule.
    """
    if name not in RULES:
        raise unknown_name(where, name, RULES, "rule")
    known = [n for n in inspect.signature(RULES[name]).parameters if n not in ("params", "base", "storage")]
    for setting in settings or {}:
        if setting not in known:
            raise unknown_name(f"{where} {name}", setting, known, "setting")
    return RULES[name]


def make(
    name: str,
    params: Iterable[Tensor] | Iterable[dict[str, Any]],
    settings: Mapping[str, Any] | None = None,
    *,
    lr: float = 1e-2,
    eps: float = 1e-3,
) -> Rule:
    """A rule over parameters; rules around an optimizer stand around Adam (torch's fused one).

    Args:
        name: see `RULES`.
        params: parameters or groups of them.
        settings: of the rule.
        lr, eps: of Adam, also inside `"metaplastic"`; other rules have their own, among the settings.

    Raises:
        UnknownName: no such rule or setting.
        InputError: a setting that the rule refuses.
    """
    settings = dict(settings or {})
    rule = kind(name, settings)
    for setting, parameter in inspect.signature(rule).parameters.items():
        if parameter.annotation == "int" and not isinstance(settings.get(setting, 0), int):
            raise InputError(f"{rule.__name__}.{setting}", "a whole number", repr(settings[setting]), "round it")
    if issubclass(rule, Around):
        return rule(torch.optim.Adam(params, lr=lr, eps=eps, fused=True), **settings)
    if rule is Metaplastic:
        settings = {"lr": lr, "eps": eps, **settings}
    return rule(params, **settings)  # type: ignore[call-arg]
