"""A till of a channel, and settings as jobs 1070 and 1110 would have brought them there."""

import json
from dataclasses import dataclass, field
from typing import Any

from django.db import connections

from stores.models import ChannelDatabase
from stores.till.counter import Till
from stores.till.customers import NewCustomer
from stores.till.service import Answer, ServiceUnreachable
from tests.support.make import query, till

SYNC = {"create_customer_async": False, "customer_order_mode": "sync"}
ANN = {"first_name": "Ann", "last_name": "Lee"}


def till_at(database: ChannelDatabase, **options: Any) -> Till:
    return Till(database, staff_id="000137", terminal_id="T-1", **options)


def ann(**options: Any) -> NewCustomer:
    """A new customer, Ann Lee; what is given besides `values` is added."""
    return NewCustomer(values=ANN | options.pop("values", {}), **options)


def set_up(database: ChannelDatabase, **settings: Any) -> None:
    """Write settings into a channel."""
    with till(database) as alias, connections[alias].cursor() as cursor:
        for key, value in settings.items():
            cursor.execute("DELETE FROM channel_setting WHERE key = %s", [key])
            cursor.execute(
                "INSERT INTO channel_setting (key, value) VALUES (%s, %s)", [key, json.dumps(value)]
            )


def events(database: ChannelDatabase, table: str = "async_customer", *columns: str) -> list[Any]:
    """The rows of an event table, in order."""
    names = ", ".join(columns or ("operation", "first_name", "last_name"))
    return query(database, f"SELECT {names} FROM {table} ORDER BY replication_counter")  # noqa: S608


@dataclass
class Away:
    """Headquarters that cannot be reached; counts how often it was asked."""

    asked: list[Any] = field(default_factory=list)

    def create(self, event: Any) -> Answer:
        self.asked.append(event)
        raise ServiceUnreachable("Headquarters could not be reached.")

    def reach(self) -> None:
        raise ServiceUnreachable("Headquarters could not be reached.")
