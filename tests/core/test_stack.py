"""The stacked network equals its single networks, in value and gradient."""

import copy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from fairness_core import fused
from fairness_core.dense import Layer, Workspace, chain, dense
from fairness_core.evaluation import evaluating
from fairness_core.models import Classifier
from fairness_core.models import dense as dense_layers
from fairness_core.optimizer import Adam
from fairness_core.stack import Stack


def networks(n: int, sizes: tuple[int, ...] = (5, 7, 4), dropout: float = 0.0) -> list[Classifier]:
    torch.manual_seed(0)
    return [
        Classifier(nn.Sequential(*dense_layers(sizes, dropout)), nn.Linear(sizes[-1], 1)).double() for _ in range(n)
    ]


@pytest.mark.parametrize("own_rows", [False, True])
def test_values_and_gradients_equal_those_of_the_single_networks(own_rows: bool) -> None:
    nets = networks(3)
    stack = Stack(nets)
    x = torch.randn(3, 11, 5, dtype=torch.double) if own_rows else torch.randn(11, 5, dtype=torch.double)
    weights = torch.randn(3, 11, dtype=torch.double)

    out = stack(x.transpose(1, 2).contiguous() if own_rows else x)
    (out[:, 0] * weights).sum().backward()

    for r, net in enumerate(nets):
        alone = net(x[r] if own_rows else x)[:, 0]
        (alone * weights[r]).sum().backward()
        assert torch.allclose(out[r, 0], alone, atol=1e-12)
        for name, p in net.named_parameters():
            assert torch.allclose(stack.parameters[name].grad[r], p.grad, atol=1e-12), name  # type: ignore[index, arg-type]


@pytest.mark.parametrize("own_rows", [False, True])
def test_batch_normalisation_is_each_networks_own(own_rows: bool) -> None:
    torch.manual_seed(3)
    nets = [
        Classifier(nn.Sequential(*dense_layers((5, 7, 4), batch_norm=True)), nn.Linear(4, 1)).double() for _ in range(2)
    ]
    stack = Stack(nets)
    for step in range(3):
        x = torch.randn(2, 11, 5, dtype=torch.double) if own_rows else torch.randn(11, 5, dtype=torch.double)
        stack.training = step < 2
        out = stack(x.transpose(1, 2).contiguous() if own_rows else x)
        for p in stack.leaves:
            p.grad = None
        out.square().sum().backward()
        for r, net in enumerate(nets):
            net.train(step < 2)
            net.zero_grad()
            alone = net(x[r] if own_rows else x)[:, 0]
            alone.square().sum().backward()
            assert torch.allclose(out[r, 0], alone, atol=1e-12)
            for name, p in net.named_parameters():
                assert torch.allclose(stack.parameters[name].grad[r], p.grad, atol=1e-10), name  # type: ignore[index, arg-type]
    for r, net in enumerate(nets):
        kept = stack.network(r).state_dict()
        for name, value in net.state_dict().items():
            assert torch.allclose(kept[name].double(), value.double(), atol=1e-6), name


