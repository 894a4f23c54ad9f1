"""The URL of a store, and what of it is shown."""

import pickle
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmflow.errors import StoreError
from lmflow.stores.opened import StoreURL, is_there, is_url, open_store, path_of, store_name
from lmflow.stores.postgres.location import location
from lmflow.stores.sqlite.store import SqliteStore

_secrets = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=6).map(
    lambda text: f"S3cr3t{text}"
)


@given(_secrets)
def test_a_password_is_never_shown(password: str) -> None:
    """Name, representation and cleaned errors have no password, neither as it is nor quoted."""
    quoted = quote(password, safe="")
    url = f"postgresql://ann:{quoted}@host:5433/db?sslmode=require&password={quoted}"
    place = location(url)
    shown = [place.name, repr(place), str(StoreURL(url)), place.clean(f"bad {password}, {quoted}")]
    assert [] == [text for text in shown if password in text or quoted in text]
    assert "postgresql://ann@host:5433/db?sslmode=require" == place.name
    assert url == place.url


def test_a_schema_is_ours() -> None:
    """The schema is taken from the URL, which the driver gets without it."""
    place = location("postgres://host/db?schema=team_a&sslmode=require")
    assert ("team_a", "postgres://host/db?sslmode=require") == (place.schema, place.url)
    assert "lmflow" == location("postgres://host/db").schema


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:hunter2@host:port/db",
        "postgresql://u:hunter2@[::1/db",
        "mysql://u:hunter2@host/db",
        "postgresql+psycopg://u:hunter2@host/db",
        "postgresql:/u:hunter2@host/db",
        "postgresql://u:5/hunter2@host/db",
        "postgresql://u:5?hunter2@host/db",
        "postgresql://u:5#hunter2@host/db",
        "postgresql://u:5@hunter2@host/db",
        'postgresql://u:hunter2@host/db?schema=a"b',
        "postgresql://u:hunter2@host/db?schema=",
    ],
)
def test_a_bad_url_is_refused_without_its_password(url: str) -> None:
    """The error says how to write it, and shows no secret."""
    for read in (location, store_name, is_there):
        with pytest.raises(StoreError) as caught:
            read(url)
        assert "hunter2" not in str(caught.value)


def test_the_class_of_the_other_kind_is_named() -> None:
    """Neither a file nor a database is opened by the other's class, and no password is shown."""
    with pytest.raises(StoreError, match="PostgresStore") as caught:
        SqliteStore("postgresql://u:hunter2@h/d")
    assert "hunter2" not in str(caught.value)
    with pytest.raises(StoreError, match=r"store lmflow\.db: it isn't the URL"):
        location("lmflow.db")


def test_a_name_is_a_url_or_a_path() -> None:
    """Only URLs are databases; what needs a file refuses them and says what does it instead."""
    urls = ["postgresql://h/d", "PostgreSQL://h/d", "mysql://h/d"]
    paths = ["lmflow.db", "folder/postgresql", "C:/a@b.db", "a:b.db", "./x://y"]
    assert [True] * 3 + [False] * 5 == [*map(is_url, [*urls, *paths])]
    assert "lmflow.db" == store_name("lmflow.db")
    with pytest.raises(StoreError, match="pg_dump"):
        path_of(store_name("postgresql://u:hunter2@h/d"), "pg_dump copies it.")


def test_a_url_is_a_value() -> None:
    """It can be sent to another process, and named again without losing its password."""
    url = StoreURL("postgresql://u:hunter2@h/d")
    assert url is store_name(url)
    assert (url, url.url) == ((copy := pickle.loads(pickle.dumps(url))), copy.url)  # noqa: S301 - our own


def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without psycopg the error is the line that installs it."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(StoreError, match=r"lmflow-dsl\[postgres\]") as caught:
        open_store("postgresql://u:hunter2@h/d")
    assert "hunter2" not in str(caught.value)
