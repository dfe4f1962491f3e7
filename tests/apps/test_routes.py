from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient
from tests.apps.bookshop import Bookshop
from tests.apps.fakes import ADMIN_KEY, APP_KEY, VIEWER_KEY, FakeModels, FakeOverview, application, applications

from tulou.apps.limits import TokenBuckets
from tulou.apps.routes import STATIC, Applications
from tulou.core.errors import DataError
from tulou.core.state import usage_by_day
from tulou.core.types import Hit

ADMIN = [
    *("overview", "runs", "trainings", "cleaning", "models", "replicas", "scalings", "live", "conversations", "usage"),
    "usage.csv",
]


@pytest.fixture
def client(apps: Applications) -> TestClient:
    return TestClient(application(apps), base_url="http://localhost:8000")


@pytest.fixture
def admin(client: TestClient) -> TestClient:
    assert client.post("/api/admin/login", json={"key": ADMIN_KEY}).status_code == 200
    return client


def ask(client: TestClient, question: str, **more: Any) -> Any:
    return client.post("/api/support/ask", json={"question": question, **more})


def events(text: str) -> list[tuple[str, Any]]:
    return [(name, json.loads(data)) for name, data in re.findall(r"^event: (.*)\ndata: (.*)\n\n", text, re.MULTILINE)]


def test_anyone_may_ask(client: TestClient) -> None:
    answer = ask(client, "可以货到付款吗？").json()
    assert (answer["kind"], answer["language"]) == ("quoted", "zh")
    assert answer["sources"][0]["title"] == "支付方式"
    assert {"turn_id", "conversation_id", "intent", "model", "model_version", "latency_ms", "reason"} <= answer.keys()


