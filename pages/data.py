"""Where does bias come from? One data set before any model: who is in it, who tells the group, what can be learned."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from typing import Any

import streamlit as st

import pages
from fairness_core import datasets, health
from fairness_core.config import Catalogue, Control, Option, UserError
from fairness_core.health import Verdict
from pages import anatomy, bias_dial, explorer, gallery, origins, upload
from pages.anatomy import Anatomy, Chosen, markdown
from pages.controls import draw_controls

FIRST = "adult"
ECHO = 10.0  # seconds within which an address that this page wrote itself is no new one
SHOWN = 5  # reasons of the verdict that are in sight at once
NAMES = {"sensitive": "group"}  # what a control is called in the address, as on the frontier page
PICKERS = {"target": 1.3, "sensitive": 1.5, "cuts": 0.9}  # what stands in the top row beside the data, and how wide
ICONS = {"good": "check_circle", "caution": "warning", "unsuitable": "block"}
COLOURS = {"good": "blue", "caution": "orange", "unsuitable": "red"}


def main() -> None:
    st.title("Where does bias come from?", anchor=False)
    catalogue = pages.catalogue()
    asked = _adopt_address(catalogue)
    dataset, options = _pickers(catalogue, asked)
    _own_table()
    if problems := st.session_state["data:problems"]:
        st.warning("  \n".join(map(markdown, problems)), icon=":material/error:")
    entry = catalogue["datasets"][dataset]
    if entry.get("missing"):
        _offer_download(entry)
        return
    chosen: Chosen = tuple(sorted(options.items()))
    try:
        known = anatomy.study(dataset, chosen, entry["data_hash"])
        look = _look(known)
        if look != known.target:
            known = anatomy.study(dataset, chosen, entry["data_hash"], look)
    except UserError as error:
        st.error(markdown(str(error)), icon=":material/error:")
        return
    _show(catalogue, entry, known, chosen, look)


def _show(catalogue: Catalogue, entry: Mapping[str, Any], known: Anatomy, chosen: Chosen, look: str) -> None:
    """Everything that is known, from the sentence down to the dial."""
    name, data_hash, options = str(entry["name"]), str(entry["data_hash"]), dict(chosen)
    stamp = f"{name}|{chosen}|{data_hash}|{look}"
    opening = explorer.text("sentence", [anatomy.sentence(known, entry, options)])
    explorer.explorer([opening], key="opening", revision=stamp, stamp=stamp)
    _verdict(anatomy.judge(known, [*entry["cautions"], *anatomy.remarks(name, data_hash)]))
    explorer.explorer(anatomy.blocks(stamp, known), key="anatomy", revision=stamp, stamp=stamp)
    _actions(entry, known)
    if known.pictures:
        gallery.draw(known, name, chosen, data_hash, look)
    bias_dial.draw(catalogue, entry, known, options)
    origins.draw(catalogue, name, options)


# -------------------------------------------------------------------------------------------------------- address


def _adopt_address(catalogue: Catalogue) -> dict[str, Option]:
    """The options that the address asks for, taken over once per address: what is turned later on the page is not
    turned back by the address following it."""
    state, parameters = st.session_state, st.query_params.to_dict()
    if "data:asked" in state and (not parameters or _is_echo(parameters)):  # none: back by the menu, as it was left
        return dict(state["data:asked"])
    names, problems = list(catalogue["datasets"]), list[str]()
    name = parameters.get("data", FIRST)
    if name not in names:
        problems.append(f"There is no data set {name[:40]!r} here; choose one from the list. Showing {FIRST}.")
        name = FIRST
    asked: dict[str, Option] = {}
    for control in pages.declared(catalogue["datasets"][name]):
        key = NAMES.get(control.name, control.name)
        if key not in parameters:
            continue
        try:
            asked[control.name] = control.parse(parameters[key])
        except UserError as error:
            problems.append(str(error))
    turned = bias_dial.control_of(catalogue["datasets"][name])
    state[bias_dial.STATE] = asked.pop(turned.name, "") if turned else ""
    for key in [key for key in state if str(key).startswith(f"data-{name}")]:  # a later address wins over the widgets
        del state[key]
    state.pop("data:look", None)
    state.update({"data:dataset": name, "data:asked": asked, "data:problems": problems})
    _remember(parameters)
    return asked


def _remember(address: Mapping[str, str]) -> None:
    """Keep what this page itself has put into the address, for as long as the browser may still say something older."""
    now = time.monotonic()
    recent = [(t, known) for t, known in st.session_state.get("data:written", []) if now - t < ECHO]
    st.session_state["data:written"] = [*recent, (now, dict(address))]


def _is_echo(parameters: Mapping[str, str]) -> bool:
    """Does the browser only repeat what this page wrote? Turned quickly, it is a step or two behind."""
    *earlier, (_, last) = st.session_state["data:written"]
    now = time.monotonic()
    return parameters == last or any(parameters == known for t, known in earlier if now - t < ECHO)


def _write_address(dataset: str, options: Mapping[str, Option], entry: Mapping[str, Any]) -> None:
    """The address follows what is chosen; what is as usual needs no word in it."""
    wanted = {NAMES.get(k, k): f"{v}" for k, v in pages.changed(options, entry).items()}
    turned = bias_dial.control_of(entry)
    turns = st.session_state[bias_dial.STATE]
    if turned and turns not in ("", turned.default):
        wanted[turned.name] = f"{turns}"
    wanted = {"data": dataset, **wanted, **{k: v for k, v in st.query_params.to_dict().items() if k == "look"}}
    if st.query_params.to_dict() != wanted:
        st.query_params.from_dict(wanted)
    _remember(wanted)


def _changed_data() -> None:
    """Another data set starts from its own defaults."""
    st.session_state.update({"data:asked": {}, bias_dial.STATE: "", "data:problems": []})
    st.query_params.from_dict({"data": st.session_state["data:dataset"]})
    _remember(st.query_params.to_dict())


# -------------------------------------------------------------------------------------------------------- pickers


def _pickers(catalogue: Catalogue, asked: Mapping[str, Option]) -> tuple[str, dict[str, Option]]:
    """The top row (data, target, group, cuts) and, folded away, every other setting of the data."""
    entries = catalogue["datasets"]
    if st.session_state["data:dataset"] not in entries:  # an own table that was deleted meanwhile
        st.session_state["data:dataset"] = FIRST
    dataset = st.session_state["data:dataset"]
    turned = bias_dial.control_of(entries[dataset])
    declared = [_placed(c) for c in pages.declared(entries[dataset]) if turned is None or c.name != turned.name]
    form: dict[str, Any] = {"prefix": f"data-{dataset}", "values": asked, "headings": False}
    options = draw_controls(declared, groups=(), **form)
    controls = [
        c if c.group != "cuts" or _is_cut(c, options) else dataclasses.replace(c, group="idle") for c in declared
    ]
    present = {c.group for c in controls}
    places = [place for place in PICKERS if place in present]
    with st.container(key="pickers"):
        left_over = sum(PICKERS.values()) - sum(PICKERS[place] for place in places)
        data, *columns = st.columns(
            [1.3, *(PICKERS[place] for place in places), *([left_over] if left_over > 0.1 else [])]
        )
    data.selectbox(
        "Data", list(entries), key="data:dataset", format_func=lambda n: pages.title(entries[n]),
        on_change=_changed_data, persist_state="session",
    )  # fmt: skip
    for place, column in zip(places, columns, strict=False):
        with column:
            draw_controls(controls, groups=(place,), **form)
    with st.container(horizontal=True, gap="small", key="data-more"):
        if "settings" in present:
            with st.popover("Other settings of the data", icon=":material/tune:", type="tertiary"):
                draw_controls(controls, groups=("settings",), **form)
        st.button("Use your own table", icon=":material/upload_file:", type="tertiary", key="data-own", on_click=_turn)
    options = draw_controls(declared, groups=(), **form)
    _write_address(dataset, options, entries[dataset])
    return dataset, options


def _placed(control: Control) -> Control:
    """The control in the group that says where it stands on this page."""
    if control.name in ("target", "sensitive"):
        return dataclasses.replace(control, group=control.name)
    if control.name.endswith("_cut"):
        return dataclasses.replace(control, group="cuts")
    return dataclasses.replace(control, group="settings")


def _is_cut(control: Control, options: Mapping[str, Option]) -> bool:
    """Does this boundary matter: is its column the sensitive one, or the target?"""
    used = [*str(options.get("sensitive", "")).split(" x "), str(options.get("target", ""))]
    return control.name.removesuffix("_cut") in (name.replace(" ", "_") for name in used)


def _look(known: Anatomy) -> str:
    """Which of several targets the page speaks of (?look=...)."""
    if not known.targets:
        st.query_params.pop("look", None)
        return known.target
    asked = st.query_params.get("look", "")
    if "data:look" not in st.session_state or st.session_state["data:look"] not in known.targets:
        st.session_state["data:look"] = asked if asked in known.targets else known.targets[0]
    look = str(st.selectbox("Target looked at", known.targets, key="data:look", width=280, persist_state="session"))
    st.query_params["look"] = look
    _remember(st.query_params.to_dict())
    return look


def _turn() -> None:
    """Open or close the part for own tables."""
    st.session_state["data:own"] = not st.session_state.get("data:own", False)


def _own_table() -> None:
    """The way in for a table of one's own, while it is open."""
    if st.session_state.get("data:own", False):
        with st.container(border=True, key="own-table"):
            upload.draw()


