"""The compiled time loop inside torch: compilers, transforms, gradients of gradients, processes, autocast."""

import pytest
import torch
from torch import multiprocessing

import neurospin as ns
from neurospin.scan import _HAS, scan
from neurospin.scan.fused import scan_backward, scan_forward
from neurospin.scan.spec import coefficients, decode, spec
from tests.test_scan import agree, gradients, problem, start

pytest.importorskip("numba")


def block(**options):
    return ns.LIF(6, tau_mem=torch.linspace(5e-3, 20e-3, 6), r=4.0, dt=1e-3, **options)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_it_compiles_without_a_graph_break():
    n = block(learn=("tau_mem",))
    x = torch.randn(9, 3, 6, requires_grad=True)
    g = torch.randn(9, 3, 6)

    def run(x):
        return n(x)[0] * 2

    truth = run(x)
    found = torch.compile(run, fullgraph=True, backend="aot_eager")(x)
    assert torch.equal(truth, found)
    for a, b in zip(*(torch.autograd.grad(o, (x, *n.parameters()), g) for o in (truth, found)), strict=True):
        torch.testing.assert_close(a, b)


def test_vmap_and_per_sample_gradients():
    n = block(learn=("tau_mem", "v_threshold"))
    x = torch.randn(5, 9, 3, 6)
    mapped = torch.vmap(lambda y: n(y)[0])(x)
    assert torch.equal(mapped, torch.stack([n(y)[0] for y in x]))
    parameters = {k: v.detach() for k, v in n.named_parameters()}

    def loss(parameters, y):
        return (torch.func.functional_call(n, parameters, (y,))[0] * y).sum()

    each = torch.vmap(torch.func.grad(loss), in_dims=(None, 0))(parameters, x)
    for k, y in enumerate(x):
        grads = torch.autograd.grad(loss(dict(n.named_parameters()), y), list(n.parameters()))
        for name, truth in zip(parameters, grads, strict=True):
            torch.testing.assert_close(each[name][k], truth, rtol=1e-4, atol=1e-5)
    # an ensemble: every model has its own constants
    many = {name: value + 0.1 * torch.randn(5, *value.shape) for name, value in parameters.items()}
    each = torch.vmap(torch.func.grad(loss))(many, x)
    for k, y in enumerate(x):
        truth = torch.func.grad(loss)({name: value[k] for name, value in many.items()}, y)
        for name in truth:
            torch.testing.assert_close(each[name][k], truth[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", [{}, {"value": True, "through": True, "surrogate": ns.Sigmoid(5.0)}])
@pytest.mark.parametrize("learn", [False, True])
def test_the_gradient_of_a_gradient_is_that_of_the_reference(kind, learn):
    rows, dynamics = problem(3, (4,), learn, **kind)
    for row in rows.values():
        row.requires_grad_(learn)
    x = (1.5 * torch.randn(12, 3, 4)).requires_grad_()
    states = start(dynamics, (3, 4), 5)
    g = torch.randn(12, 3, 4, requires_grad=True)
    found = {}
    for backend in ("reference", "cpu"):
        out = scan(x, states, dynamics, backend=backend).output
        leaves = [x, *states, *(rows.values() if learn else ())]
        first = torch.autograd.grad((out * g).sum(), leaves, create_graph=True, allow_unused=True)
        total = sum((f * f).sum() for f in first if f is not None)
        second = torch.autograd.grad(total, [*leaves, g], allow_unused=True)
        found[backend] = [v for v in second if v is not None]
    assert all(float(v.abs().sum()) > 0 for v in found["reference"])
    agree(found["reference"], found["cpu"], 1e-4)


@pytest.mark.parametrize("memory", ["float32", "recompute"])
def test_the_operators_keep_torchs_rules(memory):
    _, dynamics = problem(0, (4,), False, value=True)
    how = spec(dynamics, voltage=True, memory=memory, learn=True)
    assert decode(how.code()) == how
    p, states = coefficients(dynamics, (4,)).detach(), [torch.zeros(3, 4)]
    x = torch.randn(3, 7, 4).transpose(0, 1)
    torch.library.opcheck(scan_forward, (x, p, states, how.code()))
    out, end, volt, *kept = scan_forward(x, p, states, how.code())
    given = (x, p, states, out, kept[0] if kept else None, 2.0, torch.randn(7, 3, 4), volt, [end], how.code())
    torch.library.opcheck(scan_backward, given)


def test_memory_modes_give_the_gradient_and_keep_less():
    """What autograd keeps: voltages and spikes; half the voltages; or nothing that is not the caller's."""
    n = ns.LIF(512, tau_mem=10e-3, r=10.0, dt=1e-3)
    x = (0.4 * torch.randn(50, 8, 512)).requires_grad_()
    g = torch.randn_like(x)
    grads, bytes_kept = {}, {}
    for memory in ("float32", "bfloat16", "recompute"):
        seen = {}

        def pack(t, seen=seen):
            seen[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
            return t

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            out = scan(x, n.initial(8), n.dynamics(), memory=memory).output
        own = sum(size for place, size in seen.items() if place != x.untyped_storage().data_ptr())
        bytes_kept[memory] = own / (4 * x.numel())
        (grads[memory],) = torch.autograd.grad(out, x, g)
    assert torch.equal(grads["float32"], grads["recompute"])
    error = (grads["bfloat16"] - grads["float32"]).norm() / grads["float32"].norm()
    assert 0 < error < 0.02
    assert bytes_kept["float32"] < 2.05 and bytes_kept["bfloat16"] < 1.55 and bytes_kept["recompute"] < 1.05


def test_autocast_computes_the_state_in_float32():
    net = torch.nn.Linear(6, 6)
    n = block()
    x = torch.randn(9, 3, 6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        current = net(x)
        out, (v,) = n(current)
    assert current.dtype == torch.bfloat16 and v.dtype == torch.float32
    assert torch.equal(out, scan(current.float(), n.initial(3), n.dynamics(), backend="reference").output)
    out.sum().backward()
    assert net.weight.grad is not None and net.weight.grad.abs().sum() > 0


def _process(rank, port, queue):
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(6, 6), Spikes())
    x = 3 * torch.randn(9, 4, 6)
    whole = torch.autograd.grad((net(x) ** 2).mean(), list(net.parameters()))
    shared = torch.nn.parallel.DistributedDataParallel(net)
    (shared(x[:, 2 * rank : 2 * rank + 2]) ** 2).mean().backward()
    same = all(torch.allclose(p.grad, g, rtol=1e-4, atol=1e-6) for p, g in zip(net.parameters(), whole, strict=True))
    queue.put(same and float(whole[0].abs().sum()) > 0)
    torch.distributed.destroy_process_group()


class Spikes(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.neuron = block(learn=("tau_mem",))

    def forward(self, x):
        return self.neuron(x)[0]


@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch without distributed")
def test_two_processes_share_the_gradient():
    import socket

    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    processes = [context.Process(target=_process, args=(rank, port, queue)) for rank in range(2)]
    for process in processes:
        process.start()
    results = [queue.get(timeout=120) for _ in processes]
    for process in processes:
        process.join()
    assert results == [True, True]


def test_a_surrogate_of_ones_own_and_float64_use_the_reference():
    class Own(ns.Surrogate):
        def value(self, distance):
            return distance

        def derivative(self, distance):
            return torch.cos(distance)

    n = block(surrogate=Own())
    x = torch.randn(9, 3, 6, requires_grad=True)
    truth = gradients("reference", x, n.initial(3), {}, n.dynamics(), False)
    found = gradients("cpu", x, n.initial(3), {}, n.dynamics(), False)
    agree([*truth[0], *truth[1]], [*found[0], *found[1]])
    assert n(x.double())[0].dtype == torch.float64


@pytest.mark.parametrize(
    ("options", "words"),
    [({"backend": "cpux"}, "did you mean 'cpu'"), ({"memory": "float16"}, "one of bfloat16, float32, recompute")],
)
def test_wrong_names_are_told(options, words):
    n = block()
    with pytest.raises(ns.UnknownName, match=words):
        scan(torch.zeros(2, 1, 6), n.initial(1), n.dynamics(), **options)


def test_triton_is_for_gpus(monkeypatch):
    n = block()
    monkeypatch.setenv("NEUROSPIN_SCAN", "cuda")
    monkeypatch.setitem(_HAS, "cuda", False)
    with pytest.raises(ns.MissingDependency, match="install torch for CUDA"):
        n(torch.zeros(2, 1, 6))
    monkeypatch.setitem(_HAS, "cuda", True)
    with pytest.raises(ns.InputError, match="one for cpu, got 'cuda'"):
        n(torch.zeros(2, 1, 6))


def test_the_environment_forces_a_backend(monkeypatch):
    n = block()
    x = torch.randn(9, 3, 6)
    truth = n(x)[0]
    monkeypatch.setenv("NEUROSPIN_SCAN", "reference")
    monkeypatch.setattr("neurospin.scan.fused.fused", None)
    assert torch.equal(n(x)[0], truth)
    monkeypatch.setenv("NEUROSPIN_SCAN", "nowhere")
    with pytest.raises(ns.UnknownName, match="NEUROSPIN_SCAN"):
        n(x)
