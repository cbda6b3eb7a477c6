"""The plain values everything else is made of: controls, run configurations, events.

Nothing here imports torch, Streamlit or a data set; pages, store, trainer and command line all speak in these values.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

FORMAT = 1  # raise it when the meaning of a stored configuration changes: every run then gets a new id

DEVICE_VARIABLE = "EQUIPOISE_DEVICE"  # where to train, one of DEVICES; see devices.py
DEVICES = ("cpu", "cuda", "auto")

Option = float | int | str | bool
Options = Mapping[str, Option]


class UserError(ValueError):
    """Something the user gave cannot be used; the message is one sentence: what was wrong, the value, what to do."""


@dataclass(frozen=True)
class Control:
    """One hyper-parameter as the screen and the command line see it.

    kind is "float", "int", "choice", "several" or "text"; low and high are inclusive; `tradeoff` marks the control that
    moves along the accuracy-fairness frontier and `grid` the values that a sweep of it visits. A "several" takes one to
    `most` of its choices, written with `joiner` between them ("sex x race"). A "method" is the name of one of its
    choices, perhaps with settings of that method ("adversarial lam=2"; see `read_method`). `unset` is a word that
    stands for no value at all ("as is"). `called` is what screens call choices whose names are no words.
    """

    name: str
    kind: str
    default: Option
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    help: str = ""
    symbol: str = ""
    group: str = "method"  # where the form shows it: "method", "training" or "advanced"
    tradeoff: bool = False
    grid: tuple[float, ...] = ()
    joiner: str = ""
    most: int = 1
    unset: str = ""
    called: Mapping[str, str] = field(default_factory=dict, hash=False)

    def parse(self, value: object) -> Option:
        """`value` (text, number) as this control's type, inside its range; UserError otherwise."""
        if self.unset and value == self.unset:
            return self.unset
        if self.kind == "several":
            return self.joiner.join(self.parts(value))
        if self.kind == "choice":
            if str(value) not in self.choices:
                raise UserError(f"{self.name} = {value!s} is not known; choose one of {', '.join(self.choices)}.")
            return str(value)
        if self.kind == "method":
            name, settings = split_method(str(value), self.choices)
            return " ".join([name, *(f"{k}={v}" for k, v in settings.items())])
        if self.kind == "text":
            return str(value)
        try:
            number = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            raise UserError(f"{self.name} = {value!s} is not a number; give one {self._range()}.") from None
        if not math.isfinite(number) or not (self._low <= number <= self._high):
            raise UserError(f"{self.name} = {value!s} is out of range; give a number {self._range()}.")
        if self.kind == "int":
            if number != int(number):
                raise UserError(f"{self.name} = {value!s} is not a whole number; give one {self._range()}.")
            return int(number)
        return number

    def parts(self, value: object) -> list[str]:
        """The choices that a value of a "several" names, each once; a comma separates them as well as the joiner."""
        text = str(value)
        found = self._split(text)
        if found is None:
            known = ", ".join(self.choices[:40]) + (", ..." if len(self.choices) > 40 else "")
            raise UserError(f"{self.name} = {text} is not known; choose up to {self.most} of {known}.")
        if len(set(found)) < len(found):
            raise UserError(f"{self.name} = {text} names the same thing twice; name each once.")
        if len(found) > self.most:
            raise UserError(f"{self.name} = {text} names {len(found)}; choose at most {self.most}.")
        return found

    def _split(self, text: str) -> list[str] | None:
        """Choices may hold the separators themselves, so the longest choice that fits goes first."""
        if text in self.choices:
            return [text]
        plain = text.split(self.joiner)
        if set(plain) <= set(self.choices) and not any(self.joiner in choice for choice in self.choices):
            return plain  # hundreds of columns of a wide table at once
        for choice in sorted(self.choices, key=len, reverse=True):
            for separator in (self.joiner, ", ", ","):
                if text.startswith(choice + separator):
                    rest = self._split(text.removeprefix(choice + separator))
                    if rest is not None:
                        return [choice, *rest]
        return None

    @property
    def _low(self) -> float:
        return -math.inf if self.low is None else self.low

    @property
    def _high(self) -> float:
        return math.inf if self.high is None else self.high

    def _range(self) -> str:
        return f"from {self._low:g} to {self._high:g}"

    def to_json(self) -> dict[str, Any]:
        return {**dataclasses.asdict(self), "choices": list(self.choices), "grid": list(self.grid)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Control:
        return cls(**{**data, "choices": tuple(data["choices"]), "grid": tuple(data["grid"])})


def control(
    default: Option,
    low: float | None = None,
    high: float | None = None,
    *,
    help: str,
    symbol: str = "",
    choices: Sequence[str] = (),
    group: str = "method",
    tradeoff: bool = False,
    grid: Sequence[float] = (),
    joiner: str = "",
    most: int = 1,
    unset: str = "",
    method: bool = False,
    called: Mapping[str, str] | None = None,
) -> Any:
    """A dataclass field that is also a slider: the type of `default` decides the kind, `choices` makes it a list, with
    a `joiner` one of which several may be taken; `unset` makes it a number that may be left out; with `method` the
    choices are names of methods, which may carry settings."""
    kind = "float" if unset else {bool: "choice", int: "int", float: "float"}.get(type(default), "text")
    kind = ("several" if joiner else "choice") if choices else kind
    kind = "method" if method else kind
    made = Control(
        "", kind, default, low, high, tuple(choices), help, symbol, group, tradeoff, tuple(map(float, grid)), joiner,
        most, unset, called or {},
    )  # fmt: skip
    return field(default=default, metadata={"control": made})


def controls_of(cls: type) -> tuple[Control, ...]:
    """The controls a dataclass declares, in order of declaration."""
    return tuple(
        dataclasses.replace(f.metadata["control"], name=f.name)
        for f in dataclasses.fields(cls)
        if "control" in f.metadata
    )


def complete(controls: Iterable[Control], given: Options, what: str) -> dict[str, Option]:
    """Every control's value: the given one, parsed and checked, else the default.

    Raises UserError for a name no control has; `what` says whose options they are ("method adversarial").
    """
    known = {c.name: c for c in controls}
    for name in given:
        if name not in known:
            names = ", ".join(known) or "none"
            raise UserError(f"{what} has no setting {name!r}; its settings are: {names}.")
    return {name: c.parse(given.get(name, c.default)) for name, c in known.items()}


def split_method(text: str, choices: Sequence[str] = ()) -> tuple[str, dict[str, str]]:
    """ "adversarial lam=2" -> ("adversarial", {"lam": "2"}); UserError when it is not one of `choices` (if given) or is
    not written like that."""
    name, *rest = text.split() or [""]
    if choices and name not in choices:
        raise UserError(f"{name!r} is not a method that can stand here; choose one of {', '.join(choices)}.")
    settings = dict(part.partition("=")[::2] for part in rest)
    for part in rest:
        if not part.partition("=")[2]:
            raise UserError(f"{text!r} cannot be read at {part!r}; write a method and its settings, as name lam=2.")
    return name, settings


SELECTIONS = 50  # how often a run that keeps its best weights looks at the validation split


@dataclass(frozen=True)
class Budget:
    """How long and how a model is trained; part of every RunConfig."""

    epochs: int = control(10, 1, 1000, help="Passes over the training split.", group="training")
    batch_size: int = control(256, 1, 65536, help="Rows per gradient step.", group="training")
    lr: float = control(1e-3, 1e-6, 1.0, help="Adam's learning rate.", symbol="η", group="training")
    weight_decay: float = control(0.0, 0.0, 1.0, help="L2 penalty added to the gradient (Adam).", group="advanced")
    max_steps: int = control(0, 0, 10_000_000, help="Stop after so many gradient steps; 0 = no cap.", group="advanced")
    select: str = control(
        "last", choices=("last", "validation_loss"), group="advanced",
        help="Which weights are kept: those of the last step, or those with the lowest loss on the validation split "
        f"({SELECTIONS} looks per run).",
    )  # fmt: skip
    lr_step: int = control(
        0, 0, 10_000_000, help="Multiply the learning rate by 0.1 every so many steps; 0 = constant.", group="advanced"
    )
    lr_decay: str = control(
        "none", choices=("none", "linear"), help="linear: the learning rate falls to 0 over the run.", group="advanced"
    )
    class_weights: str = control(
        "none", choices=("none", "balanced"), group="advanced",
        help="balanced: classes count alike in the loss that models train with, untreated ones as well, so that more "
        "of a rare class is found; groups stay as they are. For classes, not for a number as target.",
    )  # fmt: skip
    augment: str = control(
        "none", choices=("none", "horizontal_flip"), group="advanced",
        help="horizontal_flip: in training every picture is turned left to right or not, by chance, so that a network "
        "learns fewer of them by heart. For faces; a digit would be another sign. Without effect on tables.",
    )  # fmt: skip
    precision: str = control(
        "float32",
        choices=("float32", "bfloat16", "auto"),
        help="bfloat16: pictures pass through the network in 16 bits while it trains, which takes half of the time or "
        "less where the processor has units for it, and ten times as long elsewhere; weights, and what is counted, "
        "keep 32. auto: bfloat16 where there are such units. Without effect on tables.",
        group="advanced",
    )
    prepare: str = control(
        "none",
        choices=("none", "undersampling", "oversampling", "reweighing"),
        method=True,
        help="How the training rows are balanced before any method learns from them; settings may follow, as in "
        "reweighing mode=group_balanced.",
        group="advanced",
    )


@dataclass(frozen=True)
class RunConfig:
    """All that determines one result, and nothing else. Make it with `resolve`, which fills in every default.

    base: the method and the method_options of the run whose trained model this one starts from, for methods that treat
    a trained model; everything else of that run is as here (`start`).
    """

    dataset: str
    dataset_options: Options
    model: str
    model_options: Options
    method: str
    method_options: Options
    training: Options
    seed: int
    data_hash: str = ""
    base: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        data = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "base"}
        return {**data, "format": FORMAT, **({"base": self.base} if self.base else {})}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RunConfig:
        return cls(**{f.name: data[f.name] for f in dataclasses.fields(cls) if f.name in data or f.name != "base"})

    @property
    def start(self) -> RunConfig | None:
        """The run whose trained model this one starts from, or None."""
        return dataclasses.replace(self, **self.base, base=None) if self.base else None

    @property
    def id(self) -> str:
        """16 hexadecimal digits: the content hash of this configuration and of the data it names."""
        return content_hash(self.to_json())

    def stack_key(self, vary: Sequence[str] = ()) -> str:
        """Runs with the same key differ only in the seed and in the method options named by `vary`: one worker
        trains them together."""
        data = self.to_json()
        del data["seed"]
        data["method_options"] = {k: v for k, v in self.method_options.items() if k not in vary}
        return content_hash(data)

    def with_option(self, name: str, value: Option) -> RunConfig:
        """The same run with one method option changed."""
        return dataclasses.replace(self, method_options={**self.method_options, name: value})