def _offer_download(entry: Mapping[str, Any]) -> None:
    """The empty state of a data set whose files are not here: what to put where."""
    with st.container(border=True, key="missing"):
        st.markdown(f"**{markdown(pages.title(entry))} is not on this computer yet.**")
        st.markdown(markdown(entry["missing"]))
        st.caption(markdown(f"{entry['origin']}. Licence: {entry['licence']}."))
        if datasets.fetchable(str(entry["name"])) and st.button("Download", icon=":material/download:", key="fetch"):
            _download(str(entry["name"]))


def _download(name: str) -> None:
    """Fetch the files from their official source into the cache, and show the data set."""
    bar = st.progress(0.0, text="Asking the server …")

    def tell(what: str, done: int, of: int) -> None:
        bar.progress(min(1.0, done / of) if of else 0.0, text=f"{what}: {done / 1e6:.1f} MB")

    try:
        datasets.fetch(name, pages.data_dir(), tell)
    except UserError as error:
        st.error(markdown(str(error)), icon=":material/error:")
        return
    pages.look_again()
    st.rerun()


# ---------------------------------------------------------------------------------------------- verdict and popovers


def _verdict(found: Verdict) -> None:
    """What stands against a study of bias, the gravest first; what does not fit in sight is one click away."""
    with st.container(border=True, key="verdict", gap="small"):
        icon = f":material/{ICONS[found.level]}:"
        st.badge(found.title, icon=icon, color=COLOURS[found.level])  # type: ignore[arg-type]
        if found.reasons:
            st.markdown(_listed(found.reasons[:SHOWN]))
        else:
            st.caption(f"Looked for: {CHECKS}.")
        if more := found.reasons[SHOWN:]:
            with st.expander(f"{len(more)} more"):
                st.markdown(_listed(more))


