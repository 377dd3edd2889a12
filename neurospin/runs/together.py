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
def together(device: str = "cpu") -> Iterator[Share]:
    """The share of this process: everything, or, under `torchrun`, its part, over gloo; over NCCL between GPUs.

    With `device="cuda"` every process takes the GPU of its local rank.
    """
    world = int(os.environ.get("WORLD_SIZE", "1")) if all(name in os.environ for name in TOLD) else 1
    if device == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    if world == 1:
        yield Share()
        return
    distributed.init_process_group("cpu:gloo,cuda:nccl" if device == "cuda" else "gloo")
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
