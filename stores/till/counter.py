"""Where a till stands, and the database that it works in."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, cast
from uuid import UUID

from django.db import DatabaseError, IntegrityError, connections, transaction
from django.db.models import Field, Model
from django.utils import timezone

from stores.channeldb.connect.connection import connect, is_connection_error, lacking_columns
from stores.channeldb.connect.url import Database
from stores.channeldb.errors import ChannelUnmigrated
from stores.channeldb.exchange.open import visit
from stores.channeldb.exchange.postgresql import PostgreSQLVisit
from stores.channeldb.exchange.sqlite import SQLiteVisit
from stores.messages.message import Message
from stores.till.merge_upward import MergeCounts, count_new_events, merge_upward
from stores.till.refusals import Refused
from stores.till.service import Service
from stores.till.settings import TillSettings
from stores.values.currency import CURRENCIES

Row = dict[str, Any]
ChannelVisit = PostgreSQLVisit | SQLiteVisit
# What differs if a form is sent again: when, where, and under which name the customer is known.
OF_THE_MOMENT = {
    *("replication_counter", "occurred_at", "acknowledged_at", "based_on"),
    *("staff_id", "terminal_id", "created_offline", "async_account", "account_number"),
}
NOUNS = {
    "async_customer": "customer",
    "async_address": "address",
    "async_attribute": "loyalty card",
    "retail_transaction": "sale or order",
}


@dataclass(frozen=True)
class Till:
    """A till of a channel, at one of its registers or at the channel itself.

    A register has a database of its own, in which it works while it is offline.
    """

    channel: Database
    register: Database | None = None
    is_offline: bool = False
    service: Service | None = None
    staff_id: str | None = None
    terminal_id: str | None = None

    @property
    def database(self) -> Database:
        """The database that the till works in."""
        return self.register if self.is_offline and self.register else self.channel

    @property
    def code(self) -> str:
        """The code of the channel."""
        return self.channel.label.split("/")[0]

    @property
    def register_name(self) -> str:
        return self.register.label.partition("/")[2] if self.register else ""

    @contextmanager
    def open(self) -> Iterator["OpenTill"]:
        """Open the till's database. Errors: ChannelError, also if it lacks a later column."""
        with connect(self.database) as alias:
            if lacking_columns(alias):
                label, code = self.database.label, self.code
                raise ChannelUnmigrated(Message("channel_unmigrated", channel=label, code=code))
            if connections[alias].vendor == "sqlite":
                # Another make of till may have written bytes that are no UTF-8.
                connections[alias].connection.text_factory = replace_invalid_bytes
                # SQLite's own lower() knows the letters of ASCII only.
                connections[alias].connection.create_function(
                    "lower_bytes", 1, lower_bytes, deterministic=True
                )
            yield OpenTill(self, alias, timezone.now())

    def reconnect(self) -> MergeCounts:
        """Bring what the register wrote while it was offline into the channel's database.

        Without a register, or while it is offline, there is none. One that is no SQLite file is
        fetched by headquarters only. Errors: ChannelError.
        """
        with self.both() as databases:
            return merge_upward(*databases) if databases else MergeCounts()

    def bring_new(self) -> MergeCounts:
        """Reconnect if the register has an event whose id the channel lacks. Errors: ChannelError.

        Comparing the ids is quick; the merge reads and compares every row.
        """
        with self.both() as databases:
            if databases and count_new_events(*databases):
                return merge_upward(*databases)
            return MergeCounts()

    def count_new(self) -> int:
        """How many events the register has whose ids the channel lacks. Errors: ChannelError."""
        with self.both() as databases:
            return count_new_events(*databases) if databases else 0

    @contextmanager
    def both(self) -> Iterator[tuple[SQLiteVisit, ChannelVisit] | None]:
        """Open the register and the channel, if what the register wrote can be merged."""
        if self.register is None or self.is_offline:
            yield None
            return
        with visit(self.register) as register, visit(self.channel) as channel:
            # A protocol knows no classes, and the merge looks at those of the two engines.
            other = cast("ChannelVisit", channel)
            yield (register, other) if isinstance(register, SQLiteVisit) else None


def replace_invalid_bytes(text: bytes) -> str:
    return text.decode(errors="replace")


