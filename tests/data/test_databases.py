"""SQL as a source: the same expectations on PostgreSQL, MySQL (MariaDB) and SQLite, each a real server or file."""

from __future__ import annotations

import json
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import sqlalchemy as sa
from sqlalchemy.pool import NullPool
from tests.data.servers import PASSWORD, free_port, mysql_url, postgresql_url

from tulou.core.errors import DataError, SettingsError
from tulou.core.progress import Silent
from tulou.core.settings import SourceSettings
from tulou.data.collect.databases.collect import collect_database, database_digest
from tulou.data.collect.databases.openers import is_database
from tulou.data.collect.tables import MissingColumnError
from tulou.data.parquet import read_batches

__all__ = ["mysql_url", "postgresql_url"]


@dataclass
class Sql:
    url: str  # of the source, before its parameters
    engine: sa.Engine
    project: Path

    def run(self, *statements: str) -> None:
        with self.engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    def source(self, parameters: str, **settings: Any) -> SourceSettings:
        return SourceSettings(name="orders", url=f"{self.url}?{parameters}", **settings)

    def collect(self, parameters: str, **settings: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        return collected(self.source(parameters, **settings), self.project)

    def digest(self, parameters: str, **settings: Any) -> str:
        return database_digest(self.source(parameters, **settings), self.project)


def collected(source: SourceSettings, project: Path, **more: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    out = project / "out"
    for path in out.glob("*"):
        path.unlink()
    summary = collect_database(source, project, out, Silent(), **more)
    return [row for batch in read_batches(out) for row in batch.to_pylist()], summary


@pytest.fixture(params=["postgresql", "mysql", "sqlite"])
def sql(request: pytest.FixtureRequest, tmp_path: Path) -> Sql:
    if request.param == "sqlite":
        (tmp_path / "data").mkdir()
        engine = sa.create_engine(f"sqlite:///{tmp_path / 'data' / 'shop.db'}", poolclass=NullPool)
        found = Sql("sqlite:///data/shop.db", engine, tmp_path)
    else:
        url = request.getfixturevalue(f"{request.param}_url")
        driver = {"postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql"}[request.param]
        found = Sql(url, sa.create_engine(sa.make_url(url).set(drivername=driver), poolclass=NullPool), tmp_path)
    found.run("DROP TABLE IF EXISTS orders")
    return found


ORDERS = (
    "CREATE TABLE orders (id INTEGER PRIMARY KEY, subject VARCHAR(200), body TEXT, intent VARCHAR(40), "
    "customer VARCHAR(40), price DECIMAL(12, 2), updated_at TIMESTAMP NULL)"
)


def insert(*rows: tuple[Any, ...]) -> list[str]:
    def literal(value: Any) -> str:
        return "NULL" if value is None else str(value) if isinstance(value, int | float) else f"'{value}'"

    return [f"INSERT INTO orders VALUES ({', '.join(map(literal, row))})" for row in rows]


FIRST = (1, "退货", "我想退货", "return", "c1", 12.5, "2026-01-01 10:00:00")
SECOND = (2, "Late", "Where is it?", "delivery", "c2", None, "2026-01-02 10:00:00")
THIRD = (3, "Thanks", "Good shop", "praise", None, 1000000, "2026-01-02 10:00:00")


def test_rows_become_documents_with_text_label_and_person(sql: Sql) -> None:
    sql.run(ORDERS, *insert(FIRST, SECOND, THIRD))
    rows, summary = sql.collect("table=orders", text=("subject", "body"), label="intent", subject_id="customer")
    assert [row["text"] for row in rows] == ["退货\n我想退货", "Late\nWhere is it?", "Thanks\nGood shop"]
    assert [row["label"] for row in rows] == ["return", "delivery", "praise"]
    assert [row["subject_id"] for row in rows] == ["c1", "c2", None]
    assert [row["position"] for row in rows] == ["row=1", "row=2", "row=3"]
    assert [row["language"] for row in rows] == ["zh", "en", "en"]
    assert summary["documents"] == 3
    assert summary["failed"] == []


def test_row_without_text_columns_speaks_for_itself(sql: Sql) -> None:
    sql.run(ORDERS, *insert(FIRST))
    [row], _ = sql.collect("table=orders")
    assert row["title"] == "退货"
    assert "我想退货" in row["text"]
    assert "price: 12.5" in row["text"]
    assert "updated_at: 2026-01-01 10:00:00" in row["text"]


def test_uri_and_summary_hold_no_user_and_no_password(sql: Sql) -> None:
    sql.run(ORDERS, *insert(FIRST))
    rows, summary = sql.collect("table=orders")
    assert rows[0]["uri"].endswith("/orders")
    assert "tulou:" not in rows[0]["uri"]
    assert "@" not in json.dumps([rows, summary])


def test_query_is_read_in_its_own_order_and_may_hold_colons_percents_and_remarks(sql: Sql) -> None:
    sql.run(ORDERS, *insert(FIRST, SECOND, THIRD))
    query = "SELECT id, subject AS words, ':x %d' AS odd FROM orders WHERE subject LIKE '%a%' ORDER BY id DESC -- end"
    rows, _ = sql.collect(f"query={quote(query)}", text=("words", "odd"))
    assert [row["text"] for row in rows] == ["Thanks\n:x %d", "Late\n:x %d"]
    assert [row["position"] for row in rows] == ["row=1", "row=2"]
    rows, _ = sql.collect(f"query={quote(query.removesuffix('-- end'))};&key=id", text=("words",))
    assert [row["position"] for row in rows] == ["row=3", "row=2"]


def test_names_with_quotes_and_spaces_are_only_names(sql: Sql) -> None:
    quoted = '`or"ders; DROP`' if sql.engine.dialect.name == "mysql" else '"or""ders; DROP"'
    sql.run(f"DROP TABLE IF EXISTS {quoted}", f"CREATE TABLE {quoted} (id INTEGER PRIMARY KEY, body TEXT)")
    sql.run(f"INSERT INTO {quoted} VALUES (1, 'still here')")
    rows, _ = sql.collect(f"table={quote('or' + chr(34) + 'ders; DROP')}", text=("body",))
    assert [row["text"] for row in rows] == ["still here"]


def test_missing_table_and_column_are_answered_with_what_there_is(sql: Sql) -> None:
    sql.run(ORDERS, *insert(FIRST))
    with pytest.raises(DataError, match=r"has no table 'order'; it has .*'orders'"):
        sql.collect("table=order")
    with pytest.raises(MissingColumnError, match="has no column 'bodi'; it has 'body', 'customer'"):
        sql.collect("table=orders", text=("bodi",))
    with pytest.raises(MissingColumnError, match="has no column 'changed'"):
        sql.collect("table=orders", cursor="changed")
    with pytest.raises(DataError, match=r"has no column 'nr' \(key=\)"):
        sql.collect("table=orders&key=nr")


def test_table_without_rows_is_an_error(sql: Sql) -> None:
    sql.run(ORDERS)
    with pytest.raises(DataError, match="nothing could be read"):
        sql.collect("table=orders")


def test_source_can_only_read(sql: Sql) -> None:
    sql.run(ORDERS, *insert(FIRST))
    with pytest.raises(DataError, match="cannot be read"):
        sql.collect(f"query={quote('DELETE FROM orders')}")
    assert len(sql.collect("table=orders")[0]) == 1


def test_table_without_key_and_cursor_is_numbered(sql: Sql) -> None:
    sql.run("CREATE TABLE orders (body VARCHAR(40))", "INSERT INTO orders VALUES ('one'), ('two')")
    rows, _ = sql.collect("table=orders")
    assert [row["position"] for row in rows] == ["row=1", "row=2"]


def test_digest_without_cursor_is_of_the_content(sql: Sql) -> None:
    sql.run(ORDERS, *insert(FIRST, SECOND))
    before = sql.digest("table=orders")
    assert sql.digest("table=orders") == before
    sql.run("UPDATE orders SET body = 'changed' WHERE id = 2")
    assert sql.digest("table=orders") != before


def test_bytes_long_rows_and_odd_values_are_reported_or_told_as_text(sql: Sql) -> None:
    blob = {"postgresql": "BYTEA", "mysql": "LONGBLOB", "sqlite": "BLOB"}[sql.engine.dialect.name]
    sql.run(f"CREATE TABLE orders (id INTEGER PRIMARY KEY, body TEXT, photo {blob}, price DOUBLE PRECISION, made DATE)")
    if sql.engine.dialect.name == "mysql":
        sql.run("ALTER TABLE orders MODIFY body LONGTEXT")
    with sql.engine.begin() as connection:
        odd = [
            {"id": 1, "body": "a picture", "photo": b"\x89PNG\x00\xff", "price": 1.5, "made": "2026-02-03"},
            {"id": 2, "body": "words", "photo": "文字".encode(), "price": None, "made": None},
            {"id": 3, "body": "x" * (2 << 20), "photo": None, "price": 0.1, "made": None},
        ]
        connection.execute(sa.text("INSERT INTO orders VALUES (:id, :body, :photo, :price, :made)"), odd)
    rows, summary = sql.collect("table=orders")
    assert [row["position"] for row in rows] == ["row=1", "row=2"]
    assert "made: 2026-02-03" in rows[0]["text"]
    assert "price: 1.5" in rows[0]["text"]
    assert "photo" not in rows[0]["text"]
    assert "photo: 文字" in rows[1]["text"]
    reasons = " ".join(failure["reason"] for failure in summary["failed"])
    assert "column 'photo' holds bytes that are no text, and was left out: 1 times, first row=1" in reasons
    assert "longer than the 1,048,576 bytes a record may have, and was left out: 1 times, first row=3" in reasons


# --- by a cursor --------------------------------------------------------------------------------------------------


def test_later_run_reads_only_what_came_since_and_newest_wins(sql: Sql) -> None:
    settings: dict[str, Any] = {"text": ("subject",), "cursor": "updated_at"}
    sql.run(ORDERS, *insert(FIRST, SECOND))
    rows, summary = sql.collect("table=orders", **settings)
    assert (len(rows), summary["rows_read"]) == (2, 2)

    sql.run(*insert(THIRD))  # with the cursor value of SECOND: a tie at the boundary
    sql.run("UPDATE orders SET subject = '换货', updated_at = '2026-01-03 00:00:00' WHERE id = 1")
    rows, summary = sql.collect("table=orders", **settings)
    assert summary["rows_read"] == 2
    assert sorted((row["position"], row["title"]) for row in rows) == [
        ("row=1", "换货"),
        ("row=2", "Late"),
        ("row=3", "Thanks"),
    ]
    assert [row["modified_at"] for row in rows if row["position"] == "row=1"] == ["2026-01-03T00:00:00+00:00"]
    assert len({row["id"] for row in rows}) == 3


def test_rows_known_at_the_boundary_are_no_news(sql: Sql) -> None:
    sql.run(ORDERS, *insert(FIRST, SECOND, THIRD))
    first, _ = sql.collect("table=orders", cursor="updated_at")
    digest = sql.digest("table=orders", cursor="updated_at")
    again, summary = sql.collect("table=orders", cursor="updated_at")
    assert again == first
    assert summary["rows_read"] == 0
    assert sql.digest("table=orders", cursor="updated_at") == digest
    assert len(list((sql.project / ".tulou/collect/orders").glob("increment-*"))) == 1


def test_rows_with_a_null_cursor_are_reported(sql: Sql) -> None:
    sql.run(ORDERS, *insert(FIRST, (9, "lost", "lost", None, None, None, None)))
    rows, summary = sql.collect("table=orders", cursor="updated_at")
    assert [row["position"] for row in rows] == ["row=1"]
    assert "has no 'updated_at' and is not found by it: 1 times" in summary["failed"][0]["reason"]


def test_number_and_text_columns_are_cursors_too(sql: Sql) -> None:
    sql.run(ORDERS, *insert(FIRST))
    for cursor in ("id", "subject", "price"):
        source: dict[str, Any] = {"cursor": cursor, "text": ("body",)}
        assert sql.collect("table=orders", **source)[1]["rows_read"] == 1
        assert sql.collect("table=orders", **source)[1]["rows_read"] == 0
    sql.run(*insert((4, "退货 2", "again", None, None, 99, None)))
    assert sql.collect("table=orders", cursor="id")[1]["rows_read"] == 2  # another cursor starts afresh


def test_query_without_key_tells_rows_of_one_cursor_value_apart_by_content(sql: Sql) -> None:
    sql.run(ORDERS, *insert(FIRST, SECOND, THIRD))
    query = f"query={quote('SELECT subject, updated_at FROM orders')}"
    rows, _ = sql.collect(query, cursor="updated_at")
    assert len({row["position"] for row in rows}) == len({row["id"] for row in rows}) == 3
    assert rows[0]["position"].startswith("updated_at=2026-01-01 10:00:00,sha256=")
    sql.run(*insert((4, "New", "", None, None, None, "2026-01-02 10:00:00")))
    rows, summary = sql.collect(query, cursor="updated_at")
    assert (len(rows), summary["rows_read"]) == (4, 1)


# --- what one of them alone can do --------------------------------------------------------------------------------


def test_password_comes_from_the_environment(
    postgresql_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TULOU_PW", PASSWORD)
    url = postgresql_url.replace(quote(PASSWORD, safe=""), "${TULOU_PW}")
    source = SourceSettings(name="numbers", url=f"{url}?query=SELECT generate_series(1, 3) AS n")
    assert is_database(source)
    rows, _ = collected(source, tmp_path)
    assert [row["text"] for row in rows] == ["n: 1", "n: 2", "n: 3"]
    monkeypatch.delenv("TULOU_PW")
    with pytest.raises(SettingsError, match="needs the environment variable TULOU_PW"):
        collected(source, tmp_path)


def test_wrong_password_is_told_without_showing_any(postgresql_url: str, mysql_url: str, tmp_path: Path) -> None:
    for url in (postgresql_url, mysql_url):
        wrong = url.replace(quote(PASSWORD, safe=""), "geheim123")
        with pytest.raises(DataError, match=r"cannot be read: .*(password|denied)") as caught:
            collected(SourceSettings(name="x", url=f"{wrong}?table=t"), tmp_path)
        assert "geheim" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["postgresql", "mysql"])
def test_server_that_is_not_there_is_told_within_seconds(scheme: str, tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(DataError, match=f"source 'x': {scheme}://127.0.0.1:.* cannot be read"):
        collected(SourceSettings(name="x", url=f"{scheme}://u:geheim@127.0.0.1:{free_port()}/db?table=t"), tmp_path)
    assert time.monotonic() - started < 10


def test_types_of_postgresql_that_python_cannot_hold_are_text(postgresql_url: str, tmp_path: Path) -> None:
    columns = (
        "'infinity'::timestamptz AS forever, '0044-03-15 BC'::date AS ides, 'NaN'::float8 AS nan, "
        '\'NaN\'::numeric AS none, 1e20::numeric AS big, \'{"a": {"b": [1, "二"]}}\'::jsonb AS j, '
        "ARRAY['x', 'y'] AS list, '10.0.0.1'::inet AS ip, true AS yes, '1 day'::interval AS span, "
        "gen_random_uuid() IS NOT NULL AS u, 'a::b'::text AS colons, int4range(1, 5) AS span2, "
        "'\"\\ud83d\"'::json AS half"
    )
    [row], _ = collected(SourceSettings(name="x", url=f"{postgresql_url}?query={quote('SELECT ' + columns)}"), tmp_path)
    lines = dict(line.split(": ", 1) for line in row["text"].splitlines())
    assert lines == {
        "forever": "infinity",
        "ides": "0044-03-15 BC",
        "big": "100000000000000000000",
        "j.a.b": "1, 二",
        "list": "x, y",
        "ip": "10.0.0.1",
        "yes": "true",
        "span": "1 day",
        "u": "true",
        "colons": "a::b",
        "span2": "[1, 5)",
        "half": "?",
    }


def test_infinite_cursor_does_not_hide_what_comes_later(postgresql_url: str, tmp_path: Path) -> None:
    engine = sa.create_engine(sa.make_url(postgresql_url).set(drivername="postgresql+psycopg"), poolclass=NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE IF EXISTS endless")
        connection.exec_driver_sql("CREATE TABLE endless (id int PRIMARY KEY, at timestamptz)")
        connection.exec_driver_sql("INSERT INTO endless VALUES (1, '2026-01-01'), (2, 'infinity')")
    source = SourceSettings(name="x", url=f"{postgresql_url}?table=endless", cursor="at")
    rows, summary = collected(source, tmp_path)
    assert len(rows) == 1
    assert "nothing can come after" in summary["failed"][0]["reason"]
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO endless VALUES (3, '2026-01-02')")
    assert len(collected(source, tmp_path)[0]) == 2


def test_schema_view_and_composite_key_are_found(postgresql_url: str, tmp_path: Path) -> None:
    engine = sa.create_engine(sa.make_url(postgresql_url).set(drivername="postgresql+psycopg"), poolclass=NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP SCHEMA IF EXISTS sales CASCADE")
        connection.exec_driver_sql("CREATE SCHEMA sales")
        connection.exec_driver_sql("CREATE TABLE sales.items (a text, b text, note text, PRIMARY KEY (a, b))")
        connection.exec_driver_sql("INSERT INTO sales.items VALUES ('x,y', 'z', 'one'), ('x', 'y,z', 'two')")
        connection.exec_driver_sql("CREATE VIEW sales.notes AS SELECT note FROM sales.items")
    items, _ = collected(SourceSettings(name="x", url=f"{postgresql_url}?table=sales.items"), tmp_path)
    assert len({row["id"] for row in items}) == 2
    assert items[0]["uri"].endswith("/postgres/sales.items")
    notes, _ = collected(SourceSettings(name="x", url=f"{postgresql_url}?table=sales.notes"), tmp_path)
    assert sorted(row["text"] for row in notes) == ["note: one", "note: two"]


@pytest.mark.parametrize("url", ["sqlite:///../outside.db", "sqlite:////etc/passwd", "sqlite://", "sqlite:///:memory:"])
def test_sqlite_file_outside_the_project_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no file of the project"):
        collected(SourceSettings(name="x", url=f"{url}?table=t"), tmp_path)


def test_sqlite_link_that_leads_out_is_refused_and_no_file_is_made(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    sqlite3.connect(tmp_path / "outside.db").close()
    (project / "link.db").symlink_to(tmp_path / "outside.db")
    with pytest.raises(DataError, match="is no file of the project"):
        collected(SourceSettings(name="x", url="sqlite:///link.db?table=t"), project)
    with pytest.raises(DataError, match=r"there is no database 'none.db'"):
        collected(SourceSettings(name="x", url="sqlite:///none.db?table=t"), project)
    assert not (project / "none.db").exists()


def test_sqlite_text_in_an_old_encoding_is_read(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "old.db")
    connection.execute("CREATE TABLE t (body TEXT)")
    connection.execute("INSERT INTO t VALUES (CAST(? AS TEXT))", ("退货运费谁承担".encode("gbk"),))
    connection.commit()
    connection.close()
    rows, _ = collected(SourceSettings(name="x", url="sqlite:///old.db?table=t", text=("body",)), tmp_path)
    assert rows[0]["text"] == "退货运费谁承担"


def test_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(DataError, match="file is not a database"):
        collected(SourceSettings(name="x", url="sqlite:///x.db?table=t"), tmp_path)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [("", "say in the url what to read"), ("?table=a&query=b", "say in the url what to read")],
)
def test_url_must_say_what_to_read(parameters: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=message):
        collected(SourceSettings(name="x", url=f"postgresql://u:pw@h/db{parameters}"), tmp_path)


@pytest.mark.parametrize("kind", ["postgresql", "mysql"])
def test_reading_a_large_table_takes_bounded_memory(kind: str, request: pytest.FixtureRequest) -> None:
    """The table is 60 MB; a reader that fetched it whole would grow by more."""
    import subprocess
    import sys

    numbers = {
        "postgresql": "SELECT n AS id, repeat(md5(n::text), 32) AS body FROM generate_series(1, 60000) AS n",
        "mysql": "SELECT seq AS id, repeat(md5(seq), 32) AS body FROM seq_1_to_60000",  # MariaDB's own
    }
    url = request.getfixturevalue(f"{kind}_url")
    program = (
        "import sys, resource, itertools\n"
        "from pathlib import Path\n"
        "from tulou.core.settings import SourceSettings\n"
        "from tulou.data.collect.databases.sql import open_sql\n"
        "source = SourceSettings(name='x', url=sys.argv[1])\n"
        "with open_sql(source, Path('.'), sys.argv[1]) as table:\n"
        "    records = table.records(None)\n"
        "    for _ in itertools.islice(records, 1000): pass\n"
        "    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "    count = sum(1 for _ in records)\n"
        "print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, f"{url}?query={quote(numbers[kind])}"],
        capture_output=True,
        text=True,
        check=True,
    )
    count, grown_kb = map(int, done.stdout.split())
    assert count == 59_000
    assert grown_kb < 20_000
