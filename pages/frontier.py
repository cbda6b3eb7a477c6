"""How fair can it be, and what does it cost? A whole frontier, trained in one pass, under one slider."""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

import pages
from fairness_core import sweep
from fairness_core.config import Catalogue, Option, RunConfig, UserError
from fairness_core.metrics import METRICS
from fairness_core.preparation import INAPPLICABLE
from fairness_core.records import Progress
from fairness_core.store import ACTIVE, Sweep
from pages import choices, evidence, number_frontier, scene
from pages.choices import Plan
from pages.controls import draw_controls

TICK = 0.5  # seconds between two looks at a sweep that is being trained
MEASURE, PERFORMANCE, EPSILON = "demographic_parity_difference", "accuracy", 0.05
MEASURES = [
    m.name
    for m in METRICS.values()
    if m.kind == "fairness" and m.name not in ("odds", "bias_sum", "equalized_odds_sum")
]
PERFORMANCES = [m.name for m in METRICS.values() if m.kind == "performance" and m.name not in ("eacc", "phi")]


def main() -> None:
    st.title("How fair can it be, and what does it cost?", anchor=False)
    catalogue = pages.catalogue()
    _adopt_address(catalogue)
    _pickers(catalogue)
    shown = _shown()
    if problems := st.session_state["frontier:problems"]:
        st.warning("  \n".join(problems), icon=":material/error:")
    if shown is None:
        _empty(catalogue)
    else:
        st.query_params["sweep"] = shown.id
        choices.supply_anchors(pages.store(), catalogue, shown)
        active = bool(_active(shown, catalogue))
        st.fragment(_live, run_every=TICK if active else None)(catalogue, shown, active)
    _settings(catalogue, shown)


def _shown() -> Sweep | None:
    chosen = st.session_state.get("frontier:sweep")
    return pages.store().sweep(chosen) if chosen else None


# ---------------------------------------------------------------------------------------------- address and first visit


def _adopt_address(catalogue: Catalogue) -> None:
    """Once per address: the controls take its values. A first visit submits the first sweep without being asked."""
    state, asked_id = st.session_state, st.query_params.get("sweep")
    if "frontier:sweep" in state and asked_id in (None, state["frontier:sweep"]):
        return
    parameters = number_frontier.adopt(st.query_params.to_dict())
    asked = choices.read_address(pages.store(), catalogue, parameters)
    problems = list(asked.problems)
    usual = choices.usual_spec(catalogue, asked.method, asked.dataset)
    symbol = pages.tradeoff_symbol(catalogue, asked.method)
    values = (asked.sweep.spec if asked.sweep else usual)["values"]
    state["frontier:lam"] = choices.number(parameters, "lam", symbol, min(values), max(values), problems)
    number = number_frontier.is_number(catalogue, asked.dataset, asked.sweep)
    state["frontier:eps"] = choices.number(parameters, "eps", "ε", 0, number_frontier.MOST if number else 1, problems)
    known = {"measure": (MEASURES, MEASURE), "performance": (PERFORMANCES, PERFORMANCE)}
    for name, (names, first) in known.items():
        state[f"frontier:{name}"] = choices.one_of(parameters, name, names, first, problems)
    beside = [n for n in parameters.get("compare", "").split(",") if n]
    state["frontier:compare"] = [n for n in beside if n in choices.treated(catalogue) and n != asked.method]
    problems += [f"There is no method {n[:40]!r} to compare with." for n in beside if n not in catalogue["methods"]]
    state.update({"frontier:data": asked.dataset, "frontier:group": asked.group, "frontier:method": asked.method})
    state["frontier:problems"] = problems
    state["frontier:sweep"] = asked.sweep.id if asked.sweep else None
    if asked.sweep is None and asked.first_visit:
        wanted = choices.default_plan(catalogue, asked.dataset, asked.group, asked.method)
        state["frontier:sweep"] = choices.submit(pages.store(), wanted)