def test_an_answer_streams_as_events(client: TestClient, models: FakeModels) -> None:
    models.speak = lambda _prompt: "Standard delivery takes 3 to 5 days."
    response = ask(client, "How long does delivery take?", stream=True)
    assert response.headers["content-type"].startswith("text/event-stream")
    told = events(response.text)
    assert [name for name, _ in told] == ["started", "delta", "answer"]
    assert told[1][1] == {"text": "Standard delivery takes 3 to 5 days."}
    assert told[2][1]["kind"] == "generated"
    accepted = client.post("/api/support/ask", json={"question": "?"}, headers={"Accept": "text/event-stream"})
    assert [name for name, _ in events(accepted.text)][-1] == "answer"


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"{", 400, "not valid JSON"),
        (b"[]", 400, "must be a JSON object"),
        (b"{}", 400, "'question' must be a string"),
        (b'{"question": " "}', 400, "'question' is empty"),
        (b'{"question": "a\\u0000b"}', 400, "'question' holds '\\x00', which no text has"),
        (b'{"question": "a\\ud800b"}', 400, "'question' holds '\\ud800', which no text has"),
        (b"[" * 100_000, 400, "not valid JSON"),
        (json.dumps({"question": "x" * 1001}).encode(), 400, "has 1,001 characters; at most 1,000"),
        (b'{"question": "hi", "conversation_id": "nobody"}', 404, "there is no conversation 'nobody'"),
        (b"\xff\xfe", 400, "not valid JSON"),
    ],
)
def test_a_bad_question_is_one_clear_sentence(client: TestClient, body: bytes, status: int, message: str) -> None:
    response = client.post("/api/support/ask", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == status
    assert message in response.json()["error"]["message"]


def test_a_question_larger_than_the_gateway_lets_through_is_refused(apps: Applications) -> None:
    gateway = Starlette(routes=[Mount("/", routes=apps.routes(), max_body_size=1000)])

    def endless() -> Iterator[bytes]:  # in chunks, without a length that could be refused beforehand
        yield from [b"x" * 100] * 20

    headers = {"Content-Type": "application/json"}
    response = TestClient(gateway).post("/api/support/ask", content=endless(), headers=headers)
    assert (response.status_code, response.json()["error"]["code"]) == (413, "too_large")


def test_what_nobody_foresaw_is_an_error_answer_too(client: TestClient, apps: Applications) -> None:
    async def breaks(_query: str, _k: int) -> list[Hit]:
        raise RuntimeError("secret detail")

    apps.assistant.search = breaks
    response = ask(client, "Can I pay by card?")
    assert (response.status_code, response.json()["error"]["code"]) == (500, "failed")
    assert "secret" not in response.text


def test_requests_from_other_sites_and_forms_are_refused(client: TestClient) -> None:
    foreign = client.post("/api/support/ask", json={"question": "hi"}, headers={"Origin": "https://evil.example"})
    assert (foreign.status_code, foreign.json()["error"]["code"]) == (403, "foreign_origin")
    own = client.post("/api/support/ask", json={"question": "hi"}, headers={"Origin": "http://localhost:8000"})
    assert own.status_code == 200
    assert client.post("/api/support/ask", data={"question": "hi"}).status_code == 415


def test_a_conversation_belongs_to_its_visitor(client: TestClient, apps: Applications) -> None:
    first = ask(client, "可以货到付款吗？").json()
    path = f"/api/support/conversations/{first['conversation_id']}"
    assert len(client.get(path).json()["turns"]) == 1
    assert ask(client, "那支付宝呢", conversation_id=first["conversation_id"]).status_code == 200
    stranger = TestClient(application(apps), base_url="http://localhost:8000")
    assert stranger.get(path).status_code == 404
    assert ask(stranger, "hi", conversation_id=first["conversation_id"]).status_code == 404
    rating = {"turn_id": first["turn_id"], "rating": 1}
    assert stranger.post("/api/support/feedback", json=rating).status_code == 404
    stranger.post("/api/admin/login", json={"key": ADMIN_KEY})
    assert len(stranger.get(path).json()["turns"]) == 2


def test_feedback_is_stored_and_checked(client: TestClient) -> None:
    turn = ask(client, "可以货到付款吗？").json()["turn_id"]

    def rate(**body: Any) -> Any:
        return client.post("/api/support/feedback", json=body)

    assert rate(turn_id=turn, rating=-1, comment="no", correction="不可以。").json() == {"stored": True}
    assert rate(turn_id=turn, rating=3).status_code == 400
    assert rate(turn_id=turn, rating="up").status_code == 400
    assert rate(turn_id=turn, rating=True).status_code == 400
    assert rate(turn_id="nobody", rating=1).status_code == 404


def test_a_flood_of_questions_is_told_to_wait(tmp_path: Path, shop: Bookshop) -> None:
    apps = applications(tmp_path, shop, FakeModels(), by_visitor=TokenBuckets(burst=2, per_minute=6))
    client = TestClient(application(apps), base_url="http://localhost:8000")
    assert [ask(client, "hi").status_code for _ in range(3)] == [200, 200, 429]
    refused = ask(client, "hi")
    assert int(refused.headers["retry-after"]) >= 1
    assert "please try again in" in refused.json()["error"]["message"]
    client.cookies.clear()
    assert ask(client, "hi").status_code == 200  # another visitor


def test_a_visitor_without_cookies_is_limited_by_address(tmp_path: Path, shop: Bookshop) -> None:
    apps = applications(tmp_path, shop, FakeModels(), by_address=TokenBuckets(burst=2, per_minute=6))
    client = TestClient(application(apps), base_url="http://localhost:8000")
    statuses = []
    for _ in range(3):
        statuses.append(ask(client, "hi").status_code)
        client.cookies.clear()
    assert statuses == [200, 200, 429]


def test_a_search_that_fails_answers_503_also_when_streaming(client: TestClient, apps: Applications) -> None:
    async def broken(_query: str, _k: int) -> list[Hit]:
        raise DataError("the index is gone; make one with `tulou run`")

    apps.assistant.search = broken
    for stream in (False, True):
        response = ask(client, "hi", stream=stream)
        assert response.status_code == 503
        assert response.json()["error"]["message"] == "the index is gone; make one with `tulou run`"


@pytest.mark.parametrize("name", ADMIN)
def test_the_console_sees_nothing_signed_out_and_everything_signed_in(client: TestClient, name: str) -> None:
    refused = client.get(f"/api/admin/{name}")
    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "signed_out")
    client.post("/api/admin/login", json={"key": ADMIN_KEY})
    assert client.get(f"/api/admin/{name}").status_code == 200


@pytest.mark.parametrize("name", ADMIN)
def test_a_house_in_which_nothing_has_happened_can_be_shown(tmp_path: Path, shop: Bookshop, name: str) -> None:
    apps = applications(tmp_path, shop, FakeModels(), FakeOverview(is_new=True))
    client = TestClient(application(apps), base_url="http://localhost:8000")
    client.post("/api/admin/login", json={"key": ADMIN_KEY})
    assert client.get(f"/api/admin/{name}").status_code == 200


