"""`Fit`: a fitted twin, which predicts, samples, and goes to disk and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neurospin.errors import InputError
from neurospin.files import existing, replacing
from neurospin.twins import cores
from neurospin.twins.data import TwinData
from neurospin.twins.prepare import Prepared
from neurospin.twins.twin import Model, Twin

CORES = {kind.__name__: kind for kind in (cores.FeedForward, cores.Recurrent, cores.Convolution)}


@dataclass(frozen=True)
class Fit:
    """A fitted twin.

    Attributes:
        twin: the description.
        model: the fitted module; `model.core` is the `Network` that can be exported.
        seed: of initial values and batches.
        iteration: at which the kept parameters were reached: the last one, or the best on the validation trials.
        settings: of the fit, by name.
        losses: of the training trials, `(iterations,)`; with the terms and penalties.
        validation: pairs of iteration and negative log-likelihood per response of the validation trials.
        seconds: of the processor.
    """

    twin: Twin
    model: Model
    seed: int
    iteration: int
    settings: Mapping[str, float | str]
    losses: np.ndarray = field(repr=False)
    validation: np.ndarray = field(repr=False)
    seconds: float = 0.0

    def predict(self, data: TwinData) -> np.ndarray:
        """Expected responses to every trial of `data`, `(trials, bins, units)`, whatever its tier."""
        self.model.eval()
        prepared = Prepared.of(self.twin, data, grouped=False, model=self.model)
        with torch.no_grad():
            if not self.twin.covariates:  # the same stimulus, the same prediction
                return in_parts(self.model, prepared.stimuli).transpose(0, 1)[prepared.shown].double().numpy()
            return in_parts(
                self.model, prepared.stimuli[prepared.shown], prepared.covariates
            ).transpose(0, 1).double().numpy()  # fmt: skip

    def sample(self, data: TwinData, *, seed: int = 0) -> np.ndarray:
        """Responses drawn at random to every trial of `data`, `(trials, bins, units)`, noise of the core included."""
        self.model.eval()
        generator = torch.Generator().manual_seed(seed)
        prepared = Prepared.of(self.twin, data, grouped=False, model=self.model)
        with torch.no_grad():
            mean = self.model(prepared.stimuli[prepared.shown], prepared.covariates, generator, noisy=True)
            return self.model.observation.sample(mean, generator).transpose(0, 1).double().numpy()

    def save(self, path: str | Path) -> None:
        """Write everything into one `.npz`, whole or not at all; nothing in it needs pickle.

        Raises:
            InputError: a core of a kind of your own.
            OutputError: the file cannot be written.
        """
        kind = type(self.twin.core).__name__
        if CORES.get(kind) is not type(self.twin.core):
            raise InputError("Fit.save", f"a core of the kinds {', '.join(CORES)}", kind, "keep its state_dict")
        model = self.model
        header = {
            "format": 1, "core": kind, "twin": asdict(self.twin), "size": model.size, "units": model.readout.units,
            "bins": model.bins, "dt": model.dt, "covariates": model.covariates, "seed": self.seed,
            "iteration": self.iteration, "settings": dict(self.settings), "seconds": self.seconds,
            "fixed": [name for name, parameter in model.named_parameters() if not parameter.requires_grad],
        }  # fmt: skip
        arrays = {f"model/{name}": value.detach().cpu().numpy() for name, value in model.state_dict().items()}
        arrays |= {"losses": self.losses, "validation": self.validation, "header": np.array(json.dumps(header))}
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)

    @staticmethod
    def load(path: str | Path) -> Fit:
        """Read what `save` wrote.

        Raises:
            MissingFile: nothing there.
            InputError: not such a file.
        """
        place = existing(path)
        try:
            with np.load(place, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            told = json.loads(str(arrays["header"]))
            twin = _described(told["core"], told["twin"])
            model = Model(
                twin, tuple(told["size"]), told["units"], told["bins"], told["dt"], told["covariates"], told["seed"]
            )
            _fill(model, {n.removeprefix("model/"): v for n, v in arrays.items() if n.startswith("model/")})
            for name in told["fixed"]:
                model.get_parameter(name).requires_grad_(False)
            model.eval()
            return Fit(
                twin, model, told["seed"], told["iteration"], told["settings"], arrays["losses"], arrays["validation"],
                told["seconds"],
            )  # fmt: skip
        except Exception as error:
            raise InputError(str(place), "a file written by Fit.save", str(error), "check the file") from error


def _described(kind: str, settings: Mapping[str, Any]) -> Twin:
    """A twin from plain values, in which a tuple became a list."""
    plain: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in settings.items() if n != "core"}
    core: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in settings["core"].items()}
    return Twin(CORES[kind](**core), **plain)


def _fill(model: Model, arrays: Mapping[str, np.ndarray]) -> None:
    """Give a model its values; a fixed constant may have become one per neuron (see `stimulated`)."""
    for name, value in arrays.items():
        owner, _, leaf = name.rpartition(".")
        buffers = model.get_submodule(owner)._buffers
        if leaf in buffers:
            buffers[leaf] = torch.as_tensor(value)
    model.load_state_dict({name: torch.as_tensor(value) for name, value in arrays.items()})


def in_parts(model: Model, stimuli: Tensor, covariates: Mapping[str, Tensor] | None = None, size: int = 256) -> Tensor:
    """The model's answer, some stimuli at a time."""
    parts = [
        model(stimuli[i : i + size], {n: c[:, i : i + size] for n, c in (covariates or {}).items()})
        for i in range(0, len(stimuli), size)
    ]
    return torch.cat(parts, dim=1)
