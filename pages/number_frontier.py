"""The frontier of a sweep whose target is a number: error against the gap in errors, and errors by bin at every λ."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

import pages
from fairness_core import metrics, regression_figures, regression_noise, regression_results, regression_sweep
from fairness_core.config import Catalogue, RunConfig
from fairness_core.regression import MEASURES
from fairness_core.regression_sweep import ERRORS, GAPS
from fairness_core.store import Sweep
from pages import band, errors_by_bin, explorer, scene
from pages.evidence import Evidence

MOST = 1e6  # of ε in an address
ERROR, GAP = "frontier:error", "frontier:error-gap"  # state of the two pickers
WORDS = {
    GAPS[0]: "the gap between the groups' mean errors for a similar true value",
    ERRORS[0]: "the mean absolute error",
}
KEY = (
    "Filled: gap below ε. Hollow: above. Crossed: hardly better than always naming the mean. Line: front chosen on "
    "validation. Bars: ± 1 sd over seeds. Small dots: single runs. All results are on test."
)


def is_number(catalogue: Catalogue, dataset: str, shown: Sweep | None) -> bool:
    """Is a number predicted, in the sweep that is shown or, before there is one, by this data set?"""
    if shown is not None:
        info = next(iter(pages.store().info(shown.run_ids).values()), {})
        if "task" in info:
            return bool(info["task"] == "regression")
        dataset = shown.spec["base"]["dataset"]
    return bool(catalogue["datasets"][dataset]["task"] == "regression")


PICKERS = {"measure": (GAP, GAPS), "performance": (ERROR, ERRORS)}  # in the address: state, choices


def adopt(parameters: Mapping[str, str]) -> dict[str, str]:
    """Take the measures of a number from the address; what is left of it."""
    mine = {name for name, (_, names) in PICKERS.items() if parameters.get(name) in names}
    for name in mine:
        st.session_state[PICKERS[name][0]] = parameters[name]
    return {name: value for name, value in parameters.items() if name not in mine}


def pick_measures(measure: Any, against: Any) -> None:
    """The two pickers, drawn into these columns."""
    for column, label, name in ((measure, "Gap measured by", "measure"), (against, "against", "performance")):
        key, names = PICKERS[name]
        column.selectbox(label, names, key=key, format_func=title, persist_state="session",
                         on_change=_write_view, args=(name,),
                         help=MEASURES[st.session_state.get(key, names[0])].definition)  # fmt: skip


def _write_view(changed: str) -> None:
    """The address follows what is looked at; what is as usual needs no word in it. Another gap has another ε."""
    if changed == "measure":
        st.session_state["frontier:eps"] = None
        st.query_params.pop("eps", None)
    for name, (key, names) in PICKERS.items():
        if st.session_state[key] == names[0]:
            st.query_params.pop(name, None)
        else:
            st.query_params[name] = st.session_state[key]


def chosen() -> tuple[str, str]:
    """(gap, error) as the pickers say."""
    return st.session_state.get(GAP, GAPS[0]), st.session_state.get(ERROR, ERRORS[0])


def title(name: str) -> str:
    return MEASURES[name].title


@dataclass(frozen=True)
class Numbers:
    """The finished runs of a sweep: points and table as regression_sweep gives them; seeds of the untreated model."""

    points: pd.DataFrame
    table: pd.DataFrame
    untreated: Mapping[int, Mapping[str, float]]
    unit: str
    n: int


def gather(main: Evidence, anchors: Sequence[RunConfig], gap: str, error: str) -> Numbers:
    store = pages.store()
    validation, test = (store.values(main.runs["id"], split) for split in regression_results.SPLITS)
    points = regression_sweep.points(main.runs, validation, test, error, gap)
    ids = {config.id: config.seed for config in anchors}
    untreated = {ids[run]: own for run, own in store.values(ids, "test").items() if gap in own}
    info = next(iter(store.info(main.runs["id"]).values()), {})
    unit = info.get("unit") or "units of the target"
    return Numbers(points, regression_sweep.frontier(points), untreated, unit, info.get("n_test", 0))


def export(numbers: Numbers, gap: str, error: str) -> pd.DataFrame:
    """The table behind the chart, in the measures' plain names."""
    words = {"error": error, "gap": gap}
    return numbers.table.rename(columns=lambda c: "_".join(words.get(part, part) for part in str(c).split("_")))


