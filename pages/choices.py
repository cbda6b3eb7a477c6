"""Which sweep the frontier page shows: what the address asks for, what the controls say, and what lies in the store."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pages
from fairness_core import sweep
from fairness_core.config import Catalogue, Control, Option, RunConfig, UserError, content_hash, resolve
from fairness_core.store import Store, Sweep
from pages.controls import words

FIRST = {"dataset": "adult", "group": "sex", "method": "adversarial"}  # what a first visit trains by itself
SEEDS = 5
GRID = "0:4:21"
PICTURE_VALUES, PICTURE_SEEDS = 5, 1  # a network for pictures takes minutes, and no stack makes it cheaper
MOST_OFFERED = 4  # attributes of which every intersection is offered


@dataclass(frozen=True)
class Plan:
    """A sweep somebody may want: its description, the runs it needs, and the untreated runs it is compared with."""

    spec: Mapping[str, Any]
    runs: Sequence[RunConfig]
    anchors: Sequence[RunConfig]

    @property
    def id(self) -> str:
        return content_hash(self.spec)

    @property
    def base(self) -> RunConfig:
        return RunConfig.from_json(self.spec["base"])


def plan(
    catalogue: Catalogue,
    *,
    dataset: str,
    method: str,
    values: Sequence[float],
    seeds: int,
    model: str | None = None,
    options: Mapping[str, Mapping[str, Option]] | None = None,
) -> Plan:
    """The sweep over λ = `values` with seeds 0 to seeds - 1; options: dataset, model, method, training -> settings.

    Raises UserError for anything that cannot be trained.
    """
    given = options or {}
    base = resolve(
        catalogue, dataset=dataset, model=model, method=method, dataset_options=given.get("dataset"),
        model_options=given.get("model"), method_options=given.get("method"), training=given.get("training"),
    )  # fmt: skip
    over = tradeoff(catalogue, method)
    checked = [float(over.parse(value)) for value in values]
    spec = {"over": over.name, "values": checked, "seeds": list(range(seeds)), "base": base.to_json()}
    return from_spec(catalogue, spec)


def from_spec(catalogue: Catalogue, spec: Mapping[str, Any]) -> Plan:
    """The plan a stored sweep was made from."""
    base, over = RunConfig.from_json(spec["base"]), spec["over"]
    runs = [
        dataclasses.replace(base.with_option(over, value), seed=seed)
        for value in spec["values"]
        for seed in spec["seeds"]
    ]
    untreated = resolve(
        catalogue, dataset=base.dataset, model=base.model, method="erm", dataset_options=base.dataset_options,
        model_options=base.model_options, training={**base.training, "prepare": "none"},
    )  # fmt: skip
    anchors = [dataclasses.replace(untreated, seed=seed) for seed in spec["seeds"]]
    return Plan(spec, runs, anchors)


def default_plan(catalogue: Catalogue, dataset: str, group: str, method: str) -> Plan:
    """The sweep that is trained when nobody has turned anything."""
    usual = usual_spec(catalogue, method, dataset)
    options = {"dataset": {"sensitive": group}}
    seeds = len(usual["seeds"])
    return plan(catalogue, dataset=dataset, method=method, values=usual["values"], seeds=seeds, options=options)


def usual_spec(catalogue: Catalogue, method: str, dataset: str) -> dict[str, Any]:
    """The values and seeds of a sweep nobody has changed; few of them where a single run takes minutes."""
    values = default_values(catalogue, method)
    if catalogue["datasets"][dataset]["kind"] == "table":
        return {"values": values, "seeds": list(range(SEEDS))}
    last = len(values) - 1
    few = [values[round(i * last / (PICTURE_VALUES - 1))] for i in range(PICTURE_VALUES)]
    return {"values": few, "seeds": list(range(PICTURE_SEEDS))}


def default_values(catalogue: Catalogue, method: str) -> list[float]:
    """The grid the method declares for its trade-off; 21 even steps up to 4 if it declares none."""
    return list(catalogue["methods"][method]["grid"]) or sweep.grid(GRID)


def tradeoff(catalogue: Catalogue, method: str) -> Control:
    """The control that moves along the frontier; UserError for a method without one."""
    entry = catalogue["methods"].get(method)
    if entry is None or not entry["tradeoff"]:
        known = ", ".join(treated(catalogue))
        raise UserError(f"There is no method {method!r} with a trade-off; choose one of {known}.")
    return next(c for c in pages.declared(entry) if c.name == entry["tradeoff"])


def command_line(catalogue: Catalogue, plan: Plan) -> str:
    """The sweep on the command line, whose seeds count from 0."""
    values, spec = ",".join(f"{v:g}" for v in plan.spec["values"]), plan.spec
    over, seeds = f"{spec['over']}={values}", str(len(spec["seeds"]))
    return pages.command_line("sweep", plan.base, catalogue, "--over", over, "--seeds", seeds)


def debiasers(catalogue: Catalogue, dataset: str) -> list[str]:
    """The methods that one trains a model with on this data set: all but experiments, which only ask a question, and
    those that have no answer to its kind of target, where that cannot be chosen."""
    entry = catalogue["datasets"][dataset]
    chosen = any(c.name == "target" for c in pages.declared(entry))
    methods = [(name, m) for name, m in catalogue["methods"].items() if m["family"] != "experiment"]
    return [name for name, m in methods if chosen or entry["task"] in m["tasks"]]


def treated(catalogue: Catalogue, dataset: str | None = None) -> list[str]:
    """The methods that have a frontier; with `dataset`, those of them that can predict a number if it asks for one."""
    number = dataset is not None and catalogue["datasets"][dataset]["task"] == "regression"
    methods = catalogue["methods"].items()
    return [name for name, m in methods if m["tradeoff"] and (not number or "regression" in m["tasks"])]


def trainable(catalogue: Catalogue) -> list[str]:
    """The data sets that are here and for which there is a method with a frontier."""
    entries = catalogue["datasets"].items()
    return [name for name, entry in entries if not entry["missing"] and treated(catalogue, name)]


def sensitive_control(catalogue: Catalogue, dataset: str) -> Control | None:
    """The control that says whose results are compared."""
    return next((c for c in pages.declared(catalogue["datasets"][dataset]) if c.name == "sensitive"), None)


def groupings(catalogue: Catalogue, dataset: str, also: str = "") -> list[str]:
    """The sensitive attributes a data set offers, with their intersections where those are few, and `also` if it is
    one of the others."""
    control = sensitive_control(catalogue, dataset)
    if control is None:
        return []
    found = list(control.choices)
    if control.kind == "several" and len(found) <= MOST_OFFERED:
        for size in range(2, min(control.most, len(found)) + 1):
            found += [control.joiner.join(parts) for parts in itertools.combinations(control.choices, size)]
    if also and also not in found and _parses(control, also):
        found.append(str(control.parse(also)))
    return sorted(found, key=lambda name: name != control.default)  # what is usual goes first


def grouping_title(catalogue: Catalogue, dataset: str, value: str) -> str:
    """What a sensitive attribute, or an intersection of some, is called on the screen."""
    control = sensitive_control(catalogue, dataset)
    return words(control, value) if control and control.called else value


def _parses(control: Control, value: str) -> bool:
    try:
        control.parse(value)
    except UserError:
        return False
    return True


def submit(store: Store, wanted: Plan) -> str:
    """Queue the untreated runs, then the sweep; what is trained already costs nothing. Returns the sweep's id."""
    store.submit(wanted.anchors)
    made = store.submit_sweep(wanted.spec, wanted.runs, vary=[wanted.spec["over"]])
    pages.wake_runner()
    return made


