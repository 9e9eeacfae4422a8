"""Call the real-time service as a till does."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from django.test import Client

from stores.models import ChannelDatabase, RtsToken
from stores.rts.tokens import make_token

CUSTOMERS, ACCOUNTS = "/rts/v1/customers", "/rts/v1/accounts/"
MORNING = datetime(2026, 3, 1, 9, tzinfo=UTC)


def new_event(first_name: str = "Ann", **fields: Any) -> dict[str, Any]:
    """What a till knows of a new customer, as the service takes it."""
    event = {"event_id": str(uuid4()), "async_account": str(uuid4())}
    event |= {"occurred_at": MORNING.isoformat(), "customer_type": "person"}
    return event | {"first_name": first_name, "last_name": "Lee"} | fields


@dataclass(frozen=True)
class Till:
    """A till with a token. It calls the service without cookies, as programs do."""

    token: str

    @classmethod
    def of(cls, database: ChannelDatabase, **options: Any) -> "Till":
        """A till of a channel, with a token of its own."""
        return cls(make_token(database.channel, **options)[1])

    @property
    def row(self) -> RtsToken:
        return RtsToken.objects.get(pk=self.token.partition(".")[0])

    def post(self, body: Any, **headers: Any) -> Any:
        """Send a body: an object of JSON, or bytes as they are."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        options = {"content_type": "application/json"} | headers
        return Client().post(CUSTOMERS, data, **self.credentials, **options)

    def get(self, guid: str, **headers: Any) -> Any:
        return Client().get(f"{ACCOUNTS}{guid}", **self.credentials, **headers)

    @property
    def credentials(self) -> dict[str, str]:
        return {"HTTP_AUTHORIZATION": f"Bearer {self.token}"}


def code_of(response: Any) -> tuple[int, str]:
    """The status of an error, and its code. Its body must have the form of all errors."""
    document = response.json()
    assert sorted(document) == ["code", "fields", "message"]
    return response.status_code, document["code"]
