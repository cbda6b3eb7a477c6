"""What methods that treat a trained binary model share: its scores, the module with a threshold, the final events."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from fairness_core.batches import Rows, Scale
from fairness_core.config import Event, UserError
from fairness_core.datasets import Dataset, Split
from fairness_core.metrics import confusion_tensor

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


def final_events(
    data: Dataset, network: nn.Module, decide: Decide, values: Mapping[str, float], steps: int
) -> Iterator[Event]:
    """The last two events of a run: confusion tensors of the decisions on the whole validation and test split, with
    scores and decisions. decide must give 0 or 1 per row."""
    for stage, split in (("validation", data.validation), ("test", data.test)):
        score = scores(network, split)
        decided = np.asarray(decide(split, score), np.float32)
        C = confusion_tensor(split.y, decided.astype(np.int64), split.s, len(data.groups), 2)
        yield Event(stage, steps, steps, dict(values), C, score, decided)


def moved(before: nn.Module, after: nn.Module) -> dict[str, float]:
    """How far each parameter tensor moved: ||after - before|| / ||before||, under "moved:<name>"."""
    own = dict(before.named_parameters())
    found = {}
    for name, p in after.named_parameters():
        size = float(own[name].detach().norm())
        found[f"moved:{name}"] = float((p.detach() - own[name].detach()).norm()) / max(size, 1e-12)
    return found
