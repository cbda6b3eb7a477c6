"""The compiled loops equal torch's formulas, and keep NaN."""

from collections.abc import Callable
from itertools import pairwise

import numba
import numpy as np
import pytest
import torch
from torch import Tensor

from fairness_core import fused, kernels
from fairness_core.dense import Layer, Workspace, chain

FLOATS = [(torch.float64, 1e-12), (torch.float32, 1e-5)]


def numbers(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64).to(dtype)


def both_ways(monkeypatch: pytest.MonkeyPatch, run: Callable[[], tuple[Tensor, ...]]) -> list[tuple[Tensor, ...]]:
    """What `run` returns with compiled loops and with torch's formulas, from the same random numbers."""
    found = []
    for compiled in (True, False):
        torch.manual_seed(0)
        with monkeypatch.context() as patch:
            if not compiled:
                patch.setattr(fused, "compiled", lambda t: False)
            found.append(run())
    return found


def same(found: list[tuple[Tensor, ...]], tolerance: float) -> bool:
    pairs = zip(*found, strict=True)
    return all(a.dtype == b.dtype and torch.allclose(a, b, rtol=tolerance, atol=tolerance) for a, b in pairs)


@pytest.mark.parametrize(("dtype", "tolerance"), FLOATS)
def test_hidden_layers(dtype: torch.dtype, tolerance: float, monkeypatch: pytest.MonkeyPatch) -> None:
    def run() -> tuple[Tensor, ...]:
        h = fused.add_relu_(numbers(2, 33, 5, dtype=dtype), numbers(2, 5, dtype=dtype))
        g = numbers(2, 33, 5, dtype=dtype)
        g_bias = fused.relu_backward_(g, h)
        return h, g, g_bias

    found = both_ways(monkeypatch, run)
    h, g, _ = found[0]
    assert ((h == 0) == (g == 0)).all()
    assert 0.2 < (h == 0).double().mean() < 0.8
    assert same(found, tolerance * 10)  # g_bias is a sum of 33


