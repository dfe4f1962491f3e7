from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.engine import make_url

from tulou.core.errors import SettingsError
from tulou.core.urls import expand, url_digest, without_secrets


def test_variables_come_from_the_environment_and_passwords_are_escaped() -> None:
    values = {"USER": "app", "PW": "p@ss:/w?rd", "HOST": "db.local:5432", "SQL": "SELECT a, b FROM t"}
    url = expand("postgresql://${USER}:${PW}@${HOST}/shop?query=${SQL}", values)
    parsed = make_url(url)
    assert (parsed.username, parsed.password, parsed.host, parsed.port) == ("app", "p@ss:/w?rd", "db.local", 5432)
    assert parsed.query["query"] == "SELECT a, b FROM t"


def test_variable_that_holds_a_whole_url_or_a_path_is_taken_as_it_is() -> None:
    assert expand("${URL}", {"URL": "s3://bucket/a b"}) == "s3://bucket/a b"
    assert expand("${HOME_OF_DATA}/tickets.csv", {"HOME_OF_DATA": "data/2026"}) == "data/2026/tickets.csv"
    assert expand("s3://${BUCKET}/x", {"BUCKET": "b/c"}) == "s3://b/c/x"


def test_variable_that_is_not_set_is_named_and_the_url_shown_without_secrets() -> None:
    with pytest.raises(SettingsError, match=r"'postgresql://db/shop' needs the environment variable PG_PW") as caught:
        expand("postgresql://app:geheim${PG_PW}@db/shop", {})
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://app:pw@db:5432/shop?table=t", "postgresql://db:5432/shop?table=t"),
        ("postgresql://app@db/shop", "postgresql://db/shop"),
        ("postgresql://app:p/w@db/shop", "postgresql://db/shop"),
        ("postgresql://app:p?w@db/shop?table=t", "postgresql://db/shop?table=t"),
        ("postgresql://app:p@w/x@db/shop", "postgresql://db/shop"),
        ("postgresql:///shop?host=/run&user=a&password=pw", "postgresql:///shop?host=/run&user=a&password=…"),
        ("elasticsearch+https://es:9200/logs?api_key=abc&x=1", "elasticsearch+https://es:9200/logs?api_key=…&x=1"),
        ("https://host/a?X-Amz-Signature=abc&X-Amz-Security-Token=d&sig=e", None),
        ("https://host/@person/post@2x.png", "https://host/@person/post@2x.png"),
        ("https://u:p@host/@person", "https://host/@person"),
        ("s3://bucket/mail@host.eml", "s3://bucket/mail@host.eml"),
        ("hdfs://namenode:8020/a@b", "hdfs://namenode:8020/a@b"),
        (
            "mongodb://u:p@a:1,b:2/shop?replicaSet=rs&authSource=admin",
            "mongodb://a:1,b:2/shop?replicaSet=rs&authSource=admin",
        ),
        ("data/a@b/*.csv", "data/a@b/*.csv"),
        ("sqlite:///data/shop.db?table=orders", "sqlite:///data/shop.db?table=orders"),
    ],
)
def test_what_is_shown_holds_no_secret_and_all_the_rest(url: str, shown: str | None) -> None:
    if shown is not None:
        assert without_secrets(url) == shown
    assert not {"abc", "pw", "=d", "=e"} & set(without_secrets(url).replace("=", " =").split())


@given(
    st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1).map(lambda text: f"«{text}»"),
    st.sampled_from(["postgresql", "mongodb", "mysql+pymysql", "elasticsearch", "redis"]),
)
def test_no_password_is_ever_shown_however_it_got_there(password: str, scheme: str) -> None:
    template = f"{scheme}://app:${{PW}}@host/name"
    assert without_secrets(expand(template, {"PW": password})) == f"{scheme}://host/name"
    assert "»" not in without_secrets(f"{scheme}://app:{password.replace('?', '')}@host/name")
    assert url_digest(template) != url_digest(template + "x")
