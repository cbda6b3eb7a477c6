"""From configurations to trained models: builds data, networks and methods, and trains in stacks what it can."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fairness_core import devices, vae
from fairness_core.codes import Coded
from fairness_core.config import Budget, Event, RunConfig, UserError, complete, controls_of, split_method
from fairness_core.datasets import Dataset, load
from fairness_core.generators import mapped, ran
from fairness_core.methods import METHODS, InProcessing, Latent, PostHoc, PreProcessing
from fairness_core.models import MODELS
from fairness_core.once import Once
from fairness_core.pace import phase_ends
from fairness_core.preparation import class_weights
from fairness_core.training import Events, Job, Training, later, train

STACK_SIZE = 24  # replicas trained as one; more would no longer fit the processor's cache
Fit = Generator[Events, None, list[nn.Module]]


def fit(
    configs: Sequence[RunConfig],
    *,
    data_dir: Path | str | None = None,
    tables: Path | str | None = None,
    weights: Callable[[str], Path] | None = None,
    starts: Mapping[str, nn.Module] | None = None,
    encoders: Path | None = None,
    live: bool = True,
    dtype: torch.dtype = torch.float32,
) -> Fit:
    """Train all configurations, yielding lists of (index into configs, Event); returns the trained modules.

    Configurations that differ only in λ and seed (or in the seed of the data's split) train together in stacks, and
    the stacks take turns on the processor's cores, so that all of them advance together. `live=False` reports only the
    final results. Closing the generator stops training. data_dir: where published data lie; tables: the folder of the
    user's own (see datasets.load). The trained models that some configurations start from, by id, are taken from
    `starts`, else read from the files `weights(id)`, else trained here first. encoders: where autoencoders are kept,
    in a folder per data set (codes.py). UserError when a method cannot handle the target.
    """
    data = [load(c.dataset, c.dataset_options, data_dir, tables) for c in configs]
    for config, loaded in zip(configs, data, strict=True):
        check_task(config.method, loaded)
    data = prepared(configs, data)
    given = dict(starts or {})
    for config, loaded in zip(configs, data, strict=True):
        if config.start and config.start.id not in given:
            path = weights(config.start.id) if weights else None
            given[config.start.id] = (
                trained(config.start, loaded, path) if path else _now(config.start, data_dir, tables, dtype)
            )
    if issubclass(METHODS[configs[0].method], Latent):
        return _on_codes(configs, data, encoders, live, dtype)
    return _in_stacks(configs, data, given, live, dtype)


def _in_stacks(
    configs: Sequence[RunConfig],
    data: Sequence[Dataset],
    starts: Mapping[str, nn.Module],
    live: bool,
    dtype: torch.dtype,
) -> Fit:
    """Plan the stacks and train them in turns."""
    where = place(configs[0].method)
    shapes, rows_of = [d.train.x.shape[1:] for d in data], [(len(d.train), id(d.train.y)) for d in data]
    stacks = plan(configs, shapes, rows_of, whole=where != devices.CPU)
    stop, common = threading.Event(), Once()
    trainings = [
        (rows, _start([configs[i] for i in rows], [data[i] for i in rows], starts, live, dtype, stop, common))
        for rows in stacks
    ]
    at_once = min(cores(), len(trainings))
    threads = cores() // at_once if data[0].train.x.ndim > 2 else 1
    return _take_turns(trainings, len(configs), stop, at_once, threads)


def _on_codes(
    configs: Sequence[RunConfig], data: Sequence[Dataset], encoders: Path | None, live: bool, dtype: torch.dtype
) -> Fit:
    """First every autoencoder that the configurations need and that is not kept, once each, then the runs on codes; a
    run's steps are those of both."""
    recipes: list[Latent] = [METHODS[c.method](**c.method_options) for c in configs]
    groups: dict[tuple[int, vae.Settings, str], list[int]] = {}
    for i, (recipe, own) in enumerate(zip(recipes, data, strict=True)):
        groups.setdefault((id(own), recipe.settings, recipe.code), []).append(i)
    coded: list[Dataset] = list(data)
    first = [0] * len(configs)
    for rows in groups.values():
        recipe, own = recipes[rows[0]], data[rows[0]]
        steps = phase_ends(Budget(**configs[rows[0]].training), len(own.train), recipe.phases)[-1]  # type: ignore[arg-type]
        folder = encoders / configs[rows[0]].dataset if encoders else None
        made = yield from _coding(recipe, own, folder, rows if live else [], steps)
        for i in rows:
            coded[i], first[i] = made, 0 if made.reused else recipe.settings.steps
    training = _in_stacks(configs, coded, {}, live, dtype)
    return (yield from mapped(training, lambda events: [(i, later(first[i])(event)) for i, event in events]))


def _coding(
    recipe: Latent, data: Dataset, folder: Path | None, tell: list[int], steps: int
) -> Generator[Events, None, Coded]:
    """The data in codes, while events say how far the autoencoder is; `steps` follow."""
    coding = recipe.coded(data, folder)
    threads = cores() if data.train.x.ndim > 2 else 1
    # whatever ends this, the pool waits for its thread before what the thread runs is closed
    with closing(coding), ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(threads,)) as pool:
        while True:
            found = pool.submit(_next, coding).result()
            if isinstance(found, Coded):
                return found
            event = Event("training", found[0], recipe.settings.steps + steps, found[1])
            yield [(i, event) for i in tell]