def supply_anchors(store: Store, catalogue: Catalogue, shown: Sweep) -> None:
    """Queue the untreated runs of a sweep if nobody ever asked for them, as with one from the command line."""
    anchors = from_spec(catalogue, shown.spec).anchors
    known = set(store.runs([c.id for c in anchors])["id"])
    missing = [c for c in anchors if c.id not in known]
    if missing:
        store.submit(missing)
        pages.wake_runner()


def stored(store: Store, catalogue: Catalogue, dataset: str, group: str, method: str) -> Sweep | None:
    """The default sweep of these three if it was ever submitted, else the newest one of them, else None."""
    usual = store.sweep(default_plan(catalogue, dataset, group, method).id)
    if usual is not None:
        return usual
    table = store.sweeps()
    fits = table[(table["dataset"] == dataset) & (table["method"] == method)]
    for sweep_id in fits["id"]:
        found = store.sweep(sweep_id)
        if found is not None and found.spec["base"]["dataset_options"].get("sensitive") == group:
            return found
    return None


# ---------------------------------------------------------------------------------------------------------- the address


@dataclass(frozen=True)
class Asked:
    """What the address of the page asks for, and one sentence for everything in it that cannot be had."""

    dataset: str
    group: str
    method: str
    sweep: Sweep | None
    first_visit: bool
    problems: tuple[str, ...]