def _look_up(catalogue: Catalogue) -> None:
    """Another data set, group or method was chosen: show its sweep if there is one, else the empty state."""
    state = st.session_state
    groups, able = (f(catalogue, state["frontier:data"]) for f in (choices.groupings, choices.treated))
    if state["frontier:group"] not in groups:
        state["frontier:group"] = groups[0]
    if state["frontier:method"] not in able:
        state["frontier:method"] = able[0]
    names = {"dataset": state["frontier:data"], "group": state["frontier:group"], "method": state["frontier:method"]}
    found = choices.stored(pages.store(), catalogue, **names)
    if number_frontier.is_number(catalogue, names["dataset"], found) is not state["frontier:number"]:
        state["frontier:eps"] = None  # it was counted in another unit
        st.query_params.pop("eps", None)
    state["frontier:sweep"], state["frontier:problems"] = (found.id if found else None), []
    if found is None:
        st.query_params.pop("sweep", None)
        st.query_params.update(data=names["dataset"], group=names["group"], method=names["method"])
    else:
        for name in ("data", "group", "method"):
            st.query_params.pop(name, None)
        st.query_params["sweep"] = found.id


# ------------------------------------------------------------------------------------------------------------- controls


def _pickers(catalogue: Catalogue) -> None:
    """The top row: what is compared, and by which measures."""
    methods, datasets = catalogue["methods"], catalogue["datasets"]
    state = st.session_state
    treated = choices.treated(catalogue, state["frontier:data"])
    changed: dict[str, Any] = {"on_change": _look_up, "args": (catalogue,), "persist_state": "session"}
    with st.container(key="pickers"):
        data, group, method, compare, measure, against = st.columns([1.15, 0.8, 1.25, 1.4, 1.5, 1.1])
    data.selectbox(
        "Data",
        choices.trainable(catalogue),
        format_func=lambda n: pages.title(datasets[n]),
        key="frontier:data",
        **changed,
    )
    offered = choices.groupings(catalogue, state["frontier:data"], state["frontier:group"])
    group.selectbox("Group", offered, key="frontier:group", **changed,
                    format_func=functools.partial(choices.grouping_title, catalogue, state["frontier:data"]),
                    help="The sensitive attribute: whose results are compared.")  # fmt: skip
    method.selectbox("Method", treated, format_func=lambda n: pages.title(methods[n]), key="frontier:method", **changed,
                     help=str(methods[state["frontier:method"]]["doc"]).splitlines()[0])  # fmt: skip
    others = [name for name in treated if name != state["frontier:method"]]
    state["frontier:compare"] = [name for name in state["frontier:compare"] if name in others]
    seen: dict[str, Any] = {"on_change": _write_view, "persist_state": "session"}
    compare.multiselect("Beside it", others, format_func=lambda n: pages.title(methods[n]), key="frontier:compare",
                        placeholder="add a method", **seen)  # fmt: skip
    state["frontier:number"] = number_frontier.is_number(catalogue, state["frontier:data"], _shown())
    if state["frontier:number"]:
        number_frontier.pick_measures(measure, against)
        return
    measure.selectbox("Gap measured by", MEASURES, key="frontier:measure", format_func=lambda n: METRICS[n].title,
                      help=METRICS[state["frontier:measure"]].definition, **seen)  # fmt: skip
    against.selectbox(
        "against", PERFORMANCES, key="frontier:performance", format_func=lambda n: METRICS[n].title, **seen
    )


def _write_view() -> None:
    """The address follows what is looked at; what is as usual needs no word in it."""
    state = st.session_state
    now = {"measure": state["frontier:measure"], "performance": state["frontier:performance"]}
    now["compare"] = ",".join(state["frontier:compare"])
    for name, usual in {"measure": MEASURE, "performance": PERFORMANCE, "compare": ""}.items():
        if now[name] == usual:
            st.query_params.pop(name, None)
        else:
            st.query_params[name] = now[name]