def _next(coding: Generator[tuple[int, vae.Losses], None, Coded]) -> tuple[int, vae.Losses] | Coded:
    """The next losses of an autoencoder, or the codes when it is trained."""
    try:
        return next(coding)
    except StopIteration as done:
        coded: Coded = done.value
        return coded


def trained(config: RunConfig, data: Dataset, path: Path) -> nn.Module:
    """The network of a finished run with the weights in `path`, in evaluation mode; UserError when they are not there
    or belong to another network."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    network: nn.Module = MODELS[config.model](**config.model_options).build(data, config.seed)
    try:
        network.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError):
        raise UserError(f"The weights of run {config.id} cannot be read; train it again.") from None
    return network.eval()


def _now(config: RunConfig, data_dir: Path | str | None, tables: Path | str | None, dtype: torch.dtype) -> nn.Module:
    """The network of a run, trained here."""
    (network,), _ = ran(fit([config], data_dir=data_dir, tables=tables, live=False, dtype=dtype))
    return network


def check_task(method: str, data: Dataset) -> None:
    """UserError when `method` has no answer to this kind of target."""
    if data.task not in METHODS[method].tasks:
        kinds = {"multilabel": "several targets at once", "regression": "a number as target"}
        able = ", ".join(name for name, known in METHODS.items() if data.task in known.tasks)
        what = kinds.get(data.task, f"a {data.task} target")
        raise UserError(f"Method {method} cannot handle {what}; choose another target, or one of {able}.")


def prepared(configs: Sequence[RunConfig], data: Sequence[Dataset]) -> list[Dataset]:
    """The data with each configuration's training rows as its method or its `prepare` setting makes them, then weighted
    as its `class_weights` say; made once for configurations that agree, so that those still share their rows. UserError
    when both of the first are asked for, or when there are no classes to weigh."""
    made: dict[tuple[int, str, str, int], Dataset] = {}
    balanced: dict[int, Dataset] = {}
    out = []
    for config, loaded in zip(configs, data, strict=True):
        text = str(config.training.get("prepare", "none"))
        method: Any = METHODS[config.method](**config.method_options)
        if isinstance(method, PreProcessing) and text != "none":
            raise UserError(
                f"{method.title} prepares the rows itself, and prepare = {text} would do so first; set one of the two."
            )
        if text != "none" and not isinstance(method, PostHoc):  # what is trained already was prepared for
            name, options = split_method(text)
            method = METHODS[name](**complete(controls_of(METHODS[name]), options, f"method {name}"))
            check_task(name, loaded)
        if isinstance(method, PreProcessing):
            key = (id(loaded), method.name, str(method), config.seed)
            if key not in made:
                made[key] = replace(loaded, train=method.prepare(loaded, config.seed))
            loaded = made[key]
        if config.training.get("class_weights", "none") == "balanced" and not isinstance(method, PostHoc):
            if loaded.task == "regression":
                raise UserError("class_weights = balanced needs classes, and the target is a number; set it to none.")
            if id(loaded) not in balanced:
                balanced[id(loaded)] = replace(loaded, train=replace(loaded.train, w=class_weights(loaded.train)))
            loaded = balanced[id(loaded)]
        out.append(loaded)
    return out


def place(method: str) -> torch.device:
    """Where runs of a method are trained."""
    return devices.here() if METHODS[method].on_gpu else devices.CPU


def plan(
    configs: Sequence[RunConfig],
    shapes: Sequence[tuple[int, ...]],
    rows: Sequence[tuple[int, int]] | None = None,
    *,
    whole: bool = False,
) -> list[list[int]]:
    """Which configurations form a stack: index lists that cover all.

    Runs of one seed share their batches, so they go together, in stacks of at most STACK_SIZE and, if they are enough,
    at least one per core. Seeds with a single run each are stacked across seeds, as far as their rows have one shape.
    Networks for pictures gain nothing from a stack. shapes: of one row of each configuration's data; rows: how many
    training rows it has, and a number that is equal where these are the same rows. whole: everything in one stack as
    far as the rows have one shape, for a GPU, which takes as long for a hundred small networks as for one.
    """
    rows = rows or [(0, 0)] * len(configs)
    if len(shapes[0]) > 1 or not issubclass(METHODS[configs[0].method], InProcessing):
        return [[i] for i in range(len(configs))]
    by_seed: dict[tuple[int, str, tuple[int, int]], list[int]] = {}
    for i, c in enumerate(configs):
        by_seed.setdefault((c.seed, str(sorted(c.dataset_options.items())), rows[i]), []).append(i)
    families = list(by_seed.values())
    if whole or all(len(family) == 1 for family in families):
        by_shape: dict[tuple[int, ...], list[int]] = {}
        for i in range(len(configs)):
            by_shape.setdefault((*shapes[i], rows[i][0]), []).append(i)
        families = list(by_shape.values())
    if whole:
        return families
    size = min(STACK_SIZE, max(8, -(-len(configs) // cores())))
    parts = [-(-len(family) // size) for family in families]
    # the parts of a seed follow each other at a distance: what they have in common is made by the first
    return [family[k::n] for k in range(max(parts)) for family, n in zip(families, parts, strict=True) if k < n]


def cores() -> int:
    """Processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _start(
    configs: list[RunConfig],
    data: list[Dataset],
    starts: Mapping[str, nn.Module],
    live: bool,
    dtype: torch.dtype,
    stop: threading.Event,
    common: Once,
) -> Training:
    methods = [METHODS[c.method](**c.method_options) for c in configs]
    models = [
        starts[c.start.id] if c.start else _untrained(c, method, d)
        for c, method, d in zip(configs, methods, data, strict=True)
    ]
    budget = Budget(**configs[0].training)  # type: ignore[arg-type]
    if not isinstance(methods[0], InProcessing):
        return devices.making_on(place(configs[0].method), _alone(methods[0].fit(models[0], data[0], configs[0])))
    return train(Job(methods, models, [c.seed for c in configs], data, budget, live, dtype, stop, common))