def read_address(store: Store, catalogue: Catalogue, parameters: Mapping[str, str]) -> Asked:
    """Check ?sweep=, or ?data=, ?group=, ?method=; whatever cannot be had falls back to the first visit's."""
    problems: list[str] = []
    found = store.sweep(parameters["sweep"]) if "sweep" in parameters else None
    if found is not None and not _usable(catalogue, found):
        problems.append(
            f"The sweep {found.id} was made with a data set or method that is no longer there; train it anew."
        )
        found = None
    elif found is None and "sweep" in parameters:
        problems.append(f"There is no sweep {parameters['sweep'][:40]!r} in this store; here is the first one instead.")
    if found is not None:
        base = RunConfig.from_json(found.spec["base"])
        group = str(base.dataset_options.get("sensitive", ""))
        return Asked(base.dataset, group, base.method, found, False, tuple(problems))
    absent = catalogue["datasets"].get(parameters.get("data"), {}).get("missing")
    problems += [absent] if absent else []
    dataset = one_of(parameters, "data", trainable(catalogue), FIRST["dataset"], problems)
    offered = groupings(catalogue, dataset, parameters.get("group", ""))
    group = one_of(parameters, "group", offered, FIRST["group"], problems)
    method = one_of(parameters, "method", treated(catalogue, dataset), FIRST["method"], problems)
    chosen = {"data", "group", "method"} & parameters.keys() and not problems
    return Asked(dataset, group, method, stored(store, catalogue, dataset, group, method), not chosen, tuple(problems))


def _usable(catalogue: Catalogue, found: Sweep) -> bool:
    base = found.spec["base"]
    return base["dataset"] in catalogue["datasets"] and base["method"] in treated(catalogue)


def one_of(parameters: Mapping[str, str], name: str, choices: Sequence[str], fallback: str, problems: list[str]) -> str:
    """The parameter if it is one of the choices; else the fallback, with a sentence if something else was asked for."""
    usual = fallback if fallback in choices else choices[0]
    asked = parameters.get(name)
    if asked is None or asked in choices:
        return asked or usual
    offered = f"one of {', '.join(choices)}" if len(choices) <= 8 else "one from the list"
    problems.append(f"There is no {name} {asked[:40]!r}; choose {offered}. Showing {usual}.")
    return usual


def number(
    parameters: Mapping[str, str], name: str, symbol: str, low: float, high: float, problems: list[str]
) -> float | None:
    """A number of the address inside [low, high]; None if there is none, with a sentence if it is no such number."""
    asked = parameters.get(name)
    if asked is None:
        return None
    try:
        return float(Control(name, "float", low, low, high).parse(asked))
    except UserError:
        problems.append(f"{symbol} = {asked[:40]} cannot be shown; choose a number from {low:g} to {high:g}.")
        return None