def test_written_out_gradient_passes_finite_differences() -> None:
    torch.manual_seed(1)
    x = torch.randn(2, 1, 6, dtype=torch.double, requires_grad=True)
    tensors = [torch.randn(2, 4, 1), torch.randn(2, 4), torch.randn(2, 1, 4), torch.randn(2, 1)]
    leaves = [t.double().requires_grad_() for t in tensors]

    def through(x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Tensor:
        return chain(x, [Layer(w1, b1, True), Layer(w2, b2, False)], [])

    assert torch.autograd.gradcheck(through, (x, *leaves))


def test_two_forward_passes_before_a_backward_do_not_overwrite_each_other() -> None:
    stack = Stack(networks(2))
    one, two = torch.randn(9, 5, dtype=torch.double), torch.randn(9, 5, dtype=torch.double)
    first, second = stack(one).sum(), stack(two).sum()
    first_grads = torch.autograd.grad(first, stack.leaves)
    second_grads = torch.autograd.grad(second, stack.leaves)
    again = torch.autograd.grad(stack(one).sum(), stack.leaves)
    assert all(torch.equal(a, b) for a, b in zip(first_grads, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first_grads, second_grads, strict=True))


def test_workspaces_are_reused_and_not_leaked() -> None:
    pool: list[Workspace] = []
    stack = Stack(networks(2))
    stack._pools[""] = pool
    for _ in range(5):
        stack(torch.randn(9, 5, dtype=torch.double)).sum().backward()
    assert len(pool) == 1


def test_frozen_weights_get_no_gradient_but_the_input_does() -> None:
    stack = Stack(networks(2))
    x = torch.randn(2, 5, 9, dtype=torch.double, requires_grad=True)
    stack.frozen(x).sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0
    assert all(p.grad is None for p in stack.leaves)


def test_features_then_head_is_the_whole_network() -> None:
    stack = Stack(networks(2))
    x = torch.randn(9, 5, dtype=torch.double)
    assert torch.allclose(stack.head(stack.features(x)), stack(x), atol=1e-12)


def test_one_replica_alone_answers_as_it_does_among_the_others() -> None:
    stack = Stack(networks(3))
    x = torch.randn(9, 5, dtype=torch.double)
    alone = stack.only(1)
    assert torch.allclose(alone(x), stack(x)[1:2])
    assert not any(p.requires_grad for p in alone.leaves)


def test_network_gives_a_replica_back_unchanged() -> None:
    nets = networks(3)
    x = torch.randn(9, 5)
    back = Stack(nets).network(2)
    assert not back.training
    assert torch.allclose(back(x), copy.deepcopy(nets[2]).float()(x), atol=1e-6)


def test_replicas_of_one_seed_share_dropout_masks_and_evaluation_drops_nothing() -> None:
    nets = networks(1, dropout=0.5) * 2
    stack = Stack(nets, [3])
    x = torch.randn(50, 5, dtype=torch.double)
    out = stack(x)
    assert torch.allclose(out[0], out[1], atol=1e-12)
    assert not torch.equal(out, stack(x))
    stack.training = False
    assert torch.allclose(stack(x)[0, 0], nets[0].eval()(x)[:, 0])


@pytest.mark.parametrize("own_rows", [False, True])
def test_convolutions_and_running_statistics_equal_those_of_the_single_networks(own_rows: bool) -> None:
    torch.manual_seed(0)

    def network() -> Classifier:
        body = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 5), nn.ReLU()
        )
        return Classifier(body, nn.Linear(5, 2)).double()

    nets = [network() for _ in range(2)]
    stack = Stack(nets)
    x = torch.rand(2, 7, 3, 6, 6, dtype=torch.double) if own_rows else torch.rand(7, 3, 6, 6, dtype=torch.double)

    out = stack(x)
    out.square().sum().backward()

    for r, net in enumerate(nets):
        alone = net(x[r] if own_rows else x)
        alone.square().sum().backward()
        assert torch.allclose(out[r].t(), alone, atol=1e-12)
        for name, p in net.named_parameters():
            assert torch.allclose(stack.parameters[name].grad[r], p.grad, atol=1e-10), name  # type: ignore[index, arg-type]
        assert torch.allclose(stack.network(r).features[1].running_mean, net.features[1].running_mean.float())


def test_mixed_features_have_16_bits_but_weights_gradients_and_evaluations_have_32() -> None:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 5), nn.ReLU())
    net = Classifier(body, nn.Linear(5, 2))
    plain, mixed = Stack([net]), Stack([net], mixed=True)
    x = torch.rand(7, 3, 6, 6)
    for stack in (plain, mixed):
        stack(x).square().sum().backward()
    h, exact = mixed.features(x), plain.features(x)
    assert h.dtype == torch.float32
    assert torch.equal(h, h.bfloat16().float())
    assert not torch.equal(exact, exact.bfloat16().float())
    assert torch.allclose(h, exact, atol=0.02)
    for name, p in mixed.parameters.items():
        g, own = p.grad, plain.parameters[name].grad
        assert g is not None
        assert own is not None
        assert (p.dtype, g.dtype) == (torch.float32, torch.float32)
        assert torch.allclose(g, own, rtol=0.1, atol=0.1), name
    assert mixed.fixed().mixed
    with evaluating(mixed):
        assert torch.equal(mixed(x), plain(x))
    assert mixed.mixed
    assert mixed.training


