"""Read the body of a call strictly: whatever could be understood in two ways is refused."""

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from typing import Any, NoReturn
from uuid import UUID

from django.http import HttpRequest, UnreadablePostError

from stores.pipeline.events.kinds import CUSTOMER
from stores.rts.errors import ServiceError

MAX_BYTES = 64 * 1024
# Of fields that nobody knows, so many are named, and so much of each name.
MAX_NAMED, MAX_NAME_LENGTH = 20, 60
GUID_PATTERN = r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"
TIME_PATTERN = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)$"
DAY_PATTERN = r"^\d{4}-\d\d-\d\d$"
# The columns of a customer's event that the till states: those of every event, and the customer's.
REQUIRED = ("event_id", "async_account", "occurred_at")
EVENT_FIELDS = (*REQUIRED, "staff_id", "terminal_id")
FIELDS = (*EVENT_FIELDS, *CUSTOMER.columns)
# A number of JSON. No field takes one, so it need not be computed.
A_NUMBER = object()


class NotStrict(ValueError):
    """JSON that programs read differently. The message says why."""


def read_customer(request: HttpRequest) -> dict[str, Any]:
    """Return the columns of the customer's event in the body. Raise ServiceError."""
    document = parse_json(read_body(request))
    if not isinstance(document, dict):
        raise ServiceError(400, "invalid_json", "The body must be a JSON object.")
    return customer_values(document)


def customer_values(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of the customer's event in an object of JSON. Raise ServiceError."""
    wrong = {**unknown_fields(document), **wrong_fields(document)}
    if wrong:
        raise ServiceError(400, "invalid_fields", "Some fields are not as required.", fields=wrong)
    return {
        field: CONVERTERS[field](document[field])
        for field in FIELDS
        if document.get(field) is not None
    }


def read_body(request: HttpRequest) -> bytes:
    if request.content_type != "application/json":
        raise ServiceError(415, "not_json", "Send the body as application/json.")
    if not request.headers.get("Content-Length"):
        raise ServiceError(411, "length_required", "Send the Content-Length of the body.")
    try:
        body = request.read(MAX_BYTES + 1)
    except (UnreadablePostError, OSError):
        raise ServiceError(400, "incomplete_body", "The body broke off.") from None
    if len(body) > MAX_BYTES:
        message = f"The body is larger than {MAX_BYTES:,} bytes."
        raise ServiceError(413, "body_too_large", message)
    return body


def parse_json(body: bytes) -> Any:
    try:
        return json.loads(
            body.decode(),
            object_pairs_hook=unique_pairs,
            parse_constant=refuse_constant,
            parse_int=lambda _: A_NUMBER,
            parse_float=lambda _: A_NUMBER,
        )
    except UnicodeDecodeError:
        problem = "it is not UTF-8"
    except NotStrict as error:
        problem = str(error)
    except RecursionError:
        problem = "it is nested too deeply"
    except ValueError:
        problem = "it cannot be parsed"
    raise ServiceError(400, "invalid_json", f"The body is not strict JSON: {problem}.")


def unique_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise NotStrict("an object has a name twice")
    return fields


def refuse_constant(name: str) -> NoReturn:
    raise NotStrict(f"{name} is no value of JSON")


# ---------------------------------------------------------------------------- fields


def unknown_fields(document: Mapping[str, Any]) -> dict[str, str]:
    unknown = [field for field in document if field not in FIELDS]
    return {
        field[:MAX_NAME_LENGTH].encode("utf-8", "replace").decode(): "There is no such field."
        for field in unknown[:MAX_NAMED]
    }


def wrong_fields(document: Mapping[str, Any]) -> dict[str, str]:
    problems = {field: problem_of(field, document.get(field)) for field in FIELDS}
    return {field: problem for field, problem in problems.items() if problem}


def problem_of(field: str, value: Any) -> str:
    """Return what is wrong with the form of a value, in a sentence, or an empty text."""
    if value is None:
        return "It is required." if field in REQUIRED else ""
    if not isinstance(value, str):
        return "It must be a text, or null." if field not in REQUIRED else "It must be a text."
    if "\0" in value:
        return "It contains a NUL character, which is not allowed."
    try:
        value.encode()
        CONVERTERS[field](value)
    except UnicodeEncodeError:
        return "It contains half of a surrogate pair."
    except (ValueError, OverflowError):
        return FORMS[field]
    return ""


def guid_of(text: str) -> UUID:
    if not re.fullmatch(GUID_PATTERN, text):
        raise ValueError
    return UUID(text)


def time_of(text: str) -> datetime:
    if not re.fullmatch(TIME_PATTERN, text, re.ASCII):
        raise ValueError
    return datetime.fromisoformat(text).astimezone(UTC)


def day_of(text: str) -> date:
    if not re.fullmatch(DAY_PATTERN, text, re.ASCII):
        raise ValueError
    return date.fromisoformat(text)


# How to read each field, and what to say of a text that is none of its kind.
CONVERTERS: dict[str, Callable[[str], Any]] = dict.fromkeys(FIELDS, str) | {
    "event_id": guid_of,
    "async_account": guid_of,
    "occurred_at": time_of,
    "birth_date": day_of,
}
FORMS = {
    "event_id": "It must be a GUID of 36 characters in lower case.",
    "async_account": "It must be a GUID of 36 characters in lower case.",
    "occurred_at": "It must be a time such as 2026-03-01T10:00:00+01:00.",
    "birth_date": "It must be a date such as 2026-03-01.",
}
