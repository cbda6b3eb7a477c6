"""Data sets as codes: the autoencoder of a data set is trained once, kept, and used again by whoever asks for the same.

What is kept goes by the training inputs and the autoencoder's settings alone. So another sensitive attribute, another
target, another strength or seed of a debiaser finds it, as long as the same rows with the same inputs are coded.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Generator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from fairness_core import vae
from fairness_core.config import UserError, content_hash
from fairness_core.datasets import Dataset, Split
from fairness_core.vae import VAE, Losses, Settings

FORMAT = 1  # raise it when what is kept changes: every autoencoder is then trained anew
ROLES = ("train", "validation", "test")
ACTIVE = 0.01  # variance over rows above which a number of the code is in use (Burda et al., ICLR 2016)
SHOWN = 4  # pictures of the validation split whose reconstructions are kept
TRAVERSED = 2
POSITIONS = tuple(float(v) for v in range(-3, 4))  # of a traversal, in standard deviations of the prior
MEAN, SAMPLE = "mean", "sample"


@dataclass(frozen=True)
class Coded(Dataset):
    """A data set whose inputs are codes, float32 (n, size). source: as it was; key: of the kept autoencoder; told: what
    is known of the autoencoder, see `_told`; seconds: that its training took, now or when it was kept (reused)."""

    source: Dataset | None = None
    encoder: VAE | None = None
    key: str = ""
    told: Mapping[str, np.ndarray] = field(default_factory=dict)
    seconds: float = 0.0
    reused: bool = False


@dataclass(frozen=True)
class Attributes:
    """The sensitive attributes behind the groups. of: int64 (groups, A), the level of every group; levels: how many
    each attribute has; names: of every attribute's levels."""

    of: np.ndarray
    levels: tuple[int, ...]
    names: tuple[tuple[str, ...], ...]


def attributes_of(data: Dataset) -> Attributes:
    """Intersections ("Female & Young") come apart where all groups are named alike; else there is one attribute."""
    parts = [name.split(" & ") for name in data.groups]
    if len(set(map(len, parts))) > 1:
        parts = [[name] for name in data.groups]
    names = tuple(tuple(dict.fromkeys(column)) for column in zip(*parts, strict=True))
    of = np.array([[own.index(part) for part, own in zip(row, names, strict=True)] for row in parts], np.int64)
    varied = [a for a, own in enumerate(names) if len(own) > 1]
    if not varied:
        raise UserError(f"{data.name} has one group only; choose another sensitive attribute.")
    return Attributes(of[:, varied], tuple(len(names[a]) for a in varied), tuple(names[a] for a in varied))


def key_of(data: Dataset, settings: Settings) -> str:
    """16 hexadecimal digits over all that the autoencoder and the codes depend on."""
    used = asdict(settings)
    for name, kinds in (("beta", ("beta",)), ("gamma", ("factor", "ffvae")), ("alpha", ("ffvae",))):
        if settings.kind not in kinds:
            del used[name]
    digests = [_digest(split.x) for split in _splits(data).values()]
    if settings.kind == "ffvae":
        attributes = attributes_of(data)
        digests += [_digest(attributes.of[data.train.s]), repr(attributes.levels)]
    return content_hash([FORMAT, used, list(data.features), digests])


def coded(
    data: Dataset, settings: Settings, mode: str = MEAN, folder: Path | None = None
) -> Generator[tuple[int, Losses], None, Coded]:
    """The data set in codes. Trains the autoencoder, yielding (step, losses), unless `folder` holds it already, and
    keeps it there. mode: codes are the means of the posterior, or one sample of it for every row, drawn once. Close to
    cancel; UserError when the settings do not fit the rows."""
    _check(data, settings)
    key = key_of(data, settings)
    path = folder / f"{key}.safetensors" if folder else None
    net = vae.build(data.train.x, data.features, settings)
    kept = _load(path) if path else {}
    reused = bool(kept)
    if not reused:
        kept = yield from _made(net, data, settings)
        if path:
            _save(path, kept)
    net.load_state_dict({name.removeprefix("weights."): v for name, v in kept.items() if name.startswith("weights.")})
    stream = torch.Generator().manual_seed(settings.seed + 2)
    splits = {}
    for role, split in _splits(data).items():
        x, spread = kept[f"mean.{role}"], kept[f"sd.{role}"]
        if mode == SAMPLE:
            x = x + spread * torch.randn(x.shape, generator=stream)
        splits[role] = replace(split, x=x.numpy())
    told = {name.removeprefix("told."): v.numpy() for name, v in kept.items() if name.startswith("told.")}
    features = tuple(f"z{j}" for j in range(settings.size))
    base: dict[str, Any] = {name: getattr(data, name) for name in Dataset.__dataclass_fields__}
    return Coded(
        **base | splits | {"features": features}, source=data, encoder=net.eval(), key=key, told=told,
        seconds=float(told["seconds"][0]), reused=reused,
    )  # fmt: skip


