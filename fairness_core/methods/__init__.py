"""Debiasers by name. Every file in this folder that registers a method is found by itself."""

import importlib
import pkgutil

from fairness_core.methods.base import METHODS, Debiaser, InProcessing, Latent, PostHoc, PreProcessing, judged

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["METHODS", "Debiaser", "InProcessing", "Latent", "PostHoc", "PreProcessing", "judged"]
