"""Layer-wise optimisation (Savani et al. 2020, algorithm 2): late layers one by one, searched with boosted trees."""

from __future__ import annotations

import copy
from collections.abc import Generator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from fairness_core import posthoc
from fairness_core.config import Event, RunConfig, control
from fairness_core.datasets import Dataset, Split
from fairness_core.methods.base import Intra, register
from fairness_core.quantile_trees import Search
from fairness_core.thresholds import Choice, Objective, select

MOST_SCALARS = {"table": 100_000, "image": 5_000}  # of one layer, as in the authors' settings


@register
@dataclass(frozen=True)
class LayerwiseGBRT(Intra):
    """Takes the last L parameter tensors in turn, searches a box around each for values that are better by the
    objective, and keeps the best network of all; every layer starts from the trained weights again.

    The search runs on one part of the validation rows; which of the layers' best networks is kept, and its threshold,
    are decided on all of them. With thousands of dimensions and 20 calls boosted trees hardly beat random search: a
    random subspace of 10 to 30 dimensions gives them a chance.
    """

    name: ClassVar[str] = "layerwise_gbrt"
    title: ClassVar[str] = "Layer-wise (boosted trees)"
    paper: ClassVar[str] = "Savani, White, Govindarajulu, Intra-processing methods for debiasing, NeurIPS 2020, Alg. 2"
    formula: ClassVar[str] = (
        r"\max_{\theta'_i,\tau}\ \varphi_{\mu,\rho,\varepsilon}\quad\text{s.t.}\quad"
        r"|\theta'_{ij}-\theta_{ij}| \le w\,\mathrm{sd}(\theta_i)"
    )

    n_layers: int = control(5, 1, 20, symbol="L", help="How many parameter tensors, counted from the last one.")
    calls: int = control(20, 2, 200, help="Networks tried per layer.")
    width: float = control(2.2, 0.5, 3.0, help="Half-width of the box in standard deviations of the layer's weights.")
    optimiser: str = control(
        "gbrt", choices=("gbrt", "random"), help="Boosted quantile trees, or random points.", group="advanced"
    )
    subspace: int = control(
        0, 0, 200, help="Search in a random subspace of so many dimensions; 0: every weight by itself.",
        group="advanced",
    )  # fmt: skip
    max_scalars: int = control(
        0, 0, 1_000_000, symbol="M", group="advanced",
        help="At most about so many weights of a layer are moved; 0: 100,000 in tables and 5,000 in pictures.",
    )  # fmt: skip
    guidance: str = control(
        "lexicographic",
        choices=("lexicographic", "sharp"),
        help="The objective that guides the search; φ itself is flat wherever nothing is feasible.",
        group="advanced",
    )
    split: float = control(
        0.3, 0.0, 0.8, group="advanced",
        help="Share of the validation rows the search does not see; 0: it sees all, as in the authors' code.",
    )  # fmt: skip

    def fit(self, model: nn.Module, data: Dataset, run: RunConfig) -> Generator[Event, None, nn.Module]:
        posthoc.need_groups(data, self.name)
        seen = posthoc.without(data.validation, self.split, run.seed)
        network = copy.deepcopy(model).eval()
        chosen = list(network.named_parameters())[-self.n_layers :]
        kept: list[tuple[str, Tensor]] = []
        done, of = 0, len(chosen) * self.calls
        best = None
        for number, (name, p) in enumerate(chosen):
            layer = Layer(network, name, p, seen, len(data.groups), self, run.seed + number)
            for _ in range(self.calls):
                choice = layer.step()
                best = choice if best is None or choice.value > best.value else best
                done += 1
                yield Event("training", done, of, posthoc.trial(choice, best))
            kept.append((name, layer.best()))
        rows, n_groups = data.validation, len(data.groups)
        candidates = [network, *(changed(network, name, values) for name, values in kept)]
        scores = np.stack([posthoc.scores(candidate, rows) for candidate in candidates])
        choices = select(scores, rows.y, rows.s, n_groups, self.goal, seed=run.seed)
        at = int(np.argmax([choice.value for choice in choices]))
        values = {**posthoc.outcome(choices[at]), "layer": float(at), **posthoc.moved(model, candidates[at])}
        tau = choices[at].tau
        yield from posthoc.final_events(data, candidates[at], lambda _, p: p > tau, values, of)
        return posthoc.Thresholded(candidates[at], tau)