def lower_bytes(text: bytes | None) -> str | None:
    return None if text is None else replace_invalid_bytes(text).lower()


@dataclass(frozen=True)
class OpenTill:
    """A till with its database open, and the time of what is done at it."""

    till: Till
    alias: str
    now: datetime

    @property
    def register(self) -> str:
        """The name of the register in whose database the till works; empty in the channel's."""
        return self.till.register_name if self.till.is_offline else ""

    def lower(self, column: str) -> str:
        """The SQL of a column in lower case."""
        is_sqlite = connections[self.alias].vendor == "sqlite"
        return f"lower_bytes(CAST({column} AS blob))" if is_sqlite else f"lower({column})"

    @cached_property
    def settings(self) -> TillSettings:
        return TillSettings.read(self.alias)

    @cached_property
    def usual_currency(self) -> str:
        """The currency that new customers inherit, else that of most sales here, or of customers.

        Empty if there are none.
        """
        if inherited := self.settings.inherited("currency"):
            return str(inherited)
        for rows in (
            "retail_transaction WHERE currency IS NOT NULL ORDER BY replication_counter DESC",
            "customer WHERE currency IS NOT NULL",
        ):
            found = self.fetch(
                f"""SELECT currency FROM (SELECT currency FROM {rows} LIMIT 50) AS newest
                     GROUP BY currency ORDER BY count(*) DESC LIMIT 1"""  # noqa: S608
            )
            if found and found[0]["currency"] in CURRENCIES:
                return str(found[0]["currency"])
        return ""

    def fetch(self, statement: str, *values: Any) -> list[Row]:
        """The rows of a query, by the names of its columns."""
        with connections[self.alias].cursor() as cursor:
            cursor.execute(statement, values)
            names = [column[0] for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def event(self, model: type[Model], operation: str, /, **columns: Any) -> Any:
        """An event of the till that is not saved yet."""
        stamp = {
            "occurred_at": self.now,
            "staff_id": self.till.staff_id,
            "terminal_id": self.till.terminal_id,
            "created_offline": self.till.is_offline,
        }
        return model(operation=operation, **stamp | columns)

    def save(self, rows: Sequence[Model]) -> bool:
        """Save rows in one transaction. False if they were saved before.

        Errors: Refused, if a trigger of the channel's own refuses a row, or if the same save was of
        something else; those of a connection.
        """
        if self.holds(rows):
            return False
        try:
            with transaction.atomic(using=self.alias):
                for row in rows:
                    row.save(using=self.alias, force_insert=True)
        except DatabaseError as error:
            if is_connection_error(error):
                raise
            if isinstance(error, IntegrityError) and self.holds(rows):
                return False
            # Not in the driver's words: they may quote the row.
            raise Refused(
                "The channel's database refuses it, and nothing was saved. Tell whoever looks after"
                " the database."
            ) from None
        return True

    def holds(self, rows: Sequence[Model]) -> bool:
        """Whether these rows were saved before. Errors: Refused, if the save was of others."""
        if self.held(rows[0]) is None:
            return False
        for row in rows:
            if not is_same(row, self.held(row)):
                noun = NOUNS[rows[0]._meta.db_table]
                raise Refused(f"This form has saved another {noun} already. Open the page again.")
        return True

    def held(self, row: Model) -> Model | None:
        """The row with the same key in the database."""
        return type(row)._default_manager.using(self.alias).filter(pk=row.pk).first()

    def require_feature(self, feature: str, action: str) -> None:
        """Refuse an action whose feature is switched off in this database."""
        if not self.settings.has(feature):
            raise Refused(f"{action}. {self.settings.why_off(feature, ' Nothing was saved.')}")


def is_same(row: Model, held: Model | None) -> bool:
    fields = [field for field in row._meta.concrete_fields if field.name not in OF_THE_MOMENT]
    return held is not None and all(
        value_of(row, field) == value_of(held, field) for field in fields
    )


def value_of(row: Model, field: "Field[Any, Any]") -> Any:
    return field.get_prep_value(getattr(row, field.attname))


def as_uuid(value: Any) -> UUID | None:
    """A GUID as an engine gives it; None if there is none, or if it has another form."""
    if value is None or isinstance(value, UUID):
        return value
    try:
        return UUID(value)
    except ValueError:
        return None
