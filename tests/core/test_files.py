"""Finding the files of a data set, and downloading them from a server of our own: whole and checked, or not at all."""

from __future__ import annotations

import functools
import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from fairness_core.config import UserError
from fairness_core.datasets import SOURCES
from fairness_core.datasets.files import Files

TABLE = b"a,b\n" + b"1,2\n" * 100_000  # several chunks
SHORT = b"c\n3\n"
PAGE = "https://example.org/data"


def zipped(**members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/").replace("_dot_", "."), content)
    return out.getvalue()


ARCHIVE = zipped(read_dot_me=b"-", inner_dot_zip=zipped(folder__table_dot_csv=TABLE, folder__other_dot_csv=b"x"))
ANSWERS = {"/all.zip": ARCHIVE, "/short.csv": SHORT, "/no.zip": b"not a zip", "/cut.zip": ARCHIVE[: len(ARCHIVE) // 2]}


class Handler(BaseHTTPRequestHandler):
    """Serves ANSWERS; /broken.csv announces more bytes than it sends and hangs up."""

    def do_GET(self) -> None:
        body = ANSWERS.get(self.path, TABLE[:70_000] if self.path == "/broken.csv" else None)
        self.send_response(200 if body is not None else 404)
        self.send_header("Content-Length", str(len(TABLE) if self.path == "/broken.csv" else len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *_: object) -> None:
        """Nothing on standard error."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("NO_PROXY", "*")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=functools.partial(running.serve_forever, 0.01), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def files(server: str, **changed: object) -> Files:
    given = {
        "sha256": {"table.csv": digest(TABLE)},
        "urls": {"table.csv": f"{server}/all.zip", "short.csv": f"{server}/short.csv"},
        **changed,
    }
    return Files("toys", ("table.csv", "short.csv"), PAGE, **given)  # type: ignore[arg-type]


def everything_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() or path.name.startswith(".partial")]


def test_files_lie_in_the_named_folder_or_below_it_or_in_the_cache(tmp_path: Path, empty_cache: Path) -> None:
    toys = Files("toys", ("a.csv",), PAGE)
    for root in (empty_cache / "toys", tmp_path / "data", tmp_path / "data" / "toys"):
        root.mkdir(parents=True)
        (root / "a.csv").write_text(str(root))
        assert toys.find(tmp_path / "data") == [root / "a.csv"]
    assert toys.find(None) == [empty_cache / "toys" / "a.csv"]


def test_files_of_two_places_are_not_mixed(tmp_path: Path, empty_cache: Path) -> None:
    toys = Files("toys", ("a.csv", "b.csv"), PAGE)
    for folder, name in ((empty_cache / "toys", "a.csv"), (tmp_path / "toys", "b.csv")):
        folder.mkdir(parents=True)
        (folder / name).write_text("x")
    with pytest.raises(UserError, match=r"a\.csv, b\.csv of toys is not here; get it from https://example\.org/data"):
        toys.find(tmp_path)
    assert str(tmp_path / "toys") in toys.missing(tmp_path)
    assert str(empty_cache / "toys") in toys.missing(None)


def test_the_digest_is_of_the_bytes(tmp_path: Path, empty_cache: Path) -> None:
    toys = Files("toys", ("a.csv",), PAGE)
    found = []
    for place, content in (("one", "x"), ("two", "x"), ("three", "y")):
        (tmp_path / place).mkdir()
        (tmp_path / place / "a.csv").write_text(content)
        found.append(toys.digest(tmp_path / place))
    assert found[0] == found[1] != found[2]


def test_a_download_unpacks_archives_in_archives_and_tells_how_far_it_is(server: str, empty_cache: Path) -> None:
    toys, heard = files(server), []
    toys.fetch(None, lambda what, done, total: heard.append((what, done, total)))
    assert [path.read_bytes() for path in toys.find(None)] == [TABLE, SHORT]
    assert sorted(path.name for path in everything_in(empty_cache)) == ["short.csv", "table.csv"]
    assert {what for what, _, _ in heard} == {"all.zip", "short.csv"}
    assert heard[-1] == ("short.csv", len(SHORT), len(SHORT))
    assert all(0 <= done <= total for _, done, total in heard)


def test_a_big_download_tells_more_than_once(server: str, empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ANSWERS, "/table.csv", TABLE)
    heard: list[int] = []
    toys = Files("toys", ("table.csv",), PAGE, urls={"table.csv": f"{server}/table.csv"})
    toys.fetch(None, lambda what, done, total: heard.append(done))
    assert heard == sorted(heard)
    assert len(set(heard)) > 3
    assert heard[-1] == len(TABLE)


def test_what_is_there_is_not_fetched(server: str, tmp_path: Path, empty_cache: Path) -> None:
    for name in ("table.csv", "short.csv"):
        (tmp_path / name).write_text("mine")
    files(server).fetch(tmp_path)
    assert not empty_cache.exists()


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"sha256": {"short.csv": "0" * 64}}, r"short\.csv from .*/short\.csv is not the published file"),
        ({"sha256": {"table.csv": "0" * 64}}, r"table\.csv from .*/all\.zip is not the published file"),
        ({"urls": ("all.zip", "gone.csv")}, r"gone\.csv cannot be downloaded \(the server answered 404\)"),
        ({"urls": ("no.zip", "short.csv")}, r"no\.zip cannot be downloaded \(what came is no whole zip archive\)"),
        ({"urls": ("cut.zip", "short.csv")}, r"cut\.zip cannot be downloaded \(what came is no whole zip archive\)"),
        ({"urls": ("all.zip", "all.zip")}, r"all\.zip cannot be downloaded \(the archive holds no short\.csv\)"),
        ({"urls": ("broken.csv", "short.csv")}, r"broken\.csv cannot be downloaded \(no connection or it broke off\)"),
    ],
)
def test_a_download_that_fails_is_one_sentence_and_leaves_nothing(
    server: str, tmp_path: Path, empty_cache: Path, changed: dict[str, Any], complaint: str
) -> None:
    if "urls" in changed:
        table, short = changed["urls"]
        changed = {"urls": {"table.csv": f"{server}/{table}", "short.csv": f"{server}/{short}"}}
    toys = files(server, **changed)
    with pytest.raises(UserError, match=complaint) as raised:
        toys.fetch(tmp_path / "data")
    assert f"get it from {PAGE} and put it into {tmp_path / 'data' / 'toys'}." in str(raised.value)
    assert everything_in(empty_cache) == []
    assert toys.missing(None)


def test_a_server_that_is_gone_is_one_sentence(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    toys = files("http://127.0.0.1:1")
    with pytest.raises(UserError, match=rf"no connection or it broke off\); get it from {PAGE} and put it into"):
        toys.fetch()
    assert everything_in(empty_cache) == []


def test_giving_up_half_way_leaves_nothing(server: str, empty_cache: Path) -> None:
    def give_up(what: str, done: int, total: int) -> None:
        if what == "short.csv":
            raise KeyboardInterrupt

    toys = files(server)
    with pytest.raises(KeyboardInterrupt):
        toys.fetch(None, give_up)
    assert everything_in(empty_cache) == []
    toys.fetch()
    assert not toys.missing(None)


def test_a_cache_that_cannot_be_written_is_one_sentence(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("EQUIPOISE_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"cannot be written .*; set EQUIPOISE_CACHE to a folder"):
        files(server).fetch()


def test_without_an_address_the_sentence_says_what_to_do(tmp_path: Path, empty_cache: Path) -> None:
    toys = Files("toys", ("a.csv",), PAGE)
    with pytest.raises(UserError, match=r"a\.csv of toys is not here; get it from") as raised:
        toys.fetch(tmp_path)
    assert str(raised.value) == toys.missing(tmp_path)


def test_members_of_an_archive_cannot_leave_their_folder(
    server: str, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ANSWERS, "/all.zip", zipped(**{".." + "__" * 3 + "table_dot_csv": TABLE}))
    files(server).fetch()
    assert sorted(path.name for path in everything_in(empty_cache.parent)) == ["short.csv", "table.csv"]


def test_bundled_data_are_never_missing_and_never_fetched(empty_cache: Path) -> None:
    assert SOURCES["adult"].missing(None) == ""
    SOURCES["adult"].fetch(None, None)
    assert not empty_cache.exists()


@pytest.mark.parametrize("name", ["bank", "compas", "south_german", "communities"])
def test_every_file_of_an_open_table_has_an_official_address(name: str) -> None:
    known = SOURCES[name].files
    assert set(known.urls) == set(known.names)
    assert all(url.startswith("https://") for url in known.urls.values())


def test_meps_asks_people_to_agree_first(empty_cache: Path) -> None:
    with pytest.raises(UserError, match=r"meps_train\.csv, .* after agreeing to the terms"):
        SOURCES["meps"].fetch(None, None)