def content_hash(data: object) -> str:
    """16 hexadecimal digits of SHA-256 over canonical JSON."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


Catalogue = Mapping[str, Any]  # what exists (methods, data sets, models) with its controls: plain JSON


def resolve(
    catalogue: Catalogue,
    *,
    dataset: str,
    method: str,
    model: str | None = None,
    seed: int | str = 0,
    dataset_options: Options | None = None,
    model_options: Options | None = None,
    method_options: Options | None = None,
    training: Options | None = None,
) -> RunConfig:
    """A complete, checked RunConfig from what the user chose; UserError with one sentence otherwise. Without `model` it
    is the usual one for this kind of data, and what `training` leaves out is as the data set suggests."""

    def section(kind: str, name: str, given: Options | None) -> dict[str, Option]:
        entries = catalogue[kind + "s"]
        if name not in entries:
            raise UserError(f"There is no {kind} {name!r}; choose one of {', '.join(entries)}.")
        controls = map(Control.from_json, entries[name]["controls"])
        return complete(controls, given or {}, f"{kind} {name}")

    dataset_options = section("dataset", dataset, dataset_options)
    entry = catalogue["datasets"][dataset]
    if entry["missing"]:
        raise UserError(entry["missing"])
    model = model or entry["model"]
    model_options = section("model", model, model_options)
    if catalogue["models"][model]["takes"] != entry["kind"]:
        able = ", ".join(n for n, m in catalogue["models"].items() if m["takes"] == entry["kind"])
        raise UserError(f"Model {model} cannot read dataset {dataset}; choose {able}.")
    seed_control = Control("seed", "int", 0, 0, 2**31 - 1)
    method_options = section("method", method, method_options)
    training = complete(controls_of(Budget), {**entry["training"], **(training or {})}, "training")
    training["prepare"] = read_method(catalogue, str(training["prepare"]))[2]
    base = None
    if "start" in method_options:
        name, options, method_options["start"] = read_method(catalogue, str(method_options["start"]))
        base = {"method": name, "method_options": options}
    return RunConfig(
        dataset=dataset,
        dataset_options=dataset_options,
        model=model,
        model_options=model_options,
        method=method,
        method_options=method_options,
        training=training,
        seed=int(seed_control.parse(seed)),
        data_hash=entry["data_hash"],
        base=base,
    )


def read_method(catalogue: Catalogue, text: str) -> tuple[str, dict[str, Option], str]:
    """The method that a "method" control names, all its settings, and the text in its shortest form: only the settings
    that are not at their default. "none" is no method."""
    name, given = split_method(text)
    if name == "none":
        return name, {}, name
    controls = [Control.from_json(c) for c in catalogue["methods"][name]["controls"]]
    options = complete(controls, given, f"method {name}")
    own = [f"{c.name}={_plain(options[c.name])}" for c in controls if options[c.name] != c.default]
    return name, options, " ".join([name, *own])


def _plain(value: Option) -> str:
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)


Exhibit = Mapping[str, np.ndarray]  # named arrays that a page may show


@dataclass(frozen=True)
class Event:
    """The only thing that leaves training.

    stage: "training" (live: losses, gauges and the confusion tensor of a fixed validation sample), then at the end
    "validation" and "test" (whole splits). confusion: int64 (groups, classes, classes), indexed [s, y, y_hat].
    The last two of a binary task also carry, per row of the split, float32 (n,): scores, P(y = 1) as the network gives
    it, and decisions, 0 or 1 (in between: the chance of 1), unless those are scores > values["tau"] (0.5 if absent).
    Those of a regression carry as scores what was predicted, in units of the target, and its measures as values.
    errors: of a live regression: regression.sums of the same rows, float64 (groups, bins, 6).
    exhibit: arrays that show what the method does at this moment (pictures before and after), for the page to draw.
    """

    stage: str
    step: int
    of: int
    values: Mapping[str, float] = field(default_factory=dict)
    confusion: np.ndarray | None = None
    scores: np.ndarray | None = None
    decisions: np.ndarray | None = None
    errors: np.ndarray | None = None
    exhibit: Exhibit | None = None