def test_dense_matches_the_formula() -> None:
    torch.manual_seed(0)
    weight, x = torch.randn(2, 3, 4), torch.randn(6, 4)
    assert torch.allclose(dense(x, weight), torch.einsum("roi,ni->rno", weight, x), atol=1e-6)


@pytest.mark.parametrize("zeros", [False, True])
def test_rows_shared_by_many_replicas_are_multiplied_right(zeros: bool) -> None:
    torch.manual_seed(0)
    sizes = (12, 70, 6)  # four replicas of 70 are enough to look for zeros
    exact = Stack([net.double() for net in networks(4, sizes)])
    single = Stack([exact.network(r) for r in range(4)])
    x, weights = torch.randn(31, 12), torch.randn(4, 1, 31)
    x = x * (torch.arange(12) == torch.arange(31).unsqueeze(1) % 12) if zeros else x
    assert (fused.nonzeros(x, single.leaves[0]) is not None) == zeros
    for step in range(2):  # the second finds its workspace used
        for stack, cast in ((exact, x.double()), (single, x)):
            (stack(cast * (step + 1)) * weights).sum().backward()
    with torch.no_grad():
        assert torch.allclose(single(x), exact(x.double()).float(), atol=1e-5)
    for name, p in single.parameters.items():
        wanted = exact.parameters[name].grad
        assert p.grad is not None
        assert wanted is not None
        assert torch.allclose(p.grad, wanted.float(), rtol=1e-4, atol=1e-4), name


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_adam_equals_the_librarys(weight_decay: float) -> None:
    ours, theirs = Stack(networks(2)), Stack(networks(2))
    betas = (0.5, 0.9) if weight_decay else (0.9, 0.999)
    mine = Adam(ours.leaves, 0.01, weight_decay, betas)
    library = torch.optim.Adam(theirs.leaves, lr=0.01, weight_decay=weight_decay, betas=betas)
    for k in range(20):
        torch.manual_seed(k)
        x = torch.randn(9, 5, dtype=torch.double)
        for net, optimizer in ((ours, mine), (theirs, library)):
            optimizer.zero_grad()
            (net(x) ** 2).sum().backward()
            optimizer.step()
    for p, q in zip(ours.leaves, theirs.leaves, strict=True):
        assert torch.allclose(p, q, atol=1e-12)


def test_adam_reads_gradients_of_any_memory_format() -> None:
    torch.manual_seed(0)
    ours, theirs = (torch.zeros(2, 3, 4, 4, requires_grad=True) for _ in range(2))
    g = torch.randn(2, 3, 4, 4)
    ours.grad, theirs.grad = g.to(memory_format=torch.channels_last), g
    Adam([ours], 0.01).step()
    torch.optim.Adam([theirs], lr=0.01).step()
    assert torch.allclose(ours, theirs, atol=1e-7)


def test_training_does_not_load_what_takes_seconds() -> None:
    code = (
        "import sys; from fairness_core.methods import METHODS; from tests.tiny import tiny_dataset;"
        "from fairness_core.config import Budget; from fairness_core.models import MLP;"
        "from fairness_core.training import Job, train; d = tiny_dataset(); methods = [METHODS['adversarial']()];"
        "list(train(Job(methods, [MLP('8').build(d, 0)], [0], [d], Budget(epochs=1))));"
        "assert not {'torch._dynamo', 'sympy', 'sklearn', 'scipy.stats', 'scipy.optimize'} & {*sys.modules}"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