def _untrained(config: RunConfig, method: Any, data: Dataset) -> nn.Module:
    if isinstance(method, Latent):
        return method.network(data, config.seed)
    network: nn.Module = MODELS[config.model](**config.model_options).build(data, config.seed)
    return network


def _alone(training: Generator[Event, None, nn.Module]) -> Training:
    """A method with a fit of its own, in the shape of a stack of one."""
    network = yield from mapped(training, lambda event: [(0, event)])
    return [network]


def _take_turns(
    trainings: list[tuple[list[int], Training]], n: int, stop: threading.Event, at_once: int, threads: int
) -> Fit:
    """Advance every training from one evaluation to the next, `at_once` of them at a time.

    threads: of each training. The products of tables' networks gain less from two cores than two trainings do;
    convolutions take all there are.
    """
    modules: list[nn.Module] = [nn.Identity()] * n
    with ExitStack() as ends:  # whatever ends this: say stop, wait for the pool's threads, close what they ran
        for _, training in trainings:
            ends.enter_context(closing(training))
        pool = ends.enter_context(ThreadPoolExecutor(at_once, initializer=torch.set_num_threads, initargs=(threads,)))
        ends.callback(stop.set)
        turns: dict[Future[Events | list[nn.Module]], int] = {
            pool.submit(_advance, t): k for k, (_, t) in enumerate(trainings)
        }
        while turns:
            for turn in wait(turns, return_when=FIRST_COMPLETED).done:
                k = turns.pop(turn)
                rows, training = trainings[k]
                result = turn.result()
                if result and isinstance(result[0], nn.Module):
                    for i, module in zip(rows, result, strict=True):
                        modules[i] = module
                    continue
                yield [(rows[r], event) for r, event in result]  # type: ignore[misc]
                turns[pool.submit(_advance, training)] = k
    return modules


def _advance(training: Training) -> Events | list[nn.Module]:
    """The next events of a training, or its networks when it is over."""
    try:
        return next(training)
    except StopIteration as done:
        networks: list[nn.Module] = done.value
        return networks
