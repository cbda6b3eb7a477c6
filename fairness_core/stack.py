"""R networks of one architecture as one: their weights carry a leading replica dimension and train in one pass.

Replicas never touch each other, so the gradient of the *sum* of their losses holds each replica's own gradient, Adam
(element by element) steps each on its own, and a stack of one is an ordinary network. Every dense layer and its
gradient is one batched matrix product (dense.py). Networks whose features are more than dense layers (convolutions) run
one after the other: each fills the processor by itself.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.func import functional_call

from fairness_core.dense import Layer, Workspace, chain

Layers = list[tuple[str, nn.Module]]


class Stack:
    """Networks of equal architecture, trained together.

    parameters: name -> leaf tensor (R, ...); buffers: per replica name ->
    tensor (running statistics). Call it, or `features` then `head` (the last layer), with x (rows, ...) shared by all
    replicas or each its own, (R, D, rows) for tables and (R, rows, ...) for images; the result is (R, width, rows).
    dropout_seeds: one per replica, or a single one when all replicas share their seed (and so their masks). mixed:
    features that are more than dense layers are computed in bfloat16; weights and their gradients stay as they are.
    """

    def __init__(
        self, networks: Sequence[nn.Module], dropout_seeds: Sequence[int] = (0,), *, mixed: bool = False
    ) -> None:
        self.template = copy.deepcopy(networks[0])
        self.training, self.mixed = True, mixed
        states = [dict(network.named_parameters()) for network in networks]
        stacked = {name: torch.stack([state[name].detach() for state in states]) for name in states[0]}
        self.parameters = {name: tensor.requires_grad_() for name, tensor in stacked.items()}
        self.buffers = [dict(copy.deepcopy(network).named_buffers()) for network in networks]
        self._layers: Layers = [
            (f"{name}.", layer)
            for name, layer in self.template.named_modules()
            if not list(layer.children()) and not isinstance(layer, nn.Sequential)
        ]
        kinds = nn.Linear | nn.ReLU | nn.Dropout | nn.BatchNorm1d
        self._dense = all(isinstance(layer, kinds) for _, layer in self._layers)
        self._pools: dict[str, list[Workspace]] = {}
        self._streams = [torch.Generator("cpu").manual_seed(seed) for seed in dropout_seeds]

    @property
    def drops(self) -> bool:
        """Has it dropout, whose masks are drawn anew for every batch?"""
        return any(isinstance(layer, nn.Dropout) for layer in self.template.modules())

    def __len__(self) -> int:
        return len(next(iter(self.parameters.values())))

    @property
    def leaves(self) -> list[Tensor]:
        return list(self.parameters.values())

    def fixed(self, *, copied: bool = False) -> Stack:
        """This stack in evaluation mode with its weights as constants, so that gradients flow to the input alone. It
        follows the training of this one; `copied`: it stays as it is now."""
        view = copy.copy(self)
        view.training = False
        view.parameters = {name: p.detach().clone() if copied else p.detach() for name, p in self.parameters.items()}
        view.buffers = copy.deepcopy(self.buffers) if copied else self.buffers
        view._pools = {} if copied else self._pools
        return view

    def only(self, replica: int) -> Stack:
        """One replica of this stack, in evaluation mode with its weights as constants, as a stack of one."""
        view = self.fixed()
        view.parameters = {name: p[replica : replica + 1] for name, p in view.parameters.items()}
        view.buffers = [self.buffers[replica]]
        return view

    def __call__(self, x: Tensor) -> Tensor:
        if not self._dense:
            return self.head(self.features(x))
        return self._run(self._layers, x, self.parameters)

    def frozen(self, x: Tensor) -> Tensor:
        """All layers with the weights as constants: gradients flow to x only."""
        return self._run(self._layers, x, {name: p.detach() for name, p in self.parameters.items()})

    def features(self, x: Tensor) -> Tensor:
        if not self._dense:
            return self._one_by_one(x)
        return self._run(self._layers[:-1], x, self.parameters)

    def head(self, h: Tensor) -> Tensor:
        return self._run(self._layers[-1:], h, self.parameters)

    def network(self, replica: int) -> nn.Module:
        """A copy of one replica as an ordinary module in evaluation mode, in single precision, on the processor."""
        module = copy.deepcopy(self.template)
        weights = {name: p.detach()[replica] for name, p in self.parameters.items()}
        module.load_state_dict({**weights, **self.buffers[replica]})
        return module.float().cpu().eval()

    def _run(self, layers: Layers, x: Tensor, weights: dict[str, Tensor]) -> Tensor:
        chained: list[Layer] = []
        for key, layer in layers:
            if isinstance(layer, nn.Linear):
                chained.append(Layer(weights[f"{key}weight"], weights[f"{key}bias"], False))
                continue
            if isinstance(layer, nn.ReLU) and chained:
                chained[-1] = chained[-1]._replace(relu=True)
                continue
            x = chain(x, chained, self._pool(key)) if chained else x
            chained = []
            if isinstance(layer, nn.BatchNorm1d):
                x = self._normalise(x, key, layer, weights)
                continue
            assert isinstance(layer, nn.Dropout)
            x = self._drop(x, layer.p)
        return chain(x, chained, self._pool("")) if chained else x

    def _one_by_one(self, x: Tensor) -> Tensor:
        """The features of every replica, (R, width, rows)."""
        body = self.template.get_submodule("features").train(self.training)
        own = [name for name in self.parameters if name.startswith("features.")]
        columns = [_apart(self.parameters[name]) for name in own]
        each = [x] * len(self)
        if x.dim() == 5:
            each = [part.contiguous(memory_format=torch.channels_last) for part in _apart(x)]
        out = []
        for r, buffers in enumerate(self.buffers):
            state = {name.removeprefix("features."): column[r] for name, column in zip(own, columns, strict=True)}
            state |= {name.removeprefix("features."): b for name, b in buffers.items() if name.startswith("features.")}
            with torch.autocast(x.device.type, torch.bfloat16) if self.mixed else nullcontext():
                h: Tensor = functional_call(body, state, (each[r],))
            out.append(h.t().to(self.leaves[0].dtype))
        return torch.stack(out) if len(out) > 1 else out[0].unsqueeze(0)

    def _pool(self, key: str) -> list[Workspace]:
        """Workspaces of the dense layers that end before `key`."""
        return self._pools.setdefault(key, [])

    def _drop(self, h: Tensor, p: float) -> Tensor:
        """Inverted dropout; one mask per seed, so that a replica meets the masks its run alone would meet."""
        if not self.training:
            return h
        keep = torch.stack([torch.rand(h.shape[1:], generator=each, device="cpu") for each in self._streams]) >= p
        rows_first = keep.to(h.device).transpose(1, 2).to(h.dtype, memory_format=torch.contiguous_format) / (1 - p)
        return h * rows_first.transpose(1, 2)  # as h lies in memory

    def _normalise(self, h: Tensor, key: str, layer: nn.BatchNorm1d, weights: dict[str, Tensor]) -> Tensor:
        """Batch normalisation of (R, width, rows), each replica by its own rows or, evaluating, its own averages."""
        if self.training:
            variance, mean = torch.var_mean(h, 2, correction=0)
            self._remember(key, layer, mean.detach(), variance.detach() * h.shape[2] / max(1, h.shape[2] - 1))
        else:
            mean, variance = (
                torch.stack([buffers[f"{key}running_{name}"] for buffers in self.buffers]) for name in ("mean", "var")
            )
        scale = weights[f"{key}weight"] * torch.rsqrt(variance + layer.eps)
        return torch.addcmul((weights[f"{key}bias"] - mean * scale).unsqueeze(2), h, scale.unsqueeze(2))

    def _remember(self, key: str, layer: nn.BatchNorm1d, mean: Tensor, variance: Tensor) -> None:
        momentum = 0.1 if layer.momentum is None else layer.momentum
        for r, buffers in enumerate(self.buffers):
            buffers[f"{key}running_mean"].lerp_(mean[r], momentum)
            buffers[f"{key}running_var"].lerp_(variance[r], momentum)
            buffers[f"{key}num_batches_tracked"].add_(1)


def _apart(stacked: Tensor) -> Sequence[Tensor]:
    """Each replica's own part. Of one replica it is a view whose gradient is a view, too; others are copied back."""
    return [stacked.squeeze(0)] if len(stacked) == 1 else stacked.unbind()