def _view(catalogue: Catalogue, shown: Sweep) -> scene.View:
    state = st.session_state
    favourable = pages.favourable(catalogue, RunConfig.from_json(shown.spec["base"]))
    return scene.View(
        state["frontier:measure"],
        state["frontier:performance"],
        state["frontier:lam"],
        state["frontier:eps"] or EPSILON,
        favourable,
    )


def _settings(catalogue: Catalogue, shown: Sweep | None) -> None:
    """Everything that needs training to change, drawn from the declared controls, and the Train button."""
    with st.expander("Settings", icon=":material/tune:"):
        wanted = _wanted(catalogue, shown)
        changed = wanted is not None and shown is not None and wanted.id != shown.id
        with st.container(horizontal=True, vertical_alignment="center"):
            if (
                st.button("Train this frontier", type="primary", icon=":material/play_arrow:", disabled=wanted is None)
                and wanted
            ):
                _train(wanted)
            if changed and wanted:
                known = pages.store().sweep(wanted.id) is not None
                said = "is in the store already" if known else f"needs {len(wanted.runs)} models"
                st.caption(f"The chart shows earlier settings; the frontier of these settings {said}.")


def _wanted(catalogue: Catalogue, shown: Sweep | None) -> Plan | None:
    """The form, as a plan; None, with the reason on the screen, if it cannot be trained."""
    state = st.session_state
    dataset, method = catalogue["datasets"][state["frontier:data"]], catalogue["methods"][state["frontier:method"]]
    base = RunConfig.from_json(shown.spec["base"]) if shown else None
    model = base.model if base else dataset["model"]
    first, second, third = st.columns(3, gap="large")
    options: dict[str, dict[str, Option]] = {}
    with first:
        own = base.method_options if base else {}
        options["method"] = _form(pages.title(method), method, ("method", "advanced"), own, method["tradeoff"])
    with second:
        given = base.model_options if base else {}
        options["model"] = _form("Network", catalogue["models"][model], ("training", "advanced"), given)
        spec = shown.spec if shown else choices.usual_spec(catalogue, method["name"], dataset["name"])
        values, seeds = _grid_form(spec, pages.tradeoff_symbol(catalogue, method["name"]))
    with third:
        given = base.training if base else pages.usual_training(catalogue, dataset["name"])
        options["training"] = _form("Training", catalogue["training"], ("training", "advanced"), given)
        given = base.dataset_options if base else {}
        options["dataset"] = _form(pages.title(dataset), dataset, ("method", "advanced"), given, "sensitive")
    options["dataset"]["sensitive"] = state["frontier:group"]
    names = {"dataset": dataset["name"], "method": method["name"], "model": model}
    try:
        return choices.plan(catalogue, **names, values=sweep.grid(values), seeds=seeds, options=options)
    except UserError as error:
        st.error(str(error), icon=":material/error:")
        return None


def _form(
    heading: str, entry: Mapping[str, Any], groups: Sequence[str], given: Mapping[str, Option], without: str = ""
) -> dict[str, Option]:
    """The settings an entry declares, but for the one that is chosen elsewhere on the page."""
    shown = [c for c in pages.declared(entry) if c.name != without]
    st.markdown(f"**{heading}**")
    values = {name: value for name, value in given.items() if name != without}
    prefix, chosen = f"frontier-{entry.get('name', 'training')}", {}
    for group in groups:  # one at a time, because the heading above says already what they are
        drawn = draw_controls(shown, prefix=prefix, groups=(group,), values=values)
        chosen.update({c.name: drawn[c.name] for c in shown if c.group == group})
    return chosen


def _grid_form(spec: Mapping[str, Any], symbol: str) -> tuple[str, int]:
    """(text of the values of the trade-off, number of seeds)."""
    usual = ",".join(f"{v:g}" for v in spec["values"])
    help = "A list such as 0,0.5,1, or low:high:count, for example 0:4:21."
    values = st.text_input(f"Values of {symbol}", usual, help=help)
    help = "Every value is trained this often; the spread says how much is chance."
    return values, st.slider("Seeds", 1, 20, len(spec["seeds"]), help=help)


