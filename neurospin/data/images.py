"""MNIST, Fashion-MNIST and KMNIST from files that are on this machine already."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from neurospin.data.digits import Images
from neurospin.errors import InputError, MissingFile
from neurospin.files import existing

FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def home() -> Path:
    """The folder of data sets: `NEUROSPIN_DATA`, or `data` where one is."""
    return Path(os.environ.get("NEUROSPIN_DATA", "data"))


def _placed(folder: Path) -> Path:
    """The folder of a data set, after it is found to be there."""
    if not folder.is_dir():
        fix = f"put the files there, or set NEUROSPIN_DATA to the folder that holds {folder.name}/"
        raise MissingFile(str(folder), "the folder of a data set", "nothing there", fix)
    return folder


def read_idx(path: str | os.PathLike[str]) -> np.ndarray:
    """An array of bytes in the IDX format of MNIST, gzipped or not.

    Raises:
        MissingFile: no such file.
        InputError: not such a file, or one that was cut.
    """
    content = existing(path).read_bytes()
    try:
        raw = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except (OSError, EOFError) as error:
        raise InputError(str(path), "a whole gzip file", str(error), "get it again") from error
    dimensions = raw[3] if len(raw) > 4 and raw[:3] == b"\0\0\x08" else 0
    start = 4 + 4 * dimensions
    if not 0 < dimensions < 5 or len(raw) < start:
        raise InputError(str(path), "an IDX file of bytes", repr(raw[:4]), "take a file of MNIST")
    shape = tuple(int(n) for n in np.frombuffer(raw[4:start], ">u4"))
    values = np.frombuffer(raw[start:], np.uint8)
    if len(values) != int(np.prod(shape, dtype=object)):
        raise InputError(str(path), f"{shape} bytes", f"{len(values)}", "get it again")
    return values.reshape(shape)


def mnist(seed: int = 0, folder: str | os.PathLike[str] | None = None) -> Images:
    """Handwritten digits, 60 000 and 10 000 images of 28 × 28 pixels.

    Args:
        seed: not used; the split is that of the authors.
        folder: of the four IDX files; default `mnist` in `NEUROSPIN_DATA`.

    Source: LeCun, Bottou, Bengio & Haffner, Proceedings of the IEEE 86:2278, 1998, doi:10.1109/5.726791.
    """
    del seed
    return _four(Path(folder) if folder is not None else home() / "mnist")


def fashion_mnist(seed: int = 0, folder: str | os.PathLike[str] | None = None) -> Images:
    """Pictures of clothes, as many and as large as MNIST.

    Args:
        seed: not used; the split is that of the authors.
        folder: of the four IDX files; default `fashion-mnist` in `NEUROSPIN_DATA` or, where that is not,
            the folder of Debian's package `dataset-fashion-mnist`.

    Source: Xiao, Rasul & Vollgraf, arXiv:1708.07747.
    """
    del seed
    own, debian = home() / "fashion-mnist", Path("/usr/share/datasets/fashion-mnist")
    return _four(Path(folder) if folder is not None else own if own.is_dir() or not debian.is_dir() else debian)


def kmnist(seed: int = 0, folder: str | os.PathLike[str] | None = None) -> Images:
    """Cursive Japanese characters: the 10 000 test images, four fifths of each class for training.

    Args:
        seed: of the split.
        folder: of `kmnist-test-imgs.npz` and `kmnist-test-labels.npz`; default `kmnist` in
            `NEUROSPIN_DATA`.

    Source: Clanuwat et al., arXiv:1812.01718.
    """
    place = _placed(Path(folder) if folder is not None else home() / "kmnist")
    arrays = []
    for name in ("imgs", "labels"):
        with np.load(existing(place / f"kmnist-test-{name}.npz"), allow_pickle=False) as file:
            arrays.append(file["arr_0"])
    images, labels = arrays
    draw = np.random.default_rng(seed)
    test = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = draw.permutation(np.flatnonzero(labels == label))
        test[members[: len(members) // 5]] = True
    return Images(*_tensors(images[~test], labels[~test]), *_tensors(images[test], labels[test]))


def _four(folder: Path) -> Images:
    arrays = []
    for name in FILES:
        plain = _placed(folder) / name
        arrays.append(read_idx(plain if plain.is_file() else folder / f"{name}.gz"))
    return Images(*_tensors(arrays[0], arrays[1]), *_tensors(arrays[2], arrays[3]))


def _tensors(images: np.ndarray, labels: np.ndarray) -> tuple[Tensor, Tensor]:
    x = torch.from_numpy(images.reshape(len(images), -1).astype(np.float32) / 255)
    return x, torch.from_numpy(labels.astype(np.int64))
