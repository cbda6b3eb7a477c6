"""Use your own table: add, look, click, use, delete; whatever the file says is only ever text."""

from __future__ import annotations

import dataclasses

import pytest
from streamlit.testing.v1 import AppTest

from fairness_core import catalogue as catalogues
from fairness_core.datasets import own
from fairness_core.store import Store
from pages.anatomy import markdown
from tests import broken_tables, synthetic
from tests.broken_tables import CASES, PLAIN, csv, people


def script():
    from pages import upload

    upload.draw()


@pytest.fixture
def part(store):
    """The part of the page alone, over an empty store."""

    def visit():
        return AppTest.from_function(script, default_timeout=60).run()

    return visit


def add(at, content=PLAIN, filename="people.csv"):
    at.file_uploader[0].set_value((filename, content, "text/csv")).run()
    assert not at.exception
    return at


def widget(at, kind, label):
    return next(w for w in getattr(at, kind) if w.label == label)


def use(at):
    at.button(key="upload:use").click().run()
    assert not at.exception
    return at


def texts(at):
    return [e.value for kind in ("markdown", "caption", "info", "warning", "error") for e in getattr(at, kind)]


def test_without_a_table_there_is_only_the_way_in(part, store):
    at = part()
    assert not at.exception
    assert [len(at.file_uploader), len(at.button)] == [1, 0]
    assert any("Rows stay on this computer" in text and markdown(str(store.tables)) in text for text in texts(at))


def test_a_table_goes_from_file_to_data_set_by_clicking_alone(part, store):
    at = add(part())
    table = at.dataframe[0].value
    assert list(table["Column"]) == ["age", "sex", "job", "y"]
    assert list(table["Taken for"]) == ["number", "category", "category", "yes/no"]
    assert widget(at, "selectbox", "Target").value == "y"
    assert widget(at, "selectbox", "Favourable class").value == "yes"
    assert widget(at, "multiselect", "Sensitive attribute").value == ["sex"]
    (name,) = [t.name for t in own.tables(store.tables)]
    assert own.entry(own.table(store.tables, name))["missing"]
    use(at)
    assert own.table(store.tables, name).choice.target == "y"
    assert at.query_params["data"] == [name] or at.query_params["data"] == name
    assert at.button(key="upload:use").disabled


def test_everything_can_be_chosen_and_comes_back(part, store):
    at = add(part())
    widget(at, "selectbox", "Target").select("job").run()
    widget(at, "selectbox", "Favourable class").select("cook").run()
    widget(at, "multiselect", "Sensitive attribute").set_value(["sex", "age"]).run()
    assert widget(at, "text_input", "Cut age at").value
    widget(at, "text_input", "Cut age at").input("30,50").run()
    widget(at, "multiselect", "Leave out").set_value(["y"]).run()
    use(at)
    choice = own.tables(store.tables)[0].choice
    assert (choice.target, choice.positive, choice.sensitive) == ("job", "cook", ("sex", "age"))
    assert (choice.cuts, choice.left_out) == ({"age": (30, 50)}, ("y",))
    again = part()
    assert widget(again, "selectbox", "Favourable class").value == "cook"
    assert widget(again, "text_input", "Cut age at").value == "30,50"


@pytest.mark.parametrize(
    ("label", "value", "says"),
    [("Cut age at", "old", "is not a boundary"), ("Cut age at", "999", "holds one group only")],
)
def test_what_cannot_be_is_a_sentence_and_nothing_can_be_used(part, label, value, says):
    at = add(part())
    widget(at, "multiselect", "Sensitive attribute").set_value(["age"]).run()
    widget(at, "text_input", label).input(value).run()
    assert not at.exception
    assert any(says.replace(" ", " ") in text for text in texts(at))
    assert at.button(key="upload:use").disabled


def test_a_number_as_target_is_cut(part, store):
    at = add(part())
    widget(at, "selectbox", "Target").select("age").run()
    assert widget(at, "selectbox", "Favourable class").options[0].startswith("< ")
    use(at)
    assert "age" in own.tables(store.tables)[0].choice.cuts


@pytest.mark.parametrize(
    "case", [c for c in CASES if c.refused and len(c.content) < 1 << 20][::4], ids=lambda case: case.name
)
def test_a_broken_file_is_one_sentence_and_the_rest_stays(part, store, case):
    at = add(part())
    add(at, case.content, case.filename)
    assert len(at.error) == 1
    assert markdown(case.refused)[:12] in at.error[0].value
    assert widget(at, "selectbox", "Target").value == "y"
    assert len(own.tables(store.tables)) == 1
    assert not list(store.tables.glob(".*"))


@pytest.mark.parametrize("named", ["html in names", "emoji and markdown in names", "html as sensitive column"])
def test_names_from_the_file_are_only_text(part, named):
    case = next(c for c in CASES if c.name == named)
    at = add(part(), case.content, "<b>evil</b>.csv")
    widget(at, "selectbox", "Target").select("y").run()
    at.multiselect[0].set_value([case.choice["sensitive"][0]]).run()
    assert not at.exception
    for text in texts(at):
        assert "<script>" not in text.replace("\\<", "")
        assert "<b>" not in text


def test_leaks_are_pointed_out(part):
    at = add(part(), csv(people(copy=people()["y"])))
    assert any("is a copy of the target" in markdown_free(text) for text in texts(at))


def markdown_free(text):
    return text.replace("\\", "")


def test_ready_made_decisions_are_audited_and_nothing_is_trained(part, store):
    table = people(400)
    table["decision"] = table["y"][:300] + ["no"] * 100
    at = add(part(), csv(table))
    widget(at, "selectbox", "Ready-made prediction").select("decision").run()
    use(at)
    shown = {len(d.value.columns): d.value for d in at.dataframe}
    groups = next(t for t in shown.values() if "Group" in t)
    assert list(groups["Group"]) == ["F", "M"]
    assert groups["n"].sum() == 400
    assert "to" in groups["Favourable decisions"][0]
    assert any("Of 1,000 in" in text and "a gap of" in text for text in texts(at))
    assert store.runs().empty


def test_deleting_takes_rows_and_everything_derived_after_a_second_click(part, store):
    at = use(add(part()))
    (table,) = own.tables(store.tables)
    run = dataclasses.replace(synthetic.configured(catalogues.build(), "erm"), dataset=table.name)
    other = synthetic.configured(catalogues.build(), "erm")
    store.submit([run, other])
    at.button(key="upload:delete").click().run()
    assert table.rows_file.exists()
    at.button(key="upload:delete-really").click().run()
    assert not at.exception
    assert own.tables(store.tables) == []
    assert not table.folder.exists()
    assert list(store.runs()["id"]) == [other.id]


def test_several_tables_are_kept_apart(part, store):
    at = add(add(part()), csv(people(80)), "more.csv")
    picker = widget(at, "selectbox", "Your tables")
    assert len(picker.options) == 2
    assert "more.csv" in picker.value or picker.options[0].startswith("more.csv")
    older = next(t.name for t in own.tables(store.tables) if t.title == "people.csv")
    picker.set_value(older).run()
    assert any("people" in text and "60 rows" in text for text in texts(at))


def test_a_store_elsewhere_is_the_one_that_is_shown(part, store):
    assert isinstance(store, Store)
    path = store.root / "file"
    path.write_bytes(broken_tables.PLAIN)
    own.add(store.tables, path, "from the command line.csv")
    assert any("command line" in text for text in texts(part()))