class Layer:
    """The search of one parameter tensor: `step` tries one point and puts the weights back."""

    def __init__(
        self, network: nn.Module, name: str, p: Tensor, seen: Split, n_groups: int, method: LayerwiseGBRT, seed: int
    ) -> None:
        self._p, self._original, self._seen, self._seed = p, p.detach().clone(), seen, seed
        self._goal = Objective(method.measure, method.epsilon, method.margin, method.guidance)
        self._n_groups = n_groups
        self._tail = Tail(network, name, seen)
        rng = np.random.default_rng([seed, 5])
        picture = seen.x.ndim > 2
        most = method.max_scalars or MOST_SCALARS["image" if picture else "table"]
        sd = float(p.detach().std(correction=0)) if p.numel() > 1 else 0.0
        self._moved = (
            np.flatnonzero(rng.random(p.numel()) < min(1.0, most / p.numel())) if sd > 0 else np.array([], int)
        )
        half = method.width * sd
        self._axes: np.ndarray | None = None
        size = len(self._moved)
        if method.subspace and size > method.subspace:
            # directions with entries of the size of one half-width: the box's corners stay inside the full box mostly
            self._axes = rng.normal(size=(method.subspace, size)) / np.sqrt(method.subspace)
            size = method.subspace
        self._search = Search(np.full(size, -half), np.full(size, half), np.zeros(size), seed, method.optimiser)
        self._half = half

    def step(self) -> Choice:
        """Try the next point; what its best threshold gives on the rows that are seen."""
        point = self._search.ask() if len(self._moved) else np.zeros(0)
        self._put(point)
        scores = self._tail.scores()
        self._put(None)
        seen = self._seen
        (choice,) = select(scores[None], seen.y, seen.s, self._n_groups, self._goal, seed=self._seed)
        self._search.tell(point, -max(choice.value, -10.0))
        return choice

    def best(self) -> Tensor:
        """The tensor's values at the best point so far."""
        self._put(self._search.points[int(np.argmin(self._search.values))])
        found = self._p.detach().clone()
        self._put(None)
        return found

    @torch.no_grad()
    def _put(self, point: np.ndarray | None) -> None:
        self._p.copy_(self._original)
        if point is None or not len(self._moved):
            return
        step = point if self._axes is None else np.clip(point @ self._axes, -self._half, self._half)
        self._p.view(-1)[torch.from_numpy(self._moved)] += torch.from_numpy(step).to(self._p.dtype)


class Tail:
    """The part of a network from the layer that holds the parameter `name` on; what comes before is computed once."""

    def __init__(self, network: nn.Module, name: str, split: Split) -> None:
        modules = _chain(network)
        inside = [f"{path}." for path, _ in modules]
        first = next(i for i, path in enumerate(inside) if name.startswith(path))
        self._rest = nn.Sequential(*(module for _, module in modules[first:])).eval()
        front = nn.Sequential(*(module for _, module in modules[:first])).eval()
        with torch.no_grad():
            self._inputs = [front(x) for x in posthoc.batches_of(split)]

    @torch.no_grad()
    def scores(self) -> np.ndarray:
        """P(y = 1) of all rows, (n,)."""
        return torch.cat([torch.sigmoid(self._rest(h)[:, 0]) for h in self._inputs]).numpy()


def _chain(network: nn.Module) -> list[tuple[str, nn.Module]]:
    """The modules of features and head that are called one after the other, by their path."""
    found: list[tuple[str, nn.Module]] = []

    def add(path: str, module: nn.Module) -> None:
        if isinstance(module, nn.Sequential):
            for name, child in module.named_children():
                add(f"{path}.{name}", child)
        else:
            found.append((path, module))

    for name in ("features", "head"):
        add(name, network.get_submodule(name))
    return found


@torch.no_grad()
def changed(network: nn.Module, name: str, values: Tensor) -> nn.Module:
    """A copy of the network with one parameter tensor replaced."""
    made = copy.deepcopy(network)
    dict(made.named_parameters())[name].copy_(values)
    return made