def test_figures_arrive_as_they_are(admin: TestClient) -> None:
    ask(admin, "可以货到付款吗？")
    ask(admin, "今天天气怎么样？")
    overview = admin.get("/api/admin/overview").json()
    assert overview["name"] == "qingchuan"
    assert overview["answers"]["by_kind"] == {"quoted": 1, "declined": 1}
    assert admin.get("/api/admin/cleaning").json()[1]["rules"][0]["rule"] == "gbk_as_latin1"
    assert [each["precision"] for each in admin.get("/api/admin/models").json()[0]["precisions"]] == ["fp32", "int8"]
    versions = admin.get("/api/admin/models").json()[0]["versions"]
    assert [(each["version"], each["is_served"], each["has_served"]) for each in versions] == [
        (3, True, True), (2, False, True), (1, False, False),
    ]  # fmt: skip
    turns = admin.get("/api/admin/conversations").json()
    assert [turn["question"] for turn in turns] == ["今天天气怎么样？", "可以货到付款吗？"]
    older = admin.get(f"/api/admin/conversations?before={turns[0]['at']}").json()
    assert [turn["question"] for turn in older] == ["可以货到付款吗？"]
    assert admin.get("/api/admin/conversations?before=yesterday").status_code == 400


def test_signing_in_takes_an_admin_key_and_few_tries(client: TestClient) -> None:
    def login(key: str) -> Any:
        return client.post("/api/admin/login", json={"key": key})

    assert (login("wrong").status_code, login("wrong").json()["error"]["code"]) == (401, "wrong_key")
    assert (login(APP_KEY).status_code, login(APP_KEY).json()["error"]["code"]) == (403, "wrong_role")
    assert login(ADMIN_KEY).json()["name"] == "first"
    assert client.get("/api/admin/me").json()["role"] == "admin"
    assert client.post("/api/admin/logout", json={}).status_code == 200
    assert client.get("/api/admin/me").status_code == 401
    assert [login("wrong").status_code for _ in range(6)][-1] == 429


def test_pages_for_staff_send_others_to_sign_in(client: TestClient) -> None:
    for path in ("/", "/content"):
        response = client.get(path, follow_redirects=False)
        assert response.status_code == 303
        assert response.headers["location"] == f"/login?next={path}"
    client.post("/api/admin/login", json={"key": ADMIN_KEY})
    for path in ("/", "/content"):
        assert client.get(path, follow_redirects=False).status_code == 200


@pytest.mark.parametrize("path", ["/chat", "/login", "/static/js/chat.js", "/static/css/base.css"])
def test_pages_load_nothing_from_elsewhere_and_run_no_inline_script(client: TestClient, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 200
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert response.headers["cache-control"] == "no-cache"
    assert client.get(path, headers={"If-None-Match": response.headers["etag"]}).status_code in (200, 304)


def test_static_files_stay_in_their_folder(client: TestClient) -> None:
    assert client.get("/static/../routes.py").status_code == 404
    assert client.get("/static/%2e%2e/%2e%2e/routes.py").status_code == 404


def test_the_pages_themselves_keep_to_the_policy() -> None:
    for page in STATIC.glob("*.html"):
        html = page.read_text(encoding="utf-8")
        assert not re.search(r"<script(?![^>]*\bsrc=)|\son\w+=|\sstyle=|https?://", html), page.name
    for script in STATIC.rglob("*.js"):
        code = script.read_text(encoding="utf-8")
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", code), script.name


def test_both_languages_have_the_same_words_and_every_key_exists() -> None:
    code = (STATIC / "js" / "words.js").read_text(encoding="utf-8")
    english, chinese = (
        set(re.findall(r'^  "?([\w.]+)"?: ', part, re.MULTILINE)) for part in code.split("export const ZH")
    )
    assert english == chinese
    used = set()
    for source in [*STATIC.rglob("*.js"), *STATIC.glob("*.html")]:
        text = source.read_text(encoding="utf-8")
        used |= set(re.findall(r"""\bt\("([\w.]+)\"""", text)) | set(re.findall(r'data-t(?:-\w+)?="([\w.]+)"', text))
    assert used <= english


def test_what_a_visitor_may_know_of_the_house(client: TestClient) -> None:
    about = client.get("/api/support/about").json()
    assert (about["name"], about["languages"]) == ("qingchuan", ["zh", "en"])
    assert about["suggestions"]["zh"][0] == "多久能送到？"


def test_content_is_written_for_staff_only(client: TestClient) -> None:
    body = {"template": "product-description", "values": {"name": "Inkpage reader R6"}, "language": "en"}
    assert client.get("/api/content/templates").status_code == 401
    assert client.post("/api/content/write", json=body).status_code == 401
    client.post("/api/admin/login", json={"key": ADMIN_KEY})
    templates = client.get("/api/content/templates").json()
    assert {"name", "language", "title", "description", "subject", "fields"} == templates[0].keys()
    assert client.post("/api/content/write", json=body).json()["kind"] == "filled"
    streamed = events(client.post("/api/content/write", json={**body, "stream": True}).text)
    assert (streamed[0][0], streamed[1][0], streamed[-1][0]) == ("writing", "delta", "written")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"template": "poem", "values": {}}, "there is no template 'poem'"),
        ({"template": "product-description", "values": {"colour": "red"}}, "has no field 'colour'"),
        ({"template": "product-description", "values": {}, "language": "en"}, "needs field 'name'"),
        ({"template": "product-description", "values": []}, "'values' must be an object"),
        ({"template": "product-description", "values": {"name": 3}}, "'name' must be a string"),
        ({"template": "product-description", "values": {"name": "a\0b"}}, "'name' holds '\\x00'"),
        ({"template": "product-description", "values": {}, "language": "fr"}, "'language' 'fr' is neither"),
    ],
)
def test_a_bad_order_for_a_text_is_one_clear_sentence(admin: TestClient, body: dict[str, Any], message: str) -> None:
    for stream in (False, True):
        response = admin.post("/api/content/write", json={**body, "stream": stream})
        assert response.status_code == 400
        assert message in response.json()["error"]["message"]


