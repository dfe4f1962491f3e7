"""Keys and what they used: `tulou keys ...`, `tulou usage`."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tulou.cli.app import HERE, JsonOption, ProjectOption, app
from tulou.cli.output import emit, plain, stdout, table
from tulou.core.errors import ServiceError

if TYPE_CHECKING:
    from tulou.bootstrap.project import Project
    from tulou.service.gateway.keys import Key

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

keys = typer.Typer(help="API keys: create, list, rotate, revoke, limit.", no_args_is_help=True)
app.add_typer(keys, name="keys")

BudgetsArgument = Annotated[
    list[str] | None,
    typer.Argument(help="requests|tokens|money/minute|day|month=AMOUNT, as many as you like; =none for no limit."),
]
BudgetOption = Annotated[
    list[str] | None, typer.Option("--limit", help="As requests/minute=60; may be given several times.")
]
ModelOption = Annotated[list[str] | None, typer.Option("--model", help="A model it may use; several times for more.")]
ExpiresOption = Annotated[str | None, typer.Option("--expires", help="30d, 12h, 2027-01-31 (UTC) or never.")]
PriorityOption = Annotated[int | None, typer.Option(help="The higher, the later it is shed when too much is asked.")]


@keys.command("list")
def list_keys(project: ProjectOption = HERE, as_json: JsonOption = False) -> None:
    """Show all keys; never the secrets, which are not stored."""
    from tulou.bootstrap.project import Project
    from tulou.service.gateway.keys import Keys

    found = Keys(Project.open(project).state).list()
    if as_json:
        emit({"keys": [_facts(key) for key in found]})
        return
    rows = table("id", "name", "role", "state", "models", "limits", "expires", ">priority")
    rows.columns[0].no_wrap = True  # to be copied
    for key in found:
        limits = "\n".join(f"{each.name}={each.amount:.10g}" for each in key.budgets)
        models = "all" if key.models is None else "\n".join(sorted(key.models))
        shown = (key.id, key.name, key.role, key.state(time.time()), models, limits, _day(key.expires_at), key.priority)
        rows.add_row(*(plain(each) for each in shown))
    stdout.print(rows)


@keys.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="Whose key it is.")],
    role: Annotated[str, typer.Option(help="admin (everything), app (use models) or viewer (look).")] = "app",
    limits: BudgetOption = None,
    models: ModelOption = None,
    expires: ExpiresOption = None,
    priority: PriorityOption = None,
    project: ProjectOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Make a key and show it, this once."""
    from tulou.bootstrap.project import Project
    from tulou.service.gateway.keys import Keys
    from tulou.service.gateway.limits import parse_budgets

    opened = Project.open(project)
    key, secret = Keys(opened.state).create(
        name,
        role,  # type: ignore[arg-type]  # checked by create()
        models=_known_models(opened, models),
        expires_at=_expiry(expires),
        priority=priority or 0,
        budgets={each: amount for each, amount in parse_budgets(limits or []).items() if amount is not None},
    )
    _show_secret(key, secret, as_json)


