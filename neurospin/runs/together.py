"""Several processes that train one network: started by `torchrun`, joined here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import distributed

from neurospin.continual.share import Share

TOLD = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@contextmanager
def together() -> Iterator[Share]:
    """The share of this process: everything, or, under `torchrun`, its part, over gloo."""
    world = int(os.environ.get("WORLD_SIZE", "1")) if all(name in os.environ for name in TOLD) else 1
    if world == 1:
        yield Share()
        return
    distributed.init_process_group("gloo")
    try:
        yield Share(distributed.get_rank(), world)
    finally:
        distributed.destroy_process_group()


def tell(share: Share, fact: bool = False) -> bool:
    """What the first process says, in every process."""
    said = torch.tensor([int(fact)])
    if share.world > 1:
        distributed.broadcast(said, 0)
    return bool(said)