# -------------------------------------------------------------------------------------------------------------- screen


def draw(
    main: Evidence,
    others: Sequence[Evidence],
    anchors: Sequence[RunConfig],
    on_position: Any,
    on_epsilon: Callable[[Sequence[float]], None],
) -> None:
    """Everything between the progress and the actions; λ and ε are in the state of the page."""
    gap, error = chosen()
    numbers = gather(main, anchors, gap, error)
    if numbers.points.empty:
        st.info("A point appears as soon as its model is trained; every model is then a position of one slider.",
                icon=":material/hourglass_top:")  # fmt: skip
        return
    beside = [(other, gather(other, anchors, gap, error)) for other in others]
    stops = epsilons(numbers.points)
    state = st.session_state
    mount(
        main, beside, numbers, state["frontier:lam"], state["frontier:eps"], stops, on_position,
        lambda: on_epsilon(stops),
    )  # fmt: skip


def actions(main: Evidence, anchors: Sequence[RunConfig]) -> None:
    """The table behind the chart, and the definitions."""
    gap, error = chosen()
    numbers = gather(main, anchors, gap, error)
    pages.table_twin(export(numbers, gap, error), name=f"frontier-{main.id}")
    info = next(iter(pages.store().info(main.runs["id"]).values()), {})
    errors_by_bin.definitions(info.get("tolerance", float("nan")), numbers.unit)


STOPS = 60  # of the ε slider


def epsilons(points: pd.DataFrame) -> tuple[float, ...]:
    """The stops of the ε slider, in the gap's own unit: round steps that reach past every gap."""
    most = float(np.nan_to_num(points[["validation_gap", "test_gap"]].to_numpy(dtype=float)).max())
    least = 1.05 * (most if most > 0 else 1.0) / STOPS
    decade = 10.0 ** math.floor(math.log10(least))
    step = next(m * decade for m in (1, 2, 2.5, 5, 10) if m * decade >= least)
    return tuple(float(f"{step * i:.6g}") for i in range(1, STOPS + 1))


def mount(
    main: Evidence,
    others: Sequence[tuple[Evidence, Numbers]],
    numbers: Numbers,
    lam: float | None,
    epsilon: float | None,
    stops: Sequence[float],
    on_position: Any,
    on_epsilon: Any,
) -> None:
    """Draw the explorer; λ stands where `lam` says, else at the best point; ε else at half of the largest gap."""
    gap, error = chosen()
    usual = float(numbers.table["test_gap"].max()) / 2
    place = band.nearest(stops, usual if epsilon is None else epsilon)
    blocks, below = _blocks(main, others, numbers, gap, error, stops, place)
    best = below["frames"][place]["best"]
    at = len(main.values) // 2 if best is None else best
    if lam is not None:
        at = int(np.abs(np.asarray(main.values) - lam).argmin())
    stamp = "-".join([gap, error, *(f"{e.stamp}{len(n.points)}" for e, n in ((main, numbers), *others))])
    explorer.explorer(
        blocks, key="explorer", revision=f"{main.id}-{gap}-{error}", stamp=f"{stamp}{len(numbers.untreated)}",
        slider=scene.slider(main, at), band=below, on_position=on_position, on_epsilon=on_epsilon,
    )  # fmt: skip


def _blocks(
    main: Evidence,
    others: Sequence[tuple[Evidence, Numbers]],
    numbers: Numbers,
    gap: str,
    error: str,
    stops: Sequence[float],
    place: int,
) -> tuple[list[explorer.Block], dict[str, Any]]:
    """The blocks, and the band of the ε slider, which stands at `place` of its stops."""
    every = range(len(main.values))
    points = pd.concat([_chart_points(e, n, gap, error) for e, n in ((main, numbers), *others)], ignore_index=True)
    runs = numbers.points.rename(columns={"test_gap": "gap", "test_error": "error"})
    figure = regression_figures.error_frontier(
        points, selected=main.id, anchors=_anchors(numbers, gap, error), seeds=runs[["gap", "error"]],
        epsilon=stops[place], gap_title=f"← smaller gap     {_named(gap, numbers)}", error_title=_named(error, numbers),
    )  # fmt: skip
    own = points[points["series"] == main.id].set_index("position")
    ring = explorer.trace_index(figure, "ring")
    frames = [{ring: {a: [own.loc[i, c]] if i in own.index else [] for a, c in (("x", "gap"), ("y", "error"))}}
              for i in every]  # fmt: skip
    alt = f"{title(error)} against {title(gap)}, one point per {main.symbol}; the table below holds the same numbers."
    chart = explorer.chart("frontier", figure, alt=alt, height=390, area="left", frames=frames, click=True, ring=ring)
    blocks = [
        explorer.text("sentence", [_sentence(main, numbers, i, gap, error) for i in every]),
        chart,
        explorer.sliders(),
        explorer.text("key", [KEY], area="left", muted=True),
        *_errors(main, numbers),
    ]
    drawn = own.reset_index().rename(columns={"error": "gain"}).assign(live=False)
    below = band.payload(
        main, figure, drawn, numbers.table["validation_gap"],
        lambda epsilon: regression_sweep.operating_point(numbers.table, epsilon), _words(numbers, gap, error), stops,
        place,
    )  # fmt: skip
    return blocks, below


