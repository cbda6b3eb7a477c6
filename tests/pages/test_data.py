"""The data page: what it says about a table and about pictures, what its address does, and what its dial trains."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from fairness_core import catalogue as catalogues
from fairness_core import datasets
from fairness_core.config import UserError, content_hash, control
from fairness_core.datasets import SOURCES
from fairness_core.datasets.tabular import TableSource
from pages import anatomy, bias_dial, gallery

REGIONS = ("<b>north</b>", "east", "south", "west", "far $away$")


@dataclass(frozen=True)
class Crowd(TableSource):
    """Made-up people of five regions."""

    name: ClassVar[str] = "crowd"
    title: ClassVar[str] = "Crowd"
    classes: ClassVar[tuple[str, ...]] = ("no", "yes")
    favourable: ClassVar[str] = "predicted to be *lucky*"
    origin: ClassVar[str] = "made up"
    licence: ClassVar[str] = "none"
    target: ClassVar[str] = "lucky"
    numeric: ClassVar[tuple[str, ...]] = ("age", "paid")
    categorical: ClassVar[tuple[str, ...]] = ("region", "team_[x]")
    sensitive: str = control("region", choices=("region", "age"), joiner=" x ", most=3, help="Whose results.")
    age_cut: str = control("40", help="Where age is cut.", group="advanced")

    @classmethod
    def data_hash(cls, data_dir: Path | None) -> str:
        return content_hash("crowd")

    @classmethod
    def read(cls, data_dir: Path | None) -> pd.DataFrame:
        rng = np.random.default_rng(0)
        region = rng.choice(5, 3_000, p=[0.5, 0.3, 0.15, 0.04, 0.01])
        lucky = rng.random(3_000) < np.array([0.2, 0.4, 0.5, 0.3, 0.3])[region]
        team = pd.Series(np.where(rng.random(3_000) < 0.8, region % 2, 1 - region % 2).astype(str), dtype="str")
        return pd.DataFrame(
            {
                "region": pd.Series(np.array(REGIONS)[region], dtype="str"),
                "team_[x]": team.mask((region == 0) & (rng.random(3_000) < 0.4)),
                "age": rng.integers(18, 80, 3_000).astype(float),
                "paid": lucky * 1.0,
                "lucky": np.where(lucky, "yes", "no"),
            }
        )

    def labels(self, frame: pd.DataFrame) -> np.ndarray:
        return (frame["lucky"] == "yes").to_numpy(np.int64)


@pytest.fixture(autouse=True)
def _no_memory() -> None:
    """What one test has read is not what another finds."""
    st.cache_data.clear()


@pytest.fixture
def crowd(monkeypatch: pytest.MonkeyPatch, store: Any) -> type[Crowd]:
    monkeypatch.setitem(SOURCES, "crowd", Crowd)
    store.publish_catalogue(catalogues.build())
    return Crowd


def payloads(at: AppTest) -> dict[str, Any]:
    """Every block of every live component on the page, by its id."""
    return {block["id"]: block for payload in components(at) for block in payload["blocks"]}


def components(at: AppTest) -> list[dict[str, Any]]:
    """What the live components of the page are given."""
    drawn = [json.loads(component.proto.json) for component in at.get("bidi_component")]
    return [payload for payload in drawn if isinstance(payload, dict) and "blocks" in payload]


def turned(at: AppTest) -> dict[str, Any]:
    """What the dial is given."""
    return next(p for p in components(at) if any(b["id"] == "dial" for b in p["blocks"]))


def sentence(at: AppTest) -> str:
    return str(payloads(at)["sentence"]["frames"][0])


def told(at: AppTest) -> str:
    said = [e.value for kind in ("markdown", "caption", "warning", "error", "info") for e in getattr(at, kind)]
    return "\n".join(said).replace("\\", "")


# ------------------------------------------------------------------------------------------------------------- adult


def test_adult_opens_with_the_rates_of_women_and_men(open_page):
    at = open_page("data.py")
    assert not at.exception
    assert at.title[0].value == "Where does bias come from?"
    rows = datasets.explore("adult", dict(at_defaults()))
    n = np.bincount(rows.s)
    share = np.bincount(rows.s, rows.y) / n
    assert sentence(at).startswith(
        f"Of {n[0]:,} women {100 * share[0]:.1f} % earn more than $50,000, of {n[1]:,} men {100 * share[1]:.1f} %: "
        f"{share[1] / share[0]:.1f} times as often"
    )
    assert f"training split, n = {len(rows):,}" in sentence(at)


def at_defaults() -> dict[str, Any]:
    from fairness_core.config import complete, controls_of

    return complete(controls_of(SOURCES["adult"]), {}, "adult")


def test_adult_by_sex_has_all_charts_and_their_tables(open_page):
    at = open_page("data.py")
    blocks = payloads(at)
    assert {"who", "missing", "carriers", "proxies", "naming", "dial", "trade"} <= set(blocks)
    assert "relationship" in blocks["naming"]["frames"][0]
    columns = [set(frame.value.columns) for frame in at.dataframe]
    assert any({"split", "label", "share", "low", "high"} <= names for names in columns)
    assert any({"attribute", "group", "target", "group_measure"} <= names for names in columns)
    splits = next(frame.value for frame in at.dataframe if "split" in frame.value)["split"]
    assert set(splits) == {"training", "validation", "test"}


def test_nothing_on_the_page_calls_anything_fair(open_page):
    at = open_page("data.py")
    words = f"{told(at)} {json.dumps(payloads(at), ensure_ascii=False)}".lower()
    words = words.replace("fair fairness benchmark", "")
    assert " fair " not in words
    assert "is fair" not in words


# -------------------------------------------------------------------------------------------------------- the address


def test_the_address_chooses_group_and_cut_and_follows_the_form(open_page):
    at = open_page("data.py", data="adult", group="age", age_cut="25,60")
    assert not at.exception
    assert at.multiselect(key="data-adult-sensitive").value == ["age"]
    assert at.text_input(key="data-adult-age_cut").value == "25,60"
    assert "3 groups" in sentence(at)
    at.multiselect(key="data-adult-sensitive").set_value(["sex", "race"]).run()
    assert at.query_params["group"] == "sex x race"
    assert at.query_params["age_cut"] == "25,60"
    assert not [w for w in at.text_input if w.key == "data-adult-age_cut"]
    at.multiselect(key="data-adult-sensitive").set_value(["sex"]).run()
    assert "group" not in at.query_params
    assert "women" in sentence(at)


def test_a_browser_that_is_a_step_behind_turns_nothing_back(open_page):
    """Two quick changes: with the second the browser still sends the address from before the first."""
    at = open_page("data.py", data="adult")
    at.multiselect(key="data-adult-sensitive").set_value(["race"]).run()
    at.query_params.clear()
    at.query_params["data"] = "adult"
    at.multiselect(key="data-adult-sensitive").set_value(["race", "sex"]).run()
    assert at.multiselect(key="data-adult-sensitive").value == ["race", "sex"]
    assert at.query_params["group"] == "race x sex"


def test_an_address_that_the_page_did_not_write_is_taken_over(open_page):
    at = open_page("data.py", data="adult")
    at.multiselect(key="data-adult-sensitive").set_value(["race"]).run()
    at.query_params["group"] = "age"
    at.run()
    assert at.multiselect(key="data-adult-sensitive").value == ["age"]
    assert "age < 25" in sentence(at)


def test_a_bad_address_is_a_sentence_and_the_page_works(open_page):
    at = open_page("data.py", data="nonsense")
    assert "There is no data set 'nonsense' here" in told(at)
    assert "women" in sentence(at)
    at = open_page("data.py", data="adult", group="shoe size", association="7")
    assert "sensitive = shoe size is not known" in told(at)
    assert "association = 7 is out of range" in told(at)
    assert "women" in sentence(at)


def test_a_cut_that_makes_no_groups_is_a_sentence_and_the_form_stays(open_page):
    at = open_page("data.py", data="adult", group="age", age_cut="x")
    assert not at.exception
    assert "age_cut = x is not a boundary" in at.error[0].value.replace("\\", "")
    at.text_input(key="data-adult-age_cut").set_value("30").run()
    assert not at.error
    assert "age < 30" in sentence(at)


def test_a_data_set_that_is_not_here_says_which_file_to_put_where(open_page, tmp_path, monkeypatch):
    monkeypatch.setenv("FAIRNESS_DATA_DIR", str(tmp_path / "nothing"))
    monkeypatch.setenv("EQUIPOISE_CACHE", str(tmp_path / "cache"))
    at = open_page("data.py", data="celeba")
    assert not at.exception
    assert "is not on this computer yet" in told(at)
    assert "list_attr_celeba.txt" in told(at).replace("\\", "")
    assert not [button for button in at.button if button.key == "fetch"]  # people agree to terms first
    assert [button for button in open_page("data.py", data="bank").button if button.key == "fetch"]
    at.selectbox(key="data:dataset").set_value("adult").run()
    assert "women" in sentence(at)


# ------------------------------------------------------------------------------------------------------ another table


def test_what_stands_against_a_table_is_told(open_page, crowd):
    at = open_page("data.py", data="crowd")
    assert not at.exception
    words = told(at)
    assert "Not fit for a study of bias as it is" in words
    assert "paid (1.00) tells the target almost perfectly" in words
    assert "times as many rows as the smallest" in words
    assert "team_[x] is missing for" in words
    assert "Furthest apart of 5 groups" in sentence(at)
    assert "are *lucky*" in sentence(at)


def test_names_from_the_data_are_not_markup(open_page, crowd):
    at = open_page("data.py", data="crowd")
    raw = "\n".join(e.value for e in at.markdown)
    assert "$away$" not in raw
    assert "[x]" not in raw.replace("\\[x\\]", "")
    who = payloads(at)["who"]["figure"]
    assert "&lt;b&gt;north&lt;/b&gt;" in who["layout"]["yaxis"]["ticktext"]


def test_escaped_text_is_the_text():
    assert anatomy.markdown("a_b $5 <i> *x* :red[y] `z`") == r"a\_b \$5 \<i\> \*x\* \:red\[y\] \`z\`"


# ------------------------------------------------------------------------------------------------------------ pictures


def test_digits_are_shown_per_class_and_colour_with_counts(open_page):
    at = open_page("data.py", data="cmnist", digits="5000")
    assert not at.exception
    assert "Cramér's V" in sentence(at)
    grid = next(e.proto.body for e in at.get("html") if "eq-gallery" in e.proto.body)
    assert grid.count("<img ") == 10  # at p = 1 every digit has one colour
    assert grid.count(">none<") == 10
    assert 'scope="row">7<' in grid
    assert 'alt="6 of 360 training pictures: 7, brown"' in grid


def test_other_pictures_are_drawn_on_request_and_the_same_again_by_lot(open_page):
    at = open_page("data.py", data="cmnist", digits="5000")
    first = next(e.proto.body for e in at.get("html") if "eq-gallery" in e.proto.body)
    at.button(key="data-lot").click().run()
    second = next(e.proto.body for e in at.get("html") if "eq-gallery" in e.proto.body)
    assert first != second
    again = open_page("data.py", data="cmnist", digits="5000")
    assert first == next(e.proto.body for e in again.get("html") if "eq-gallery" in e.proto.body)


def test_a_strip_is_as_many_enlarged_pictures_as_were_drawn():
    import io

    from PIL import Image

    pixels = np.zeros((3, 1, 16, 16), np.uint8)
    pixels[1] = 255
    strip = np.asarray(Image.open(io.BytesIO(gallery.strip(pixels))))
    assert strip.shape == (64, 3 * 64 + 2 * gallery.GAP, 4)
    assert strip[0, 0, :3].tolist() == [0, 0, 0]
    assert strip[0, 64 + gallery.GAP, :3].tolist() == [255, 255, 255]
    assert strip[0, 64, 3] == 0  # the gap lets the ground through


# ------------------------------------------------------------------------------------------------------------ the dial


def test_the_dial_shows_counts_at_every_stop_and_starts_as_found(open_page):
    at = open_page("data.py")
    payload = turned(at)
    start = payload["slider"]["position"]
    assert "as found" in payload["slider"]["labels"][start]
    block = payloads(at)["dial"]
    sums = [sum(next(iter(frame.values()))["x"]) for frame in block["frames"]]
    rows = datasets.explore("adult", dict(at_defaults()))
    assert sums[start] == len(rows) == max(sums)
    assert any("test rows stay untouched" in str(b["frames"]) for b in payload["blocks"] if b["id"] == "key")


def test_the_dials_counts_are_those_that_training_gets(open_page):
    at = open_page("data.py", association="0.4")
    payload = turned(at)
    position = payload["slider"]["position"]
    assert payload["slider"]["labels"][position] == "0.40"
    frame = next(iter(payloads(at)["dial"]["frames"][position].values()))
    rows = datasets.explore("adult", {**at_defaults(), "association": 0.4})
    counted = np.bincount(rows.s * 2 + rows.y, minlength=4)
    assert frame["x"] == counted.tolist()


@pytest.mark.parametrize("key", ["dial-sweep", "dial-train"])
def test_what_is_trained_has_exactly_the_options_of_the_dial(open_page, store, key):
    at = open_page("data.py", group="race", association="0.1")
    at.button(key=key).click().run()
    assert not at.exception
    runs = store.runs()
    config = store.run(runs["id"].iloc[0]).config
    assert config.dataset == "adult"
    assert (config.dataset_options["sensitive"], config.dataset_options["association"]) == ("race", 0.1)
    if key == "dial-sweep":
        assert len(store.sweeps()) == 1
        assert at.query_params["sweep"] == store.sweeps()["id"].iloc[0]
    else:
        assert (len(runs), config.method) == (1, "erm")
        assert at.query_params["run"] == config.id


def test_the_dial_of_the_digits_turns_the_share_on_their_own_colour(open_page):
    at = open_page("data.py", data="cmnist", digits="5000", p_align="0.8")
    payload = turned(at)
    position = payload["slider"]["position"]
    assert payload["slider"]["labels"][position] == "0.80"
    counts = next(iter(payloads(at)["dial"]["frames"][position].values()))["x"]
    assert counts[0] == 288  # red zeros: 0.8 of 360
    assert counts[10] == 72  # brown ones


def test_a_strength_that_cannot_be_reached_trains_nothing():
    found = np.array([[50, 50], [30, 70]])
    control_ = next(c for c in catalogues.build()["datasets"]["adult"]["controls"] if c["name"] == "association")
    from fairness_core.config import Control

    stops, start = bias_dial.associated(Control.from_json(control_), found)
    assert stops[start].counts is found
    for stop in stops:
        if stop.counts is None:
            assert stop.problem
        else:
            assert (stop.counts <= found).all()


def test_the_study_of_a_number_speaks_of_means(monkeypatch):
    @dataclass(frozen=True)
    class Salaries(Crowd):
        name: ClassVar[str] = "salaries"
        task: ClassVar[str] = "regression"

        def labels(self, frame: pd.DataFrame) -> np.ndarray:
            return (frame["age"] + 20 * (frame["lucky"] == "yes")).to_numpy(np.float32)

    monkeypatch.setitem(SOURCES, "salaries", Salaries)
    monkeypatch.setattr(anatomy, "rows_of", lambda name, options, role="train": Salaries(**options).explore(None, role))
    known = anatomy.study("salaries", (("sensitive", "region"),), "")
    assert known.numeric
    assert known.means["n"].sum() == known.counts["train"].sum()
    words = anatomy.sentence(known, {"favourable": "x", "classes": []}, {})
    assert words.startswith("Furthest apart of 5 groups: mean lucky is")
    assert known.dial_classes == ("lower half", "upper half")
    with pytest.raises(UserError):
        Salaries(sensitive="age", age_cut="5").explore(None)
