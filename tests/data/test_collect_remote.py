"""Files behind URLs: listed, fetched and named without ever leading anywhere else or showing a secret."""

from __future__ import annotations

import io
import json
import socket
import threading
import time
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pytest

from tulou.core.errors import DataError, SettingsError
from tulou.core.progress import Silent
from tulou.core.settings import SourceSettings
from tulou.data.collect import collect, source_digest
from tulou.data.parquet import read_batches


def gather(project: Path, url: str, **settings: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    out = project / "out"
    summary = collect(SourceSettings(name="s", url=url, **settings), project, out, Silent())
    assert [path.name for path in out.iterdir()] == ["documents-00000.parquet"]  # what was fetched is gone
    return summary, [row for batch in read_batches(out) for row in batch.to_pylist()]


def zipped(members: dict[str, bytes]) -> bytes:
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return raw.getvalue()


@pytest.fixture
def memory() -> Iterator[Any]:
    files = fsspec.filesystem("memory")
    files.store.clear()
    yield files
    files.store.clear()


def test_files_of_another_file_system_are_listed_and_read(tmp_path: Path, memory: Any) -> None:
    memory.pipe({"/box/a.md": "# 你好\n\n内容".encode(), "/box/deep/b.csv": b"q,a\nx,y\n", "/box/c.bin": b"1"})
    memory.pipe({"/box/.hidden.md": b"# no", "/box/empty.md": b"", "/other/d.md": b"# not asked for"})
    summary, rows = gather(tmp_path, "memory://box/**/*")
    assert [row["uri"] for row in rows] == ["memory://box/a.md", "memory://box/deep/b.csv"]
    assert rows[0]["title"] == "你好"
    assert rows[0]["modified_at"].startswith("20")
    told = {failure["uri"]: failure["reason"] for failure in summary["failed"]}
    assert set(told) == {"memory://box/c.bin", "memory://box/empty.md"}


def test_digest_of_distant_files_changes_with_them(tmp_path: Path, memory: Any) -> None:
    source = SourceSettings(name="s", url="memory://box/*")
    memory.pipe({"/box/a.md": b"one"})
    first = source_digest(source, tmp_path)
    assert source_digest(source, tmp_path) == first
    memory.pipe({"/box/a.md": b"two"})
    assert source_digest(source, tmp_path) != first


def test_a_folder_and_nothing_at_all_are_told_apart(tmp_path: Path, memory: Any) -> None:
    memory.pipe({"/box/a.md": b"one"})
    with pytest.raises(DataError, match=r"memory://box is a folder; add /\*\*/\*"):
        gather(tmp_path, "memory://box")
    with pytest.raises(DataError, match=r"no file matches 'memory://box/none\.md'"):
        gather(tmp_path, "memory://box/none.md")


@pytest.mark.parametrize("url", ["zip://**/*.md::memory://box/a.zip", "memory://box/a.zip", "memory://box/*.zip"])
def test_an_archive_elsewhere_is_its_members(tmp_path: Path, memory: Any, url: str) -> None:
    memory.pipe({"/box/a.zip": zipped({"x/one.md": b"# One", "x/two.md": b"# Two"})})
    _, rows = gather(tmp_path, url)
    assert [row["uri"] for row in rows] == ["memory://box/a.zip!x/one.md", "memory://box/a.zip!x/two.md"]
    assert [row["title"] for row in rows] == ["One", "Two"]


def test_members_of_an_archive_in_the_project_can_be_chosen(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.zip").write_bytes(zipped({"one.md": b"# One", "t/two.csv": b"x\n1\n"}))
    _, rows = gather(tmp_path, "zip://*.md::data/a.zip")
    assert [row["uri"] for row in rows] == ["data/a.zip!one.md"]
    _, rows = gather(tmp_path, "data/*")
    assert [row["uri"] for row in rows] == ["data/a.zip!one.md", "data/a.zip!t/two.csv"]
    with pytest.raises(DataError, match="no file matches"):
        gather(tmp_path, "zip://*.md::data/b.zip")


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("zip://*::../a.zip", "leads out of the project"),
        ("zip://*::/etc/a.zip", "outside the project"),
        ("tar://*.md::file:///etc/a.tar", "outside the project"),
        ("tar://*.md::../a.tar", "leads out of the project"),
        ("reference://x::memory://refs.json", "is not read"),
        ("simplecache::memory://box/a.md", "is not read"),
        ("git://repo/a.md", "is not read"),
        ("nonsense://x/a.md", "cannot be read: Protocol not known"),
        ("https://example.invalid/*.md", "HTTP has no listing"),
        ("hdfs://host:port/a.md", "is no URL"),
        ("http://[half/a.md", "is no URL"),
    ],
)
def test_urls_that_lead_elsewhere_or_nowhere_are_refused(tmp_path: Path, url: str, why: str) -> None:
    with pytest.raises(DataError, match=why):
        gather(tmp_path, url)


@pytest.mark.parametrize(
    "url",
    [
        "hdfs://127.0.0.1:1/data/*.md",
        "webhdfs://127.0.0.1:1/data/*.md",
        "ftp://127.0.0.1:1/a.md",
        "http://127.0.0.1:1/a.md",
    ],
)
def test_a_dead_host_is_a_clear_error_within_seconds(tmp_path: Path, url: str) -> None:
    started = time.monotonic()
    with pytest.raises(DataError, match=r"127\.0\.0\.1:1"):
        gather(tmp_path, url)
    assert time.monotonic() - started < 15