def _words(numbers: Numbers, gap: str, error: str) -> band.Words:
    def told(name: str, value: float) -> str:
        return errors_by_bin.number(value) + (f" {numbers.unit}" if MEASURES[name].scale == "target" else "")

    name = title(error)[0].lower() + title(error)[1:]
    return band.Words(
        gap=lambda value: told(gap, value),
        result=lambda p: f"{name} {told(error, -p.test_performance)}, gap {told(gap, p.test_gap)}",
        trivial="it hardly beats always naming the mean",
        epsilon=lambda value: told(gap, value),
    )


def _named(name: str, numbers: Numbers) -> str:
    return f"{title(name)}, {numbers.unit if MEASURES[name].scale == 'target' else 'share'}"


def _chart_points(evidence: Evidence, numbers: Numbers, gap: str, error: str) -> pd.DataFrame:
    """The rows regression_figures.error_frontier draws for one sweep."""
    rows = []
    for row in numbers.table.to_dict("records"):
        if row["lam"] not in evidence.values:
            continue
        sd = {name: float(np.nan_to_num(row[f"test_{name}_sd"])) for name in ("gap", "error")}
        told = "<br>".join(
            f"{title(full)}: {errors_by_bin.number(row[f'test_{name}'])}"
            + (f" ± {errors_by_bin.number(sd[name])} (seeds)" if row["seeds"] > 1 else "")
            for name, full in (("error", error), ("gap", gap))
        )
        marks = ["on the validation front"] * row["on_front"] + ["hardly better than the mean"] * row["trivial"]
        head = f"<b>{evidence.symbol} = {row['lam']:g}</b> · {evidence.title}<br>test, {row['seeds']} seeds, n = "
        spread = {f"{k}_{end}": row[f"test_{k}"] + sign * sd[k] for k in sd for end, sign in (("low", -1), ("high", 1))}
        rows.append({
            "position": evidence.values.index(row["lam"]), "gap": row["test_gap"], "error": row["test_error"], **spread,
            "front": row["on_front"], "trivial": row["trivial"],
            "hover": "<br>".join([f"{head}{numbers.n:,}", told, *marks]),
        })  # fmt: skip
    table = pd.DataFrame(rows, columns=COLUMNS)
    return table.assign(series=evidence.id, title=evidence.title, index=evidence.index)


COLUMNS = ["position", "gap", "error", "gap_low", "gap_high", "error_low", "error_high", "front", "trivial", "hover"]


def _anchors(numbers: Numbers, gap: str, error: str) -> pd.DataFrame:
    found = [(abs(own[gap]), own[error]) for own in numbers.untreated.values()]
    if not found:
        return pd.DataFrame(columns=["title", "gap", "error", "hover"])
    at = np.mean(found, 0)
    hover = (
        f"<b>Untreated model</b><br>test, {len(found)} seeds<br>{title(error)}: {errors_by_bin.number(at[1])}"
        f"<br>{title(gap)}: {errors_by_bin.number(at[0])}"
    )
    return pd.DataFrame([{"title": "untreated", "gap": at[0], "error": at[1], "hover": hover}])