@pytest.mark.parametrize("few", [1, 3])
@pytest.mark.parametrize(("dtype", "tolerance"), FLOATS)
def test_heads(dtype: torch.dtype, tolerance: float, few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def run() -> tuple[Tensor, ...]:
        h, weight = numbers(2, 33, 5, dtype=dtype), numbers(2, few, 5, dtype=dtype)
        answer = fused.head(h, numbers(2, 5, dtype=dtype), weight, numbers(2, few, dtype=dtype))
        below = torch.empty_like(h)
        return answer, h, below, *fused.head_backward(numbers(2, few, 33, dtype=dtype), h, weight, below)

    assert same(both_ways(monkeypatch, run), tolerance * 10)


@pytest.mark.parametrize("sizes", [(6, 5, 4, 1), (6, 5, 3), (6, 5, 9), (6, 2), (1, 5, 1), (3, 7, 2), (1, 1)])
def test_whole_chains(sizes: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Values and all gradients, of networks with few outputs, with many, without hidden layers, and narrow ones."""

    def run(last_relu: bool = False) -> tuple[Tensor, ...]:
        x = numbers(2, sizes[0], 33, dtype=torch.float32).requires_grad_()
        layers = [
            Layer(
                numbers(2, b, a, dtype=torch.float32).requires_grad_(),
                numbers(2, b, dtype=torch.float32).requires_grad_(),
                i < len(sizes) - 2 or last_relu,
            )
            for i, (a, b) in enumerate(pairwise(sizes))
        ]
        leaves = [x, *(t for layer in layers for t in layer[:2])]
        out = chain(x, layers, [])
        return out, *torch.autograd.grad((out * numbers(*out.shape, dtype=torch.float32)).sum(), leaves)

    assert same(both_ways(monkeypatch, run), 1e-4)
    assert same(both_ways(monkeypatch, lambda: run(last_relu=True)), 1e-4)


def one_hot(*shape: int, dtype: torch.dtype) -> Tensor:
    """Rows (..., rows, in) of a number and two one-hot columns; the first row is all zeros."""
    n_hot = (shape[-1] - 1) // 2
    x = torch.cat([numbers(*shape[:-1], 1, dtype=dtype), torch.zeros(*shape[:-1], shape[-1] - 1, dtype=dtype)], -1)
    for first in (1, 1 + n_hot):
        x.scatter_(-1, first + torch.randint(n_hot, (*shape[:-1], 1)), 1.0)
    x[..., 0, :] = 0.0
    return x


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), FLOATS)
def test_rows_of_mostly_zeros(dtype: torch.dtype, tolerance: float, own: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Going through what is not zero gives the product and all gradients of a network; twice, as the second time finds
    its scratch used."""
    torch.manual_seed(0)
    sizes, replicas = (31, 100, 6, 1), 3
    leaves = [numbers(replicas, b, *a, dtype=dtype).requires_grad_() for i, b in pairwise(sizes) for a in ((i,), ())]
    layers = [Layer(*leaves[2 * i : 2 * i + 2], relu=i < 2) for i in range(3)]
    found: list[list[Tensor]] = []
    for sparse in (True, False):
        torch.manual_seed(1)
        with monkeypatch.context() as patch:
            if not sparse:
                patch.setattr(fused, "nonzeros", lambda x, weight: None)
            pool: list[Workspace] = []
            results: list[Tensor] = []
            for _ in range(2):
                x = one_hot(*([replicas] if own else []), 41, sizes[0], dtype=dtype).requires_grad_()
                assert (fused.nonzeros(x, leaves[0]) is not None) == sparse
                out = chain(x.transpose(1, 2) if own else x, layers, pool)
                along = (out * numbers(*out.shape, dtype=dtype)).sum()
                results += [out, *torch.autograd.grad(along, [x, *leaves])]
                with torch.no_grad():
                    assert torch.equal(out, chain(x.transpose(1, 2) if own else x, layers, pool))
            found.append(results)
    for a, b in zip(*found, strict=True):
        assert torch.allclose(a, b, rtol=tolerance * 10, atol=tolerance * float(b.detach().abs().max()))


def test_what_is_not_zero_is_found_by_row_and_by_column() -> None:
    torch.manual_seed(0)
    x, weight = one_hot(2, 17, 31, dtype=torch.float32), torch.zeros(2, 128, 31)
    x[1, 4, 7] = torch.nan  # is no zero
    known = fused.nonzeros(x, weight)
    assert known is not None
    for part, wanted in enumerate(x.numpy()):
        for matrix, (starts, places, values) in ((wanted, known.by_row), (wanted.T, known.by_column)):
            rebuilt = np.zeros_like(matrix)
            for n in range(len(matrix)):
                own = slice(starts[part, n], starts[part, n + 1])
                assert (np.diff(places[own]) > 0).all()
                rebuilt[n, places[own]] = values[own]
            np.testing.assert_array_equal(rebuilt, matrix)


def test_matrix_products_stay_where_they_are_faster() -> None:
    torch.manual_seed(0)
    x = one_hot(40, 32, dtype=torch.float64)
    crowded_at_the_end = x.clone()
    crowded_at_the_end[20:] = 1.0

    def looked_for(x: Tensor, outputs: int = 512) -> bool:
        return fused.nonzeros(x, torch.zeros(1, outputs, x.shape[1], dtype=x.dtype)) is not None

    assert looked_for(x)
    assert looked_for(x.float())
    assert not looked_for(x, outputs=64)
    for slower in (numbers(40, 32), crowded_at_the_end, x[:, :3].contiguous(), x.to(torch.bfloat16), x.t()):
        assert not looked_for(slower)


@pytest.mark.parametrize("asked", ["x", "weights"])
def test_narrow_networks_give_the_gradients_that_are_asked_for(asked: str) -> None:
    torch.manual_seed(0)
    tensors = [numbers(*shape) for shape in ((2, 1, 33), (2, 5, 1), (2, 5), (2, 1, 5), (2, 1))]

    def grads(wanted: list[int]) -> list[Tensor]:
        leaves = [t.clone().requires_grad_(i in wanted) for i, t in enumerate(tensors)]
        fused.Narrow.apply(*leaves).square().sum().backward()
        assert all((leaf.grad is None) == (i not in wanted) for i, leaf in enumerate(leaves))
        return [leaves[i].grad for i in wanted]  # type: ignore[misc]

    wanted = [0] if asked == "x" else [1, 2, 3, 4]
    assert same([tuple(grads(wanted)), tuple(grads([0, 1, 2, 3, 4])[i] for i in wanted)], 0.0)


def test_narrow_networks_pass_finite_differences() -> None:
    torch.manual_seed(1)
    shapes = [(2, 3, 6), (2, 4, 3), (2, 4), (2, 2, 4), (2, 2)]
    leaves = tuple(numbers(*shape).requires_grad_() for shape in shapes)
    assert torch.autograd.gradcheck(fused.Narrow.apply, leaves)


@pytest.mark.parametrize("sizes", [(6, 5, 1), (1, 5, 1)])
def test_second_derivatives_are_refused_rather_than_wrong(sizes: tuple[int, ...]) -> None:
    x = numbers(1, sizes[0], 8).requires_grad_()
    layers = [Layer(numbers(1, b, a), numbers(1, b), b != 1) for a, b in pairwise(sizes)]
    (g,) = torch.autograd.grad(chain(x, layers, []).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        g.sum().backward()


@pytest.mark.parametrize("sizes", [(6, 5, 1), (1, 5, 1)])
def test_nan_is_not_lost(sizes: tuple[int, ...]) -> None:
    x = numbers(1, sizes[0], 8, dtype=torch.float32)
    x[0, 0, 3] = torch.nan
    layers = [Layer(torch.ones(1, b, a, requires_grad=True), torch.ones(1, b), b != 1) for a, b in pairwise(sizes)]
    out = chain(x, layers, [])
    assert torch.isnan(out[0, 0]).tolist() == [n == 3 for n in range(8)]
    out.sum().backward()
    assert torch.isnan(layers[0].weight.grad[:, :, 0]).all()  # type: ignore[index]


def test_without_a_folder_to_write_to_loops_are_compiled_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def add_one(h: np.ndarray) -> None:
        h += 1.0

    monkeypatch.setattr(numba.core.config, "CACHE_LOCATOR_CLASSES", "ZipCacheLocator")  # which takes no plain file
    with pytest.raises(RuntimeError, match="no locator available"):
        numba.njit(cache=True)(add_one)
    h = np.zeros(3)
    kernels.compiled(add_one)(h)
    assert h.tolist() == [1.0, 1.0, 1.0]
