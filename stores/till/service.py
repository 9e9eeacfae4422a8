"""Call the real-time service of headquarters, and tell a refusal from a failure of communication.

No answer in time, a broken line, 429 and every 5xx mean that headquarters cannot do it now: the
till stores the customer in its channel. 401 and 403 are about the till's token, and any other 4xx
is a refusal for a reason: nothing is stored then.
"""

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

from stores.messages.labels import label
from stores.till.refusals import InvalidValues, Refused

# Longer than the service lets a till wait.
TIMEOUT_S = 20
MAX_ANSWER_BYTES = 1 << 20
CUSTOMERS, DESCRIPTION = "/rts/v1/customers", "/rts/v1/openapi.json"


class ServiceUnreachable(Exception):
    """Headquarters cannot be reached, or cannot do it now. The message says which."""


class TokenRefused(Refused):
    """Headquarters does not let the till in."""


class CustomerRefused(Refused):
    """Headquarters refuses the customer for a reason."""


class ValuesRefused(CustomerRefused, InvalidValues):
    """Headquarters refuses values of the customer; `fields` has a sentence for each."""


@dataclass(frozen=True)
class Answer:
    """What headquarters knows of a customer; without an account, the message says why."""

    account_number: str | None
    message: str = ""


class Service(Protocol):
    """The service, as tills call it. Errors: ServiceUnreachable; Refused."""

    def create(self, event: Mapping[str, str]) -> Answer:
        """Create the customer of an event, or find the one whom it has created."""

    def reach(self) -> None:
        """Make sure that headquarters answers."""


class StayOnServer(urllib.request.HTTPRedirectHandler):
    """Follows no redirection: the token goes to the address that the till was given."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


@dataclass(frozen=True)
class HttpService:
    """The service at an address such as https://hq.example.com."""

    address: str
    token: str

    def create(self, event: Mapping[str, str]) -> Answer:
        return answer_of(self.call(CUSTOMERS, json.dumps(event).encode()))

    def reach(self) -> None:
        self.call(DESCRIPTION)

    def call(self, path: str, body: bytes | None = None) -> Mapping[str, Any]:
        """Return the JSON object of a successful answer."""
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        request = urllib.request.Request(  # noqa: S310 - is_address() has looked at the scheme
            self.address.rstrip("/") + path, body, headers
        )
        try:
            with urllib.request.build_opener(StayOnServer).open(request, timeout=TIMEOUT_S) as got:
                return parse_answer(got.read(MAX_ANSWER_BYTES))
        except urllib.error.HTTPError as error:
            with error:
                raise refusal_of(error.code, parse_error(error)) from None
        except TimeoutError:
            raise ServiceUnreachable("Headquarters did not answer in time.") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            is_late = isinstance(getattr(error, "reason", None), TimeoutError)
            text = "did not answer in time" if is_late else "could not be reached"
            raise ServiceUnreachable(f"Headquarters {text}.") from None


def is_address(text: str) -> bool:
    """Whether a text is an address at which the service can be."""
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def answer_of(document: Mapping[str, Any]) -> Answer:
    return Answer(document.get("account_number"), str(document.get("message", "")))


def parse_answer(body: bytes) -> Mapping[str, Any]:
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise ServiceUnreachable("What answered is not headquarters' real-time service.")
    return document


def parse_error(error: urllib.error.HTTPError) -> Mapping[str, Any]:
    """What the service says about an error; nothing if a proxy said it."""
    try:
        return parse_answer(error.read(MAX_ANSWER_BYTES))
    except (ServiceUnreachable, OSError, http.client.HTTPException):
        return {}


def refusal_of(status: int, document: Mapping[str, Any]) -> Exception:
    """What an answer with an error means for a till."""
    message = str(document.get("message", ""))
    if status == 429 or status >= 500:
        return ServiceUnreachable(message or f"Headquarters answered with status {status}.")
    if status in (401, 403):
        return TokenRefused(
            f"Headquarters does not let this till in: {message or f'status {status}.'} Nothing was"
            " saved. It works when an administrator has given the till a valid token."
        )
    if "code" not in document:
        return ServiceUnreachable("What answered is not headquarters' real-time service.")
    fields = document.get("fields")
    if isinstance(fields, dict) and fields:
        return ValuesRefused(
            {name: f"{label(name)}: {text[:1].lower()}{text[1:]}" for name, text in fields.items()}
        )
    return CustomerRefused(f"Nothing was saved: headquarters refuses the customer. {message}")