def _sentence(main: Evidence, numbers: Numbers, position: int, gap: str, error: str) -> str:
    """What this λ does to gap and error, against the untreated model of the same seeds."""
    lam = main.values[position]
    own = numbers.points[numbers.points["lam"] == lam].set_index("seed")
    if own.empty:
        return f"{main.symbol} = {lam:g} has not been trained yet."
    seeds = [seed for seed in own.index if seed in numbers.untreated]
    where = f"(test, {len(own)} seed{'s' if len(own) > 1 else ''}, n = {numbers.n:,}"
    if not seeds:
        size, width = (errors_by_bin.number(own[column].mean()) for column in ("test_error", "test_gap"))
        return (
            f"At {main.symbol} = {lam:g}: {title(error)} {size}, {title(gap)} {width} {where}); the untreated model to "
            "compare with is still to come."
        )
    told = []
    for column, name in (("test_gap", gap), ("test_error", error)):
        after = own.loc[seeds, column].to_numpy(dtype=float)
        before = np.array([abs(numbers.untreated[seed][name]) for seed in seeds])
        change = metrics.paired_difference(after, before)
        low, high = float(change.low), float(change.high)
        moved = "goes" if not np.isfinite(low) else "shows no clear change," if low <= 0 <= high else "changes"
        sure = f" ({low:+.2g} to {high:+.2g})".replace("-", "−") if np.isfinite(low) else ""
        unit = f" {numbers.unit}" if MEASURES[name].scale == "target" else ""
        old, new = (errors_by_bin.number(float(v.mean())) for v in (before, after))
        told.append(f"{WORDS.get(name, f'“{title(name)}”')} {moved} from {old} to {new}{unit}{sure}")
    noise = "; 95% intervals of the change over training seeds" if len(seeds) > 1 else ""
    return f"At {main.symbol} = {lam:g} {told[0]}; {told[1]} {where}{noise})."


def _errors(main: Evidence, numbers: Numbers) -> list[explorer.Block]:
    """Errors by bin and group at every λ, of the first seed of the sweep."""
    seed = main.seeds[0]
    ids = {
        main.values.index(float(lam)): run
        for run, lam, own in zip(main.runs["id"], main.runs["lam"], main.runs["seed"], strict=True)
        if own == seed and float(lam) in main.values
    }
    found = {i: cells for i, run in ids.items() if (cells := _cells(run)) is not None}
    if not found:
        return [explorer.text("wait", [errors_by_bin.WAIT], area="right", muted=True)]
    said = "Signed: prediction minus truth, so left of zero a group is predicted too low."
    return [
        _errors_chart(f"{main.id}{sorted(found)}", found, len(main.values), numbers.unit, main.symbol, seed),
        explorer.text("errors-words", [said], area="right", muted=True),
    ]


@st.cache_data(max_entries=32, show_spinner=False)
def _errors_chart(
    stamp: str, _found: Mapping[int, pd.DataFrame], n: int, unit: str, symbol: str, seed: int
) -> explorer.Block:
    """The chart of the errors with a frame per position; `stamp` stands for the cells {position: cells} in _found."""
    first = next(iter(_found.values()))
    nothing = first.assign(**dict.fromkeys(NUMBERS, np.nan))
    figure = regression_figures.errors_by_bin(first, unit=unit, among=pd.concat(list(_found.values())))
    frames = []
    for i in range(n):
        traces = regression_figures.errors_by_bin(_found.get(i, nothing), unit=unit, among=first).data
        frames.append({k: {"x": t.x, "error_x": t.error_x.to_plotly_json(), "hovertext": t.hovertext}
                       for k, t in enumerate(traces)})  # fmt: skip
    return explorer.chart(
        "errors", figure, height=regression_figures.errors_height(first), area="right", frames=frames,
        alt=f"Errors of every group in every bin of the true value at each {symbol}",
        heading=f"Errors by bin of the true value and group (test, seed {seed}, 95% intervals from sampling)",
    )  # fmt: skip


NUMBERS = [f"{name}{end}" for name in ("mean_error", "absolute_error") for end in ("", "_low", "_high")]


def _cells(run_id: str) -> pd.DataFrame | None:
    path = pages.store().numbers_path(run_id)
    return _counted(run_id, path.stat().st_mtime_ns) if path.exists() else None


@st.cache_data(max_entries=512, show_spinner=False)
def _counted(run_id: str, written: int) -> pd.DataFrame | None:
    """Errors by bin of a finished run whose predictions were last written at `written`."""
    run = pages.store().run(run_id)
    found = {} if run is None else regression_results.outcomes(pages.store(), run)
    return None if run is None or "test" not in found else regression_noise.cells(found["test"], run.info["groups"])