def test_a_viewer_looks_and_neither_writes_nor_rates_for_others(client: TestClient, apps: Applications) -> None:
    def viewer(path: str, body: dict[str, Any]) -> tuple[int, str]:
        response = looking.post(path, json=body)
        return response.status_code, response.json().get("error", {}).get("code", "")

    theirs = ask(client, "可以货到付款吗？").json()["turn_id"]
    looking = TestClient(application(apps), base_url="http://localhost:8000")
    assert looking.post("/api/admin/login", json={"key": VIEWER_KEY}).status_code == 200
    assert looking.get("/api/admin/conversations").status_code == 200
    assert looking.get("/api/content/templates").status_code == 200
    order = {"template": "product-description", "values": {"name": "Inkpage reader R6"}, "language": "en"}
    assert viewer("/api/content/write", order) == (403, "wrong_role")
    assert viewer("/api/support/feedback", {"turn_id": theirs, "rating": 1}) == (403, "wrong_role")
    own = ask(looking, "可以货到付款吗？").json()["turn_id"]
    assert viewer("/api/support/feedback", {"turn_id": own, "rating": 1}) == (200, "")
    looking.post("/api/admin/login", json={"key": ADMIN_KEY})
    assert viewer("/api/support/feedback", {"turn_id": theirs, "rating": 1}) == (200, "")


def test_a_model_card_is_a_page_that_runs_nothing(client: TestClient) -> None:
    assert client.get("/api/admin/models/intents/card").status_code == 401
    client.post("/api/admin/login", json={"key": ADMIN_KEY})
    card = client.get("/api/admin/models/intents/card")
    assert card.text.startswith("<!doctype html>")
    assert "script-src" not in card.headers["Content-Security-Policy"]
    assert "default-src 'none'" in card.headers["Content-Security-Policy"]
    missing = client.get("/api/admin/models/nobody/card")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "not_found")


def test_only_admins_may_ask_why(client: TestClient) -> None:
    body = {"text": "我想退货"}
    assert client.post("/api/admin/explain", json=body).status_code == 401
    client.post("/api/admin/login", json={"key": VIEWER_KEY})
    assert client.post("/api/admin/explain", json=body).status_code == 403
    client.post("/api/admin/login", json={"key": ADMIN_KEY})
    assert client.post("/api/admin/explain", json=body).json()["model"] == "intents"
    refused = client.post("/api/admin/explain", json={**body, "model": "nobody"})
    assert (refused.status_code, refused.json()["error"]["message"]) == (503, "there is no model 'nobody'")


def test_usage_is_told_as_rows_and_as_csv(admin: TestClient, apps: Applications) -> None:
    row = {"day": "2026-11-28", "key_id": "", "model": "assistant", "requests": 4, "failures": 0, "cached": 1}
    with apps.state.begin() as db:
        sums = {"prompt_tokens": 40, "completion_tokens": 20, "money": 0.5, "latency_ms": 100.0}
        db.execute(usage_by_day.insert(), row | sums)
    told = admin.get("/api/admin/usage?since=2026-11-01&until=2026-11-30").json()
    assert (told["since"], told["until"], told["currency"]) == ("2026-11-01", "2026-11-30", "CNY")
    assert [(each["requests"], each["mean_latency_ms"]) for each in told["usage"]] == [(4, 25.0)]
    table = admin.get("/api/admin/usage.csv?since=2026-11-01&until=2026-11-30")
    assert table.headers["content-type"].startswith("text/csv")
    assert 'filename="usage-2026-11-01-2026-11-30.csv"' in table.headers["content-disposition"]
    assert table.text.splitlines()[1] == "2026-11-28,,,assistant,4,0,1,40,20,0.5,25.0"
    wrong = admin.get("/api/admin/usage?since=soon")
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (400, "bad_value")
