"""Training on a GPU, as far as that can be seen without one: every tensor of a step is where it should be."""

import sys

import pytest
import torch
import torch._dynamo  # here: not within the mode of tensors without values
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

import neurospin as ns
from neurospin.continual import learner
from neurospin.continual.moment import Moment
from neurospin.continual.share import Share
from neurospin.encode import Direct
from neurospin.runs import config, experiment
from tests.killing import TINY
from tests.test_runs import Quiet

OTHER = "lazy"  # a device that builds of torch for the processor know, too


def test_a_machine_without_a_gpu_refuses_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    wanted = config.parse({**TINY, "training": {**TINY["training"], "device": "cuda"}}, "test")
    with pytest.raises(
        ns.ConfigError, match=r"training.device: .* got cuda, and torch finds no GPU\. Fix: --set training"
    ):
        experiment.run(wanted, tmp_path / "run", Quiet())
    assert not list(tmp_path.iterdir())


VALUES = {"kalman", "bayesbinn", "bgd", "bimu", "mesu"}  # they look at a value, or at a key that they draw


@pytest.mark.parametrize("name", sorted(set(ns.plasticity.RULES) - VALUES - {"joint"}))
def test_no_step_mixes_devices(name, monkeypatch):
    """Tensors without values know their device: torch refuses an operation over two of them."""
    generator = torch.Generator
    monkeypatch.setattr(torch, "Generator", lambda device=None: generator())  # there is none for this device
    monkeypatch.setattr(sys.modules["torch.optim.adam"], "_device_dtype_check_for_fused", lambda *_, **__: None)
    net = ns.Network([ns.Dense(6, 5), ns.LIF(5), ns.Dense(5, 3), ns.LI(3)], dt=1e-3)
    with FakeTensorMode() as mode:
        elsewhere(net, mode)
        rule = ns.plasticity.make(name, net.parameters())
        x, y = torch.rand(8, 6), torch.zeros(8, dtype=torch.int64)
        moment = Moment(0, 0, torch.Generator(), order=torch.arange(8))
        learner._epoch(net, x, y, None, rule, Direct(4), 4, moment, Share(), False, lambda moment, samples: None)
        assert all(p.grad is not None and p.grad.device.type == OTHER for p in net.parameters() if p.requires_grad)
        assert moment.done == 8 and moment.totals.device.type == "cpu"


def test_the_test_sees_a_step_that_mixes_devices():
    net = ns.Network([ns.Dense(6, 5), ns.LIF(5)], dt=1e-3)
    with FakeTensorMode() as mode:
        elsewhere(net, mode)
        with pytest.raises(RuntimeError, match="device"):
            net(torch.rand(4, 8, 6))


def elsewhere(net, mode):
    """The network with all that it holds on the other device, without values."""
    for module in net.modules():
        for held in (module._parameters, module._buffers):
            for key, value in held.items():
                if value is not None:
                    moved = FakeTensor(
                        mode, torch.empty(value.shape, dtype=value.dtype, device="meta"), torch.device(OTHER)
                    )
                    held[key] = torch.nn.Parameter(moved) if isinstance(value, torch.nn.Parameter) else moved
