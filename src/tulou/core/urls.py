"""URLs of back ends: secrets come in from the environment, and never go out into a message, a log or a manifest.

A setting says `postgresql://app:${PG_PASSWORD}@db/shop`. `expand` makes the URL to connect with, `without_secrets` the
one to show, `url_digest` what a fingerprint depends on. The price: a URL is carried in two forms wherever it is used.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Collection, Mapping
from urllib.parse import quote, unquote, unquote_plus

from tulou.core.errors import SettingsError

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_QUERY = re.compile(r"\?[^?@/]*=")  # a '?' alone may belong to a password that nobody escaped
_PARAMETER = re.compile(r"(?<=[?&#])([^=&?#]+)=([^&#]*)")
_PORT = re.compile(r"\d*$")
_SECRET_NAME = re.compile(
    r"pass(word|wd|phrase)?$|pwd|token|secret|credential|signature|(api|access|account|private|session)[_-]?key"
    r"|^(sig|key|auth)$",
    re.IGNORECASE,
)


def expand(url: str, environment: Mapping[str, str] | None = None) -> str:
    """`url` with each `${NAME}` replaced from the environment.

    Where a value becomes a user, a password or a parameter it is escaped, so that any password stays one. Raises
    `SettingsError` that names a variable which is not set.
    """
    values = os.environ if environment is None else environment
    user_end, parameters = _user_end(url), query_start(url)

    def value(match: re.Match[str]) -> str:
        name = match[1]
        if name not in values:
            raise SettingsError(f"{without_secrets(url)!r} needs the environment variable {name}, which is not set")
        is_escaped = match.start() < user_end or match.start() > parameters
        return quote(values[name], safe="") if is_escaped else values[name]

    return _VARIABLE.sub(value, url)


def without_secrets(url: str) -> str:
    """`url` without user, password and the values of parameters that are named like secrets: fit to be shown."""
    scheme = _SCHEME.match(url)
    start = scheme.end() if scheme else 0
    shown = url[:start] + url[max(start, _user_end(url)) :]
    return _PARAMETER.sub(_shown_parameter, shown)


def split_options(url: str, names: Collection[str]) -> tuple[str, dict[str, str]]:
    """`url` without the parameters called `names`, which are ours and not the server's, and those, decoded."""
    start = query_start(url)
    options: dict[str, str] = {}
    others: list[str] = []
    for part in url[start + 1 :].split("&"):
        name, _, value = part.partition("=")
        if name in names:
            options[name] = _decoded(value)
        elif part:
            others.append(part)
    return url[:start] + ("?" + "&".join(others) if others else ""), options


def url_digest(url: str) -> str:
    """sha256 of the URL, secrets and all: tells two apart without saying either."""
    return hashlib.sha256(url.encode()).hexdigest()


def query_start(url: str) -> int:
    """Where the '?' of the parameters stands; the length of `url` where there are none."""
    question = _QUERY.search(url)
    return question.start() if question else len(url)


def _decoded(value: str) -> str:
    """A parameter's value, whether spaces came as they are, as %20 or, as forms write them, as '+'."""
    text = unquote(value)
    return unquote_plus(value) if "+" in value and " " not in text else text


def _user_end(url: str) -> int:
    """Where the host begins; 0 where there is no user in front of it.

    An '@' behind the first '/' belongs to the path, unless what stands before it can only be a password with a '/' in
    it that nobody escaped: better too little is shown than that.
    """
    scheme = _SCHEME.match(url)
    if scheme is None:
        return 0
    head = url[scheme.end() : query_start(url)]
    host = head.partition("/")[0]
    user, at, _ = host.rpartition("@")
    is_web = scheme[0].lower() in ("http://", "https://")
    if at and (is_web or ":" not in user):
        return scheme.end() + len(user) + 1
    _, colon, port = host.partition(":")
    if at or (colon and not _PORT.match(port)):
        return scheme.end() + head.rfind("@") + 1 if "@" in head else 0
    return 0


def _shown_parameter(match: re.Match[str]) -> str:
    return f"{match[1]}=…" if _SECRET_NAME.search(match[1]) else match[0]
