"""The one error a writer may raise: this machine lacks what the format needs."""

from tulou.core.errors import TulouError


class UnavailableError(TulouError):
    """A font or program is missing; the message names it and how to get it."""