@pytest.mark.parametrize("scheme", ["hdfs", "webhdfs", "http"])
def test_a_host_that_listens_and_says_nothing_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    monkeypatch.setattr("tulou.data.collect.remote._FIRST_ANSWER_S", 1.5)
    monkeypatch.setattr("tulou.data.collect.remote._LISTING_S", 1.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        with pytest.raises(DataError, match="did not answer in 2 s; check the address"):
            gather(tmp_path, f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/a.md")
    assert time.monotonic() - started < 10


class _Shop(BaseHTTPRequestHandler):
    """A web server with a few files, a password, and one file that breaks off."""

    FILES: ClassVar[dict[str, bytes]] = {
        "/hours.md": b"# Opening hours\n\nNine to five.",
        "/export": json.dumps([{"q": "a"}, {"q": "b"}]).encode(),
        "/secret/a.md": b"# Secret",
        "/broken.md": b"# Broken",
    }

    def do_GET(self) -> None:
        self._answer(is_body=True)

    def do_HEAD(self) -> None:
        self._answer(is_body=False)

    def _answer(self, *, is_body: bool) -> None:
        path = self.path.partition("?")[0]
        content = self.FILES.get(path)
        if content is None or (path.startswith("/secret") and not self.headers.get("Authorization")):
            self.send_error(404 if content is None else 401)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content) + (100 if path == "/broken.md" else 0)))
        self.send_header("Content-Type", "application/json" if path == "/export" else "text/markdown")
        self.send_header("Last-Modified", "Wed, 01 Jul 2026 08:00:00 GMT")
        self.end_headers()
        if is_body:
            self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def shop() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Shop)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_file_over_http_is_read_and_its_digest_is_stable(tmp_path: Path, shop: str) -> None:
    _, [row] = gather(tmp_path, f"http://{shop}/hours.md")
    assert row["uri"] == f"http://{shop}/hours.md"
    assert row["title"] == "Opening hours"
    source = SourceSettings(name="s", url=f"http://{shop}/hours.md")
    assert source_digest(source, tmp_path) == source_digest(source, tmp_path)


def test_a_url_without_an_ending_is_what_the_server_says(tmp_path: Path, shop: str) -> None:
    _, rows = gather(tmp_path, f"http://{shop}/export?format=json")
    assert [row["text"] for row in rows] == ["q: a", "q: b"]


def test_secrets_come_from_the_environment_and_are_shown_nowhere(
    tmp_path: Path, shop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_PASSWORD", "p@ss/w:rd")
    monkeypatch.setenv("SHOP_TOKEN", "t0ken-value")
    url = "http://me:${SHOP_PASSWORD}@" + shop + "/secret/a.md?token=${SHOP_TOKEN}"
    summary, [row] = gather(tmp_path, url)
    assert row["title"] == "Secret"
    assert "t0ken" not in json.dumps([summary, row])
    assert "p@ss" not in json.dumps([summary, row])
    with pytest.raises(DataError) as refused:
        gather(tmp_path, url.replace("/secret/a.md", "/none.md"))
    assert "t0ken" not in str(refused.value)
    assert "p@ss" not in str(refused.value)
    monkeypatch.delenv("SHOP_TOKEN")
    with pytest.raises(SettingsError, match="SHOP_TOKEN"):
        gather(tmp_path, url)


def test_a_file_that_breaks_off_on_the_way_is_reported(tmp_path: Path, shop: str) -> None:
    with pytest.raises(DataError, match=r"nothing could be read .*broken\.md"):
        gather(tmp_path, f"http://{shop}/broken.md")


def test_objects_in_s3_are_listed_and_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moto = pytest.importorskip("moto.server")
    boto3 = pytest.importorskip("botocore.session")
    pytest.importorskip("s3fs")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        for name, value in {
            "AWS_ACCESS_KEY_ID": "other",
            "AWS_SECRET_ACCESS_KEY": "other",
            "AWS_DEFAULT_REGION": "us-east-1",
            "S3_SECRET": "abc/def+ghi",
        }.items():
            monkeypatch.setenv(name, value)
        client = boto3.Session().create_client("s3", endpoint_url=f"http://{host}:{port}")
        client.create_bucket(Bucket="shop")
        client.put_object(Bucket="shop", Key="faq/退货.md", Body="# 退货\n\n七天".encode())
        client.put_object(Bucket="shop", Key="faq/deep/a.jsonl", Body=b'{"q": "x"}\n')
        client.put_object(Bucket="shop", Key="faq/a.zip", Body=zipped({"in.md": b"# In"}))
        url = "s3://key:${S3_SECRET}@shop/faq/**/*?endpoint_url=" + f"http://{host}:{port}"
        _, rows = gather(tmp_path, url)
        assert [row["uri"] for row in rows] == [
            "s3://shop/faq/a.zip!in.md",
            "s3://shop/faq/deep/a.jsonl",
            "s3://shop/faq/退货.md",
        ]
        source = SourceSettings(name="s", url=url)
        first = source_digest(source, tmp_path)
        assert source_digest(source, tmp_path) == first
        client.put_object(Bucket="shop", Key="faq/deep/a.jsonl", Body=b'{"q": "y"}\n')
        assert source_digest(source, tmp_path) != first
        with pytest.raises(DataError, match="s3://nobucket"):
            gather(tmp_path, f"s3://nobucket/*.md?endpoint_url=http://{host}:{port}")
    finally:
        server.stop()