CHECKS = (
    "empty and tiny cells, few rows, few positives, uneven groups and classes, missing values, columns that give the "
    "target or the group away, and the gap that chance alone makes on test"
)


def _listed(reasons: tuple[health.Reason, ...]) -> str:
    marks = {
        "good": ":material/info:",
        "caution": ":orange[:material/warning:]",
        "unsuitable": ":red[:material/block:]",
    }
    return "  \n".join(f"{marks[reason.level]} {markdown(reason.text)}" for reason in reasons)


def _actions(entry: Mapping[str, Any], known: Anatomy) -> None:
    """Every chart as a table, how the numbers are made, where the rows come from, and the link."""
    name = str(entry["name"])
    with st.container(horizontal=True, gap="small", key="actions"):
        pages.table_twin(health.cells(known.counts, known.groups, known.classes), label="Counts", name=f"{name}-counts")
        if known.numeric:
            pages.table_twin(known.means, label="Means", name=f"{name}-means")
        if not known.missing.empty:
            pages.table_twin(known.missing, label="Missing values", name=f"{name}-missing")
        if len(known.attributes):
            pages.table_twin(known.attributes, label="Attributes", name=f"{name}-attributes")
        _formulas()
        _provenance(entry)
        pages.link_popover()


def _formulas() -> None:
    with st.popover("Formula", icon=":material/function:", type="tertiary"):
        st.markdown("**Cramér's V**, category with category, corrected for chance (Bergsma 2013)")
        st.latex(
            r"V=\sqrt{\frac{\max\left(0,\ \chi^2/n-\frac{(r-1)(k-1)}{n-1}\right)}{\min(\tilde r,\tilde k)-1}},\quad "
            r"\tilde r=r-\tfrac{(r-1)^2}{n-1}"
        )
        st.markdown("**Correlation ratio**, number with category, corrected for chance (Kelley 1935)")
        st.latex(r"\eta=\sqrt{1-\frac{\mathrm{SS}_{\text{within}}}{\mathrm{SS}_{\text{total}}}\cdot\frac{n-1}{n-k}}")
        st.markdown("**Spearman's rank correlation**, number with number, its size")
        st.latex(r"|\rho|=|\operatorname{corr}(\operatorname{rank} a,\operatorname{rank} b)|")
        st.caption(
            "All from 0, tells nothing, to 1, tells all. Intervals: 95 %, asymptotic (non-central chi-square and F, "
            "Fisher's z); shares: Wilson; ratios: Katz. The bias dial uses Cramér's V without the correction."
        )


def _provenance(entry: Mapping[str, Any]) -> None:
    with st.popover("Origin", icon=":material/source_notes:", type="tertiary"):
        st.markdown(f"**{markdown(pages.title(entry))}**")
        st.markdown(markdown(str(entry["doc"])).replace("\n\n", "  \n\n"))
        st.markdown(f"From: {markdown(str(entry['origin']))}")
        st.markdown(f"Licence: {markdown(str(entry['licence']))}")
        st.caption(f"Checksum of the rows: `{entry['data_hash']}`")


main()