def _train(wanted: Plan) -> None:
    st.session_state["frontier:sweep"] = choices.submit(pages.store(), wanted)
    st.session_state["frontier:problems"] = []
    for name in ("data", "group", "method"):
        st.query_params.pop(name, None)
    st.query_params["sweep"] = st.session_state["frontier:sweep"]
    st.rerun()


def _empty(catalogue: Catalogue) -> None:
    """Nothing trained for this choice: say so, and offer the one thing to do."""
    state = st.session_state
    wanted = choices.default_plan(catalogue, state["frontier:data"], state["frontier:group"], state["frontier:method"])
    title = pages.title(catalogue["methods"][state["frontier:method"]])
    symbol = pages.tradeoff_symbol(catalogue, state["frontier:method"])
    with st.container(border=True, key="empty"):
        group = choices.grouping_title(catalogue, state["frontier:data"], state["frontier:group"])
        st.markdown(f"**No frontier yet for {title}, groups by {group}.**")
        seeds = len(wanted.spec["seeds"])
        slow = catalogue["datasets"][state["frontier:data"]]["kind"] == "image"
        st.markdown(
            f"Training it makes {len(wanted.runs)} models ({len(wanted.spec['values'])} values of {symbol}, "
            f"{seeds} seed{'s' if seeds > 1 else ''}) and {len(wanted.anchors)} untreated to compare with; points "
            f"appear while it trains{', some minutes per model on a processor' if slow else ''}. "
            "Settings below change what is trained."
        )
        if st.button("Train this frontier", type="primary", icon=":material/play_arrow:", key="train-empty"):
            _train(wanted)
    pages.load_chart_library()


# ----------------------------------------------------------------------------------------------------------------- live


def _active(shown: Sweep, catalogue: Catalogue) -> list[str]:
    """The runs of the sweep, and of its untreated models, that still wait or train."""
    ids = [*shown.run_ids, *(c.id for c in choices.from_spec(catalogue, shown.spec).anchors)]
    runs = pages.store().runs(ids, limit=len(ids))
    return list(runs.loc[runs["status"].isin(ACTIVE), "id"])


def _live(catalogue: Catalogue, shown: Sweep, active: bool) -> None:
    """What follows the training and the sliders; drawn anew every TICK while something trains."""
    if active and not _active(shown, catalogue):
        st.rerun()
    plan = choices.from_spec(catalogue, shown.spec)
    anchor = evidence.untreated(pages.store(), plan.anchors)
    main = evidence.gather(pages.store(), shown, catalogue, anchor.groups)
    _progress(main, plan)
    view, values = _view(catalogue, shown), main.values
    if number_frontier.is_number(catalogue, plan.base.dataset, shown):
        others = _others(catalogue, shown, anchor.groups)
        number_frontier.draw(main, others, plan.anchors, lambda: _moved(values), _band_moved)
    elif main.empty and not anchor.tensors["test"]:
        st.info(
            "Points appear here as models get trained; each is then a position of one slider.",
            icon=":material/hourglass_top:",
        )
        pages.load_chart_library()
    else:
        others = _others(catalogue, shown, anchor.groups)
        scene.mount(main, others, anchor, view, on_position=lambda: _moved(values),
                    on_epsilon=lambda: _band_moved(scene.EPSILONS))  # fmt: skip
    _actions(catalogue, main, plan, view)


def _others(catalogue: Catalogue, shown: Sweep, groups: tuple[str, ...]) -> list[evidence.Evidence]:
    """The sweeps of the methods beside the selected one, as far as they exist."""
    base = RunConfig.from_json(shown.spec["base"])
    group, found = str(base.dataset_options.get("sensitive", "")), []
    for method in st.session_state["frontier:compare"]:
        other = choices.stored(pages.store(), catalogue, base.dataset, group, method) if method != base.method else None
        if other is not None:
            found.append(evidence.gather(pages.store(), other, catalogue, groups))
        elif method != base.method:
            st.caption(
                f"{pages.title(catalogue['methods'][method])} has no frontier here yet; choose it as Method first."
            )
    return found


