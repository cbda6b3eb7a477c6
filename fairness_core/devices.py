"""Where trainings take place: on the processor, or on a GPU that is there.

Whatever a training makes of numbers by itself (zeros, ranges, arrays from data sets) is made where it takes place
(`making_on`), so a method need not know. What is drawn at random is drawn on the processor and moved, so that weights,
batches and masks of a seed are the same everywhere.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import TypeVar

import torch

from fairness_core.config import DEVICE_VARIABLE, DEVICES, UserError

CPU = torch.device("cpu")
# What processors call theirs for 16 bits. ARM's (bf16) is not among them: PyTorch may come without what would use it,
# as it does for Macs.
UNITS = ("avx512_bf16", "amx_bf16")
Y = TypeVar("Y")
R = TypeVar("R")


def here() -> torch.device:
    """Where this process trains, by the environment's EQUIPOISE_DEVICE: cpu (the default), cuda, or auto, which takes a
    GPU if there is one. UserError when it names something else, or a GPU that is not there."""
    name = os.environ.get(DEVICE_VARIABLE) or "cpu"
    if name not in DEVICES:
        raise UserError(f"{DEVICE_VARIABLE} = {name} is no device; choose one of {', '.join(DEVICES)}.")
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return CPU
    if not torch.cuda.is_available():
        raise UserError("There is no GPU here that PyTorch can use; choose the device cpu or auto.")
    return torch.device("cuda")


def title(device: torch.device | None = None) -> str:
    """What people call a device, or the one where this process trains."""
    device = here() if device is None else device
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def in_16_bits(precision: str, device: torch.device) -> bool:
    """Do pictures pass through a network in bfloat16 while it trains? auto: where the device multiplies such numbers
    faster; one without units for them takes some ten times as long."""
    if precision != "auto":
        return precision == "bfloat16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(unit, False) for unit in UNITS)


def bits(precision: str) -> int:
    """How many bits each number has that passes through a network of pictures where this process trains; networks of
    tables always compute in 32."""
    return 16 if in_16_bits(precision, here()) else 32


def making_on(device: torch.device, training: Generator[Y, None, R]) -> Generator[Y, None, R]:
    """The same training, whose new tensors lie on `device` unless it says otherwise."""
    if device == CPU:
        return (yield from training)
    try:
        while True:
            with device:  # not around the yield: what others do between two events is theirs
                try:
                    told = next(training)
                except StopIteration as done:
                    result: R = done.value
                    return result
            yield told
    finally:
        training.close()
