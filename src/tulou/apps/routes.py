"""Every address of the applications, in one list: customer service, content, console, signing in, pages.

`/chat` and its API are open to anyone, by visitor and at a gentle rate; the rest asks for a key, once, and remembers it
in a cookie. The gateway mounts what `Applications.routes` returns beside its own endpoints.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy.engine import Engine
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from tulou.apps import history, http
from tulou.apps.content.templates import MAX_VALUE_CHARS, Template
from tulou.apps.content.writer import Writer, Written
from tulou.apps.feedback import give_feedback
from tulou.apps.http import Refused, answers_errors, read_object, reply, text_of
from tulou.apps.limits import TokenBuckets
from tulou.apps.overview import Overview
from tulou.apps.ports import Account
from tulou.apps.sessions import Sessions
from tulou.apps.support.assistant import Assistant
from tulou.apps.usage import Days, Usage, as_csv, days, usage
from tulou.core.errors import DataError
from tulou.core.telemetry import Metrics

STATIC = Path(__file__).parent / "console" / "static"
MAX_QUESTION_CHARS = 1000
RECENT_TURNS = 50
ANSWERS_WINDOW_S = 24 * 3600


@dataclass(frozen=True)
class Applications:
    """All that the addresses lead to."""

    assistant: Assistant
    writer: Writer
    overview: Overview
    sessions: Sessions
    state: Engine
    metrics: Metrics
    by_visitor: TokenBuckets = field(default_factory=lambda: TokenBuckets(burst=12, per_minute=30))
    by_address: TokenBuckets = field(default_factory=lambda: TokenBuckets(burst=120, per_minute=300))
    sign_ins: TokenBuckets = field(default_factory=lambda: TokenBuckets(burst=8, per_minute=8))
    _explaining: asyncio.Lock = field(default_factory=asyncio.Lock)  # one at a time: each takes a processor for seconds

    def routes(self) -> list[BaseRoute]:
        api = [
            ("POST", "/api/support/ask", self.ask),
            ("GET", "/api/support/about", self.about),
            ("GET", "/api/support/conversations/{id}", self.conversation),
            ("POST", "/api/support/feedback", self.feedback),
            ("GET", "/api/content/templates", self.templates),
            ("POST", "/api/content/write", self.write),
            ("POST", "/api/admin/login", self.login),
            ("POST", "/api/admin/logout", self.logout),
            ("GET", "/api/admin/me", self.me),
            ("GET", "/api/admin/overview", self.project),
            ("GET", "/api/admin/runs", self.window(lambda: self.overview.runs())),
            ("GET", "/api/admin/trainings", self.window(lambda: self.overview.trainings())),
            ("GET", "/api/admin/cleaning", self.window(lambda: self.overview.cleaning())),
            ("GET", "/api/admin/models", self.window(lambda: self.overview.models())),
            ("GET", "/api/admin/models/{name}/card", self.card_page),
            ("POST", "/api/admin/explain", self.explain),
            ("GET", "/api/admin/replicas", self.window(lambda: self.overview.replicas())),
            ("GET", "/api/admin/scalings", self.window(lambda: self.overview.scalings())),
            ("GET", "/api/admin/live", self.window(lambda: self.overview.live())),
            ("GET", "/api/admin/conversations", self.conversations),
            ("GET", "/api/admin/usage", self.usage),
            ("GET", "/api/admin/usage.csv", self.usage_csv),
        ]
        return [
            *(Route(path, answers_errors(endpoint), methods=[method]) for method, path, endpoint in api),
            Route("/", self.page("console.html"), methods=["GET"]),
            Route("/content", self.page("content.html"), methods=["GET"]),
            Route("/chat", open_page("chat.html"), methods=["GET"]),
            Route("/login", open_page("login.html"), methods=["GET"]),
            Route("/favicon.ico", open_page("tulou.svg"), methods=["GET"]),
            Mount("/static", PageFiles(directory=STATIC)),
        ]

    # --- Customer service ---

    async def about(self, _request: Request) -> Response:
        """What a visitor may know of the house: its name, and questions to begin with."""
        project = await asyncio.to_thread(self.overview.project)
        suggestions = {"zh": self.assistant.settings.suggestions_zh, "en": self.assistant.settings.suggestions_en}
        return reply({"name": project.name, "languages": project.languages, "suggestions": suggestions})

    async def ask(self, request: Request) -> Response:
        body = await read_object(request)
        question = text_of(body, "question", MAX_QUESTION_CHARS)
        conversation_id = text_of(body, "conversation_id", 64, default="") or None
        visitor, is_new = self.sessions.visitor(request)
        self._throttle(self.by_address, _address(request))
        self._throttle(self.by_visitor, visitor)
        if conversation_id is not None:
            await self._require_own(request, conversation_id, visitor)
        if http.wants_stream(request, body):
            response = await http.stream(self.assistant.answer(question, conversation_id, visitor))
        else:
            response = reply(await self.assistant.ask(question, conversation_id, visitor))
        if is_new:
            self.sessions.remember_visitor(response, visitor, request)
        return response

    async def conversation(self, request: Request) -> Response:
        visitor, _ = self.sessions.visitor(request)
        conversation_id = request.path_params["id"]
        await self._require_own(request, conversation_id, visitor)
        turns = await asyncio.to_thread(history.conversation, self.state, conversation_id)
        return reply({"conversation_id": conversation_id, "turns": turns})

    async def feedback(self, request: Request) -> Response:
        body = await read_object(request)
        visitor, _ = self.sessions.visitor(request)
        self._throttle(self.by_visitor, visitor)
        rating = body.get("rating")
        if not isinstance(rating, int) or isinstance(rating, bool):
            raise Refused(400, "bad_value", "'rating' must be 1 (helpful) or -1 (not helpful)")
        account = await self.sessions.account(request)
        may_rate_any = account is not None and account.role == "admin"
        try:
            await asyncio.to_thread(
                give_feedback,
                self.state,
                self.metrics,
                text_of(body, "turn_id", 64),
                rating,
                at=self.assistant.clock(),
                comment=text_of(body, "comment", 4000, default=""),
                correction=text_of(body, "correction", 4000, default=""),
                visitor=None if may_rate_any else visitor,
            )
        except DataError as err:
            if account is not None and not may_rate_any and rating in (1, -1):
                raise _wrong_role(account, "rate the answers of others") from err
            raise Refused(404 if rating in (1, -1) else 400, "bad_value", str(err)) from err
        return reply({"stored": True})

    async def _require_own(self, request: Request, conversation_id: str, visitor: str) -> None:
        """A conversation belongs to its visitor; whoever is signed in may read and continue any."""
        owner = await asyncio.to_thread(history.owner_of, self.state, conversation_id)
        if owner is None or (owner.visitor != visitor and await self.sessions.account(request) is None):
            raise Refused(404, "not_found", f"there is no conversation {conversation_id!r}")

    # --- Content ---

    async def templates(self, request: Request) -> Response:
        await self._require_account(request)
        return reply([_card(template) for template in self.writer.templates()])

    async def write(self, request: Request) -> Response:
        account = await self._require_account(request)
        if account.role != "admin":
            raise _wrong_role(account, "write")
        body = await read_object(request)
        values = body.get("values", {})
        if not isinstance(values, dict):
            raise Refused(400, "bad_value", "'values' must be an object of field names and texts")
        values = {name: text_of(values, name, MAX_VALUE_CHARS, default="") for name in values}
        language = body.get("language")
        if language not in (None, "zh", "en"):
            raise Refused(400, "bad_value", f"'language' {language!r} is neither 'zh' nor 'en'")
        events = self.writer.write(text_of(body, "template", 100), values, language)
        try:
            if http.wants_stream(request, body):
                return await http.stream(events)
            return reply([event async for event in events if isinstance(event, Written)][-1])
        except DataError as err:
            raise Refused(400, "bad_value", str(err)) from err

    # --- Console ---

    async def project(self, request: Request) -> Response:
        await self._require_account(request)
        since = self.assistant.clock() - ANSWERS_WINDOW_S
        answers = await asyncio.to_thread(history.count_answers, self.state, since)
        project = await asyncio.to_thread(self.overview.project)
        return reply({**asdict(project), "answers": asdict(answers), "answers_window_s": ANSWERS_WINDOW_S})

    async def conversations(self, request: Request) -> Response:
        await self._require_account(request)
        before = request.query_params.get("before", "")
        try:
            at = float(before) if before else None
        except ValueError:
            raise Refused(400, "bad_value", f"'before' {before!r} is not a time in seconds") from None
        return reply(await asyncio.to_thread(history.recent_turns, self.state, RECENT_TURNS, at))

    async def usage(self, request: Request) -> Response:
        over, rows = await self._usage(request)
        project = await asyncio.to_thread(self.overview.project)
        return reply({**asdict(over), "currency": project.currency, "usage": rows})

    async def usage_csv(self, request: Request) -> Response:
        over, rows = await self._usage(request)
        name = f'attachment; filename="usage-{over.since}-{over.until}.csv"'
        return Response(as_csv(rows), headers={**http.NO_STORE, "Content-Disposition": name}, media_type="text/csv")

    async def _usage(self, request: Request) -> tuple[Days, list[Usage]]:
        await self._require_account(request)
        asked = request.query_params
        try:
            over = days(asked.get("since"), asked.get("until"), self.assistant.clock())
        except DataError as err:
            raise Refused(400, "bad_value", str(err)) from err
        return over, await asyncio.to_thread(usage, self.state, over, asked.get("key"))

    async def card_page(self, request: Request) -> Response:
        await self._require_account(request)
        name = request.path_params["name"]
        page = await asyncio.to_thread(self.overview.card_page, name)
        if page is None:
            raise Refused(404, "not_found", f"there is no card of a model {name!r}; `tulou run` writes it")
        return Response(page, headers=http.CARD_HEADERS, media_type="text/html")

    async def explain(self, request: Request) -> Response:
        account = await self._require_account(request)
        if account.role != "admin":
            raise _wrong_role(account, "explain")
        body = await read_object(request)
        text, model = text_of(body, "text", MAX_QUESTION_CHARS), text_of(body, "model", 100, default="")
        async with self._explaining:
            return reply(await asyncio.to_thread(self.overview.explain, text, model))

    def window(self, look: Callable[[], Any]) -> http.Endpoint:
        async def endpoint(request: Request) -> Response:
            await self._require_account(request)
            return reply(await asyncio.to_thread(look))

        return endpoint

    # --- Signing in ---

    async def login(self, request: Request) -> Response:
        body = await read_object(request)
        self._throttle(self.sign_ins, _address(request))
        account = await self.sessions.sign_in(text_of(body, "key", 200))
        if account is None:
            raise Refused(
                401, "wrong_key", "this key is wrong or has been revoked; the first one is in .tulou/admin.key"
            )
        if account.role not in ("admin", "viewer"):
            raise Refused(403, "wrong_role", f"the key {account.name!r} is for applications; sign in with an admin key")
        response = reply(account)
        self.sessions.start(response, account, request)
        return response

    async def logout(self, request: Request) -> Response:
        await read_object(request)
        response = reply({"signed_in": False})
        self.sessions.end(response)
        return response

    async def me(self, request: Request) -> Response:
        return reply(await self._require_account(request))

    def page(self, name: str) -> http.Endpoint:
        """A page for people who are signed in; others are sent to sign in and come back."""

        async def endpoint(request: Request) -> Response:
            if await self.sessions.account(request) is None:
                return RedirectResponse(f"/login?next={request.url.path}", 303, http.SECURITY_HEADERS)
            return _file(name)

        return endpoint

    async def _require_account(self, request: Request) -> Account:
        account = await self.sessions.account(request)
        if account is None:
            raise Refused(401, "signed_out", "sign in at /login with an admin key first")
        return account

    def _throttle(self, buckets: TokenBuckets, key: str) -> None:
        wait_s = buckets.wait_s(key)
        if wait_s > 0:
            seconds = max(1, round(wait_s))
            message = f"too many requests; please try again in {seconds} s"
            raise Refused(429, "rate_limited", message, {"Retry-After": str(seconds)})


class PageFiles(StaticFiles):
    """The pages' files, checked for freshness on every load (an unchanged one costs a 304)."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                extra = {**http.SECURITY_HEADERS, "Cache-Control": "no-cache"}
                message["headers"] = [
                    *message["headers"],
                    *((k.lower().encode(), v.encode()) for k, v in extra.items()),
                ]
            await send(message)

        await super().__call__(scope, receive, send_with_headers)


def open_page(name: str) -> http.Endpoint:
    async def endpoint(_request: Request) -> Response:
        return _file(name)

    return endpoint


def _file(name: str) -> Response:
    return FileResponse(STATIC / name, headers={**http.SECURITY_HEADERS, "Cache-Control": "no-cache"})


def _wrong_role(account: Account, wish: str) -> Refused:
    return Refused(
        403, "wrong_role", f"the key {account.name!r} is for looking only; sign in with an admin key to {wish}"
    )


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def _card(template: Template) -> dict[str, Any]:
    shown = ("name", "language", "title", "description", "subject")
    return {**{key: getattr(template, key) for key in shown}, "fields": [asdict(each) for each in template.fields]}
