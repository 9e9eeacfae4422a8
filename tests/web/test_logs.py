"""What the log says of requests that are refused, and of those that fail.

From conftest.py: `reader` is a client of a user who may see every page.
"""

import logging

import pytest
from django.test import Client


def log_of(caplog: pytest.LogCaptureFixture) -> str:
    """What the log says of the only request."""
    [record] = [record for record in caplog.records if record.name == "django.request"]
    [handler] = [each for each in logging.getLogger().handlers if each.get_name() == "stderr"]
    assert handler.filter(record)
    return handler.format(record)


def test_a_request_without_the_permission_is_one_line(reader, caplog):
    assert reader.post("/runs/start/", {"job": "pipeline"}).status_code == 403

    log = log_of(caplog)
    assert "Forbidden (Permission denied): /runs/start/" in log
    assert log.count("\n") == 0


def test_a_page_that_fails_keeps_its_traceback(reader: Client, caplog, monkeypatch):
    def fail(*args: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("stores.web.views.promises.last_comparisons", fail)
    reader.raise_request_exception = False

    assert reader.get("/promises/").status_code == 500

    assert "ZeroDivisionError" in log_of(caplog)
