"""What methods that treat a trained binary model share: its scores, the module with a threshold, the final events."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from fairness_core.batches import Rows, Scale
from fairness_core.config import Event, UserError
from fairness_core.datasets import Dataset, Split
from fairness_core.datasets.base import stratified_split
from fairness_core.metrics import is_trivial
from fairness_core.postprocessing import draw
from fairness_core.thresholds import Choice, Objective

ROWS = 1024  # per forward pass
Decide = Callable[[Split, np.ndarray], np.ndarray]  # (split, its scores) -> decisions (n,)


class Thresholded(nn.Module):
    """x -> logits of the network minus the logit of tau: positive where the network's score exceeds tau."""

    tau: Tensor

    def __init__(self, network: nn.Module, tau: float) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("tau", torch.tensor(float(tau), dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(x)
        return (logits.double() - torch.logit(self.tau)).to(logits.dtype)


class GroupDecisions(nn.Module):
    """(x, s) -> 1 where the decision is favourable, else -1: decisions that depend on score and group, and perhaps on
    chance. seed: of the draw; None reads the chances as they are (positive where above one half)."""

    def __init__(self, network: nn.Module, seed: int | None) -> None:
        super().__init__()
        self.network, self.seed = network, seed

    def chances(self, scores: np.ndarray, s: np.ndarray) -> np.ndarray:
        """The chance of the favourable decision for scores (n,) and groups (n,); (n,)."""
        raise NotImplementedError

    def decide(self, split: Split, scores: np.ndarray) -> np.ndarray:
        """What is decided about the rows of a split, drawn if that is asked for; (n,)."""
        chances = self.chances(scores, split.s)
        return chances if self.seed is None else draw(chances, self.seed)

    @torch.no_grad()
    def forward(self, x: Tensor, s: Tensor) -> Tensor:
        scores = torch.sigmoid(self.network(x)[:, 0]).numpy()
        chances = self.chances(scores, s.numpy())
        decided = chances if self.seed is None else draw(chances, self.seed)
        return torch.from_numpy(2.0 * decided - 1.0).float().unsqueeze(1)


def batches_of(split: Split, size: int = ROWS) -> Iterator[Tensor]:
    """The inputs of a split in order, as a network takes them."""
    rows = Rows.of(split, torch.float32, Scale())
    for start in range(0, len(split), size):
        yield rows.take(slice(start, start + size)).x


@torch.no_grad()
def scores(network: nn.Module, split: Split) -> np.ndarray:
    """P(y = 1) of every row in evaluation mode, float32 (n,); the network's mode is left as it was."""
    training = network.training
    network.eval()
    found = [torch.sigmoid(network(x)[:, 0]) for x in batches_of(split)]
    network.train(training)
    return torch.cat(found).numpy()


def need_groups(data: Dataset, method: str, most: int | None = None) -> None:
    """UserError unless the target is binary and there are at most `most` groups."""
    if data.task != "binary":
        raise UserError(f"Method {method} needs a target of two classes and {data.name} has {len(data.classes)}.")
    if most and len(data.groups) > most:
        raise UserError(f"Method {method} compares {most} groups and there are {len(data.groups)}; choose another.")


def without(split: Split, share: float, seed: int) -> Split:
    """The rows of a split but for `share` of every (class, group) cell, kept back for a choice that is not made on the
    rows something was fitted to; `held` gives those."""
    return _part(split, share, seed, 0) if share else split


def held(split: Split, share: float, seed: int) -> Split:
    """The rows that `without` leaves out; all rows if it leaves out none."""
    return _part(split, share, seed, 1) if share else split


def _part(split: Split, share: float, seed: int, which: int) -> Split:
    rows = stratified_split(split.s * 2 + split.y, [1 - share, share], seed)[which]
    return Split(split.x[rows], split.y[rows], split.s[rows])


def final_events(
    data: Dataset, network: nn.Module, decide: Decide, values: Mapping[str, float], steps: int
) -> Iterator[Event]:
    """The last two events of a run: confusion tensors of the decisions on the whole validation and test split, with
    scores and decisions. Where `decide` gives chances between 0 and 1, the counts are the expected ones."""
    for stage, split in (("validation", data.validation), ("test", data.test)):
        score = scores(network, split)
        decided = np.asarray(decide(split, score), np.float32)
        C = expected_counts(split.y, decided, split.s, len(data.groups))
        yield Event(stage, steps, steps, dict(values), C, score, decided)


def expected_counts(y: np.ndarray, decided: np.ndarray, s: np.ndarray, n_groups: int) -> np.ndarray:
    """Confusion tensor (n_groups, 2, 2) of decisions 0 or 1; of chances what is to be expected, in whole people."""
    cell = s * 2 + y
    rows = np.bincount(cell, minlength=2 * n_groups)
    favoured = np.rint(np.bincount(cell, decided, minlength=2 * n_groups)).astype(np.int64)
    return np.stack([rows - favoured, favoured], -1).reshape(n_groups, 2, 2)


def chosen(C: np.ndarray, objective: Objective, values: Mapping[str, float]) -> dict[str, float]:
    """What a method found on the validation rows, as values of its last events: `values`, and whether the decisions
    with counts C (G, 2, 2) are feasible and trivial there."""
    rho, mu = (float(v) for v in objective.parts(C))
    flags = {"feasible": float(mu < objective.epsilon), "trivial": float(is_trivial(C))}
    return {"balanced_accuracy": rho, "gap": mu, **flags, **values}


def moved(before: nn.Module, after: nn.Module) -> dict[str, float]:
    """How far each parameter tensor moved: ||after - before|| / ||before||, under "moved:<name>"."""
    own = dict(before.named_parameters())
    found = {}
    for name, p in after.named_parameters():
        size = float(own[name].detach().norm())
        found[f"moved:{name}"] = float((p.detach() - own[name].detach()).norm()) / max(size, 1e-12)
    return found


def trial(choice: Choice, best: Choice) -> dict[str, float]:
    """What one trial of a search shows live, on validation rows."""
    return {
        "balanced_accuracy": choice.rho, "gap": choice.mu, "tau": choice.tau, "objective": choice.value,
        "best": best.value, "trivial": float(choice.trivial),
    }  # fmt: skip


def outcome(best: Choice) -> dict[str, float]:
    """What a search found, as values of its last events."""
    return {"tau": best.tau, "feasible": float(best.feasible), "trivial": float(best.trivial)}