def _check(data: Dataset, settings: Settings) -> None:
    shape = data.train.x.shape
    if len(shape) == 4 and (min(shape[2:]) < vae.LEAST_PIXELS or shape[2] != shape[3]):
        raise UserError(
            f"The autoencoder needs square pictures of at least {vae.LEAST_PIXELS} pixels, and those of {data.name} "
            f"are {shape[2]} x {shape[3]}; choose another size."
        )
    if settings.kind == "ffvae" and -vae.sensitive_columns(attributes_of(data).levels)[0] >= settings.size:
        raise UserError(
            f"size = {settings.size} leaves no number of the code beside those of the sensitive attributes; give more."
        )


def _made(net: VAE, data: Dataset, settings: Settings) -> Generator[tuple[int, Losses], None, dict[str, Tensor]]:
    """Train the autoencoder and code all rows: what is to be kept."""
    start = time.perf_counter()
    x, attributes = torch.from_numpy(data.train.x), attributes_of(data)
    of = torch.from_numpy(attributes.of[data.train.s])
    curve = []
    for step, losses in vae.train(net.train(), x, of, attributes.levels, settings):
        curve.append([step, losses["reconstruction"], losses["kl"]])
        yield step, {f"vae_{name}": value for name, value in losses.items()}
    if not all(bool(torch.isfinite(p).all()) for p in net.parameters()):
        raise UserError("The autoencoder's training diverged; lower vae_lr.")
    net.eval()
    kept = {f"weights.{name}": value.detach().clone() for name, value in net.state_dict().items()}
    for role, split in _splits(data).items():
        mean, log_variance = vae.codes(net, torch.from_numpy(split.x))
        kept |= {f"mean.{role}": mean, f"sd.{role}": (0.5 * log_variance).exp()}
    kept["told.seconds"] = torch.tensor([time.perf_counter() - start])
    kept["told.losses"] = torch.tensor(curve)
    return kept | {f"told.{name}": value for name, value in _told(net, kept, data).items()}


@torch.no_grad()
def _told(net: VAE, kept: Mapping[str, Tensor], data: Dataset) -> dict[str, Tensor]:
    """variance: of every number of the mean codes over the training rows, (size,); kl: mean nats of every number;
    positions: of a traversal. Of pictures: pictures and reconstructions, uint8 (SHOWN, ...), traversals (TRAVERSED,
    size, positions, ...). Of a table: explained, (D,), the share of every column's validation variance that the
    reconstruction explains, and traversals, (size, positions, D), from the mean code."""
    mean, log_variance = kept["mean.train"], 2 * kept["sd.train"].log()
    out = {"variance": mean.var(0, correction=0), "kl": vae.divergence(mean, log_variance).mean(0)}
    positions = torch.tensor(POSITIONS)
    x, z = torch.from_numpy(data.validation.x), kept["mean.validation"]
    if x.dim() == 4:
        rows = torch.linspace(0, len(x) - 1, min(SHOWN, len(x))).long()
        out |= {"pictures": as_bytes(vae.as_numbers(x[rows])), "reconstructions": as_bytes(net.decode(z[rows]))}
        start = z[rows[:TRAVERSED]]
    else:
        error = (net.decode(z) - x).var(0, correction=0)
        spread = x.var(0, correction=0)
        out["explained"] = torch.where(spread > 0, 1 - error / spread.clamp(min=1e-12), torch.nan)
        start = z.mean(0, keepdim=True)
    walked = start[:, None, None].repeat(1, z.shape[1], len(positions), 1)  # (starts, size, positions, size)
    for j in range(z.shape[1]):
        walked[:, j, :, j] = positions
    rows_along = net.decode(walked.flatten(0, 2))
    rows_along = rows_along.view(*walked.shape[:3], *rows_along.shape[1:])
    return out | {"positions": positions, "traversals": as_bytes(rows_along) if x.dim() == 4 else rows_along[0]}


def as_bytes(x: Tensor) -> Tensor:
    return (x.clamp(0, 1) * 255).round().to(torch.uint8)


def _splits(data: Dataset) -> dict[str, Split]:
    return {role: getattr(data, role) for role in ROLES}


def _digest(values: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(values).data).hexdigest() + str(values.shape) + str(values.dtype)


def _load(path: Path) -> dict[str, Tensor]:
    """What was kept; nothing if there is no such file or it is damaged."""
    try:
        return load_file(path)
    except (OSError, SafetensorError):
        return {}


def _save(path: Path, kept: Mapping[str, Tensor]) -> None:
    """Whoever reads meanwhile, or made the same, sees a whole file or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    written = path.with_suffix(f".{time.time_ns()}.part")
    save_file({name: value.contiguous() for name, value in kept.items()}, written)
    written.replace(path)