def _moved(values: tuple[float, ...]) -> None:
    position = st.session_state["explorer"].get("position")
    if isinstance(position, int) and 0 <= position < len(values):
        st.session_state["frontier:lam"] = values[position]
        st.query_params["lam"] = f"{values[position]:g}"


def _band_moved(epsilons: Sequence[float]) -> None:
    position = st.session_state["explorer"].get("epsilon")
    if isinstance(position, int) and 0 <= position < len(epsilons):
        st.session_state["frontier:eps"] = epsilons[position]
        st.query_params["eps"] = f"{epsilons[position]:g}"


def _progress(main: evidence.Evidence, plan: Plan) -> None:
    """One row that never changes its height: how far, how long, stop; or what went wrong; or when it was trained."""
    store, ids = pages.store(), [c.id for c in (*plan.anchors, *plan.runs)]
    told = store.progress(ids)
    with st.container(horizontal=True, vertical_alignment="center", key="progress"):
        if any(told.counts[status] for status in ACTIVE):
            st.progress(min(1.0, told.done_steps / max(1, told.all_steps)), text=_pace(ids, told))
            if pages.turns("act").button("Stop", icon=":material/stop_circle:", key="stop"):
                store.cancel(ids)
                st.rerun()
        elif told.counts["done"] < len(ids):
            _unfinished(main, plan, told.counts["done"], len(ids))
        else:
            age = time.time() - float(store.runs(ids, limit=len(ids))["finished"].max())
            st.caption(
                f"{len(ids)} models, trained {pages.duration(age)} ago. Drag {main.symbol}: nothing has to be trained "
                "for it."
            )


def _pace(ids: Sequence[str], told: Progress) -> str:
    """How far the training is and how long it still takes, or its place in the queue."""
    if not told.counts["starting"] and not told.counts["running"]:
        runs = pages.store().runs(ids, limit=len(ids))
        waits = runs.loc[runs["status"] == "queued", "position"]
        text = f"waiting: place {int(waits.min()) if len(waits) else 1} in the queue"
    else:
        left = "" if told.seconds_left is None else f", {pages.duration(told.seconds_left)} left"
        text = f"training: {told.counts['done']} of {len(ids)} models done{left}"
    return text + pages.tend_runner()


def _unfinished(main: evidence.Evidence, plan: Plan, done: int, of: int) -> None:
    errors = [e for e in main.runs["error"] if isinstance(e, str) and e]
    said = f"Training failed: {errors[0]}" if errors else "Training was stopped before its end."
    if errors and errors[0].startswith(INAPPLICABLE):
        pages.failure(errors[0])
        return
    st.warning(f"{said} {done} of {of} models are done.", icon=":material/error:", width="stretch")
    if pages.turns("act").button("Train the rest", icon=":material/play_arrow:", key="again"):
        choices.submit(pages.store(), plan)
        st.rerun(scope="app")


def _actions(catalogue: Catalogue, main: evidence.Evidence, plan: Plan, view: scene.View) -> None:
    """Table, formulas, the command that reproduces it, the link."""
    base, spec = plan.base, plan.spec
    number = number_frontier.is_number(catalogue, base.dataset, pages.store().sweep(main.id))
    with st.container(horizontal=True, gap="small", key="actions"):
        if number:
            number_frontier.actions(main, plan.anchors)
        else:
            pages.table_twin(evidence.export(main, view.measure, view.performance), name=f"frontier-{main.id}")
            pages.measure_popover(view.measure, view.performance)
        lines = pages.python_lines(base, spec["over"], spec["values"], spec["seeds"], number=number)
        pages.reproduce_popover(choices.command_line(catalogue, plan), lines)
        pages.link_popover()


main()
