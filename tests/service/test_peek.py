from __future__ import annotations

import pytest

from tulou.service.gateway.peek import asking_for_usage, going_on_behind, peek
from tulou.service.gateway.refusals import ApiError

DEEP = b'{"model":"m","stream":true,"stream_options":{},"x":' + b"[" * 50_000 + b"]" * 50_000 + b"}"


def test_what_is_nested_too_deeply_is_no_json_wherever_it_is_read() -> None:
    with pytest.raises(ApiError, match="could not parse the JSON body"):
        going_on_behind(DEEP, "words")
    with pytest.raises(ApiError, match="could not parse the JSON body"):
        asking_for_usage(DEEP, peek(b'{"model":"m","stream_options":{}}'))


def test_a_value_that_cannot_be_shown_is_refused_all_the_same() -> None:
    with pytest.raises(ApiError) as caught:
        peek(b'{"model":1,"x":' + b"[" * 50_000 + b"]" * 50_000 + b"}")
    assert caught.value.status == 400