@keys.command("rotate")
def rotate_key(
    key_id: Annotated[str, typer.Argument(help="Id from `tulou keys list`, or its beginning.")],
    grace: Annotated[str, typer.Option(help="How long the old secret works on: 24h, 7d, 0s.")] = "24h",
    project: ProjectOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Give a key a new secret and show it, this once; the old one works on for a while."""
    from tulou.bootstrap.project import Project
    from tulou.service.gateway.keys import Keys

    grace_s, stored = _seconds(grace), Keys(Project.open(project).state)
    key, secret = stored.rotate(stored.resolve(key_id), grace_s)
    _show_secret(key, secret, as_json)


@keys.command("revoke")
def revoke_key(
    key_id: Annotated[str, typer.Argument(help="Id from `tulou keys list`, or its beginning.")],
    project: ProjectOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Refuse a key from now on, for good; a running service follows within seconds."""
    from tulou.bootstrap.project import Project
    from tulou.service.gateway.keys import Keys

    stored = Keys(Project.open(project).state)
    key_id = stored.resolve(key_id)
    stored.revoke(key_id)
    if as_json:
        emit({"revoked": key_id})
    else:
        stdout.print(f"revoked {key_id}")


@keys.command("limit")
def limit_key(
    key_id: Annotated[str, typer.Argument(help="Id from `tulou keys list`, or its beginning.")],
    limits: BudgetsArgument = None,
    models: ModelOption = None,
    all_models: Annotated[bool, typer.Option("--all-models", help="It may use every model.")] = False,
    expires: ExpiresOption = None,
    priority: PriorityOption = None,
    is_enabled: Annotated[bool | None, typer.Option("--enable/--disable", help="Refuse it for a while.")] = None,
    project: ProjectOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Change what a key may do; what is not named stays. A running service follows within seconds."""
    from tulou.bootstrap.project import Project
    from tulou.service.gateway.keys import Keys
    from tulou.service.gateway.limits import parse_budgets

    opened = Project.open(project)
    changes: dict[str, Any] = {}
    if models or all_models:
        changes["models"] = None if all_models else _known_models(opened, models)
    if expires is not None:
        changes["expires_at"] = _expiry(expires)
    if priority is not None:
        changes["priority"] = priority
    if is_enabled is not None:
        changes["disabled_at"] = None if is_enabled else time.time()
    stored = Keys(opened.state)
    key = stored.change(stored.resolve(key_id), parse_budgets(limits or []), **changes)
    if as_json:
        emit(_facts(key))
    else:
        limits_shown = ", ".join(f"{each.name}={each.amount:.10g}" for each in key.budgets) or "no limits"
        stdout.print(f"{key.id} is {key.state(time.time())}: {limits_shown}", markup=False)


@app.command("usage")
def show_usage(
    since: Annotated[str | None, typer.Option(help="First day, UTC; by default 30 days ago.")] = None,
    until: Annotated[str | None, typer.Option(help="Last day, UTC; by default today.")] = None,
    key_id: Annotated[str | None, typer.Option("--key", help="Of this key alone.")] = None,
    as_table: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    project: ProjectOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """What each key used of each model, day by day: requests, tokens, money."""
    from dataclasses import asdict

    from tulou.apps.usage import as_csv, days, usage
    from tulou.bootstrap.project import Project

    opened = Project.open(project)
    over = days(since, until, time.time())
    found = usage(opened.state, over, key_id)
    currency = opened.settings.budget.currency
    if as_table:
        typer.echo(as_csv(found), nl=False)
    elif as_json:
        emit({**asdict(over), "currency": currency, "usage": [asdict(each) for each in found]})
    else:
        rows = table(
            "day", "key", "model", ">requests", ">failed", ">cached", ">read", ">written", f">{currency}", ">ms"
        )
        rows.columns[0].no_wrap, rows.columns[0].min_width = True, len("2026-01-01")
        for each in found:
            who = each.key_name or each.key_id or "applications"
            counts = (each.requests, each.failures, each.cached, each.prompt_tokens, each.completion_tokens)
            numbers = [*(f"{count:,}" for count in counts), f"{each.money:.4f}", f"{each.mean_latency_ms:.1f}"]
            rows.add_row(each.day, plain(who), plain(each.model), *numbers)
        stdout.print(rows)


def _facts(key: Key) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "role": key.role,
        "state": key.state(time.time()),
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "disabled_at": key.disabled_at,
        "revoked_at": key.revoked_at,
        "old_until": key.old_until,
        "models": None if key.models is None else sorted(key.models),
        "priority": key.priority,
        "limits": {each.name: each.amount for each in key.budgets},
    }


def _show_secret(key: Key, secret: str, as_json: bool) -> None:
    if as_json:
        emit({**_facts(key), "key": secret})
    else:
        stdout.print(f"{secret}\n[yellow]shown only now[/yellow]; its id is {key.id}", soft_wrap=True)
        if key.old_until is not None:
            stdout.print(f"the old one works until {_time(key.old_until)}")


def _known_models(project: Project, names: list[str] | None) -> list[str] | None:
    """Raises `ServiceError` for a model that the project does not have."""
    known = project.settings.models | project.settings.service.remote
    for name in names or []:
        if name not in known:
            have = ", ".join(known)
            raise ServiceError(f"there is no model {name!r} in this project; choose from {have}")
    return names or None


def _expiry(text: str | None) -> float | None:
    if text in (None, "never"):
        return None
    if text[-1] in SECONDS and text[:-1].isdigit():
        return time.time() + _seconds(text)
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except ValueError:
        raise ServiceError(f"{text!r} is no time to expire; write 30d, 12h, 2027-01-31 or never") from None


def _seconds(text: str) -> float:
    if text[-1:] not in SECONDS or not text[:-1].isdigit():
        raise ServiceError(f"{text!r} is no length of time; write it as 90s, 30m, 24h or 7d")
    return float(text[:-1]) * SECONDS[text[-1]]


def _day(at: float | None) -> str:
    return "never" if at is None else f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d}"


def _time(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC"
