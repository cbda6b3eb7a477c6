"""R networks of one architecture as one: their weights carry a leading replica dimension and train in one pass.

Replicas never touch each other, so the gradient of the *sum* of their losses holds each replica's own gradient, Adam
(element by element) steps each on its own, and a stack of one is an ordinary network. Activations are kept feature
first, (R, width, rows): then every dense layer and its gradient is one contiguous (batched) matrix product.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from fairness_core.dense import Layer, Workspace, chain

Layers = list[tuple[str, nn.Module]]


class Stack:
    """Networks of equal architecture, trained together.

    parameters: name -> leaf tensor (R, ...), all of them views of the vector `flat`. Call it, or `features` then
    `head` (the last layer), with x (rows, D) shared by all replicas or (R, D, rows), each its own; the result is
    (R, width, rows).
    dropout_seeds: one per replica, or a single one when all replicas share their seed (and so their masks).
    """

    def __init__(self, networks: Sequence[nn.Module], dropout_seeds: Sequence[int] = (0,)) -> None:
        self.template = copy.deepcopy(networks[0])
        self.training = True
        states = [dict(network.named_parameters()) for network in networks]
        stacked = {name: torch.stack([state[name].detach() for state in states]) for name in states[0]}
        self.flat = torch.cat([tensor.flatten() for tensor in stacked.values()])
        pieces = torch.split(self.flat, [tensor.numel() for tensor in stacked.values()])
        self.parameters = {
            name: piece.view(tensor.shape).detach().requires_grad_()
            for piece, (name, tensor) in zip(pieces, stacked.items(), strict=True)
        }
        self._layers: Layers = [
            (f"{name}.", layer)
            for name, layer in self.template.named_modules()
            if not isinstance(layer, nn.Sequential) and layer is not self.template
        ]
        self._pools: dict[str, list[Workspace]] = {}
        self._streams = [torch.Generator().manual_seed(seed) for seed in dropout_seeds]

    def __len__(self) -> int:
        return len(next(iter(self.parameters.values())))

    @property
    def leaves(self) -> list[Tensor]:
        return list(self.parameters.values())

    def __call__(self, x: Tensor) -> Tensor:
        return self._run(self._layers, x, self.parameters)

    def frozen(self, x: Tensor) -> Tensor:
        """All layers with the weights as constants: gradients flow to x only."""
        return self._run(self._layers, x, {name: p.detach() for name, p in self.parameters.items()})

    def features(self, x: Tensor) -> Tensor:
        return self._run(self._layers[:-1], x, self.parameters)

    def head(self, h: Tensor) -> Tensor:
        return self._run(self._layers[-1:], h, self.parameters)

    def network(self, replica: int) -> nn.Module:
        """A copy of one replica as an ordinary module in evaluation mode, in single precision."""
        module = copy.deepcopy(self.template)
        module.load_state_dict({name: p.detach()[replica] for name, p in self.parameters.items()})
        return module.float().eval()

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
            if isinstance(layer, nn.Dropout):
                x = self._drop(x, layer.p)
            else:
                own = {name.removeprefix(key): p for name, p in weights.items() if name.startswith(key)}
                x = _mapped(layer, own, x)
        return chain(x, chained, self._pool("")) if chained else x

    def _pool(self, key: str) -> list[Workspace]:
        """Workspaces of the dense layers that end before `key`."""
        return self._pools.setdefault(key, [])

    def _drop(self, h: Tensor, p: float) -> Tensor:
        """Inverted dropout; one mask per seed, so that a replica meets the masks its run alone would meet."""
        if not self.training:
            return h
        keep = [torch.rand(h.shape[1:], generator=stream) >= p for stream in self._streams]
        return h * torch.stack(keep) / (1 - p)


def _mapped(layer: nn.Module, weights: dict[str, Tensor], x: Tensor) -> Tensor:
    """Any other layer, replica by replica (vectorised): x (R, width, rows) or (R, rows, ...) as the layer expects."""

    def one(own: dict[str, Tensor], rows: Tensor) -> Tensor:
        out: Tensor = functional_call(layer, own, (rows,))
        return out

    return torch.vmap(one)(weights, x)
