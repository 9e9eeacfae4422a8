"""What a till makes of each answer of the real-time service, and of none."""

import json
import socket
from contextlib import closing
from typing import Any

import pytest

from stores.till import service as service_module
from stores.till.refusals import InvalidValues
from stores.till.service import (
    Answer,
    CustomerRefused,
    HttpService,
    ServiceUnreachable,
    TokenRefused,
)
from tests.support.web_server import serving

ERROR = {"code": "x", "message": "Because.", "fields": {}}
ANSWERS: dict[str, tuple[str, Any, Any]] = {
    "created": ("201 Created", {"account_number": "005001"}, Answer("005001")),
    "pending": (
        "202 Accepted",
        {"account_number": None, "message": "Soon."},
        Answer(None, "Soon."),
    ),
    "busy": ("503 Unavailable", ERROR, ServiceUnreachable),
    "too many calls": ("429 Too Many", ERROR, ServiceUnreachable),
    "a fault": ("500 Oops", "<html>", ServiceUnreachable),
    "a proxy": ("502 Bad Gateway", "<html>", ServiceUnreachable),
    "another site": ("200 OK", "<html>", ServiceUnreachable),
    "another site's 404": ("404 Not Found", "<html>", ServiceUnreachable),
    "a redirection": ("302 Found", "", ServiceUnreachable),
    "a wrong token": ("401 Unauthorized", ERROR, TokenRefused),
    "a channel that is off": ("403 Forbidden", ERROR, TokenRefused),
    "a refusal": ("422 Unprocessable", ERROR, CustomerRefused),
    "a conflict": ("409 Conflict", ERROR, CustomerRefused),
    "wrong fields": ("400 Bad", ERROR | {"fields": {"email": "Not one."}}, InvalidValues),
}


def test_every_answer_is_told_from_the_others(subtests):
    def answer(environ, start_response):
        status, body, _ = ANSWERS[environ["HTTP_AUTHORIZATION"].removeprefix("Bearer ")]
        start_response(status, [("Location", "http://127.0.0.1:9/")])
        return [body.encode() if isinstance(body, str) else json.dumps(body).encode()]

    with serving(answer) as address:
        for name, (_, _, expected) in ANSWERS.items():
            with subtests.test(name):
                service = HttpService(address + "/", name)
                if isinstance(expected, Answer):
                    assert service.create({}) == expected
                else:
                    with pytest.raises(expected):
                        service.create({})


def test_a_service_that_does_not_answer_in_time_is_unreachable(monkeypatch):
    monkeypatch.setattr(service_module, "TIMEOUT_S", 0.1)
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"

        with pytest.raises(ServiceUnreachable, match="did not answer in time"):
            HttpService(address, "x").create({})


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:9", "https://nowhere.invalid", "http://a..b", "http://a b/"]
)
def test_a_service_that_is_not_there_is_unreachable(address):
    with pytest.raises(ServiceUnreachable, match="could not be reached"):
        HttpService(address, "x").create({})
