"""Tills that never wait for headquarters: each writes into its channel with plain SQL, in a thread.

Some commits are slow, some are taken back, some lines break in between, and some clocks are wrong;
what a till was promised stands in the journal.
"""

import sqlite3
import threading
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

import psycopg2

from tests.proofs.chaos.documents import Buyer, ring_up
from tests.proofs.chaos.door import Door
from tests.proofs.chaos.journal import ACK, AMB, ATT, BAD, ROL, Journal
from tests.proofs.chaos.places import Place
from tests.support.proxy import Proxy

TROUBLE = (psycopg2.Error, sqlite3.Error)
SLOWEST_S = 3.0
PAUSE_S = 0.3
Event = tuple[str, dict[str, Any]]


class Till(threading.Thread):
    """One register: serves customers until it is told to stop."""

    def __init__(
        self, place: Place, journal: Journal, door: Door, seed: str, pause_s: float
    ) -> None:
        super().__init__(name=f"till {seed}", daemon=True)
        self.code, self.place, self.journal, self.pause_s = seed, place, journal, pause_s
        self.door = door
        self.dice = Random(seed)  # noqa: S311 - no secret
        self.clock = timedelta(hours=self.dice.choice([0, 0, 0, -26, 20]))
        self.closing_time = threading.Event()
        self.served = 0
        self.names = 0
        self.numbers = 0
        self.guids: list[str] = []
        # Those whose name is no slip.
        self.promising: set[str] = set()
        # Those whom the database surely has; their addresses may have been there before them.
        self.made: set[str] = set()
        # Of these, each with an address that it has too.
        self.sure: dict[str, str] = {}

    def run(self) -> None:
        while not self.closing_time.is_set():
            try:
                with closing(self.place.open(write=True)) as connection:
                    self.serve(connection)
            except TROUBLE:
                # The line broke or the database was busy; the journal has been told.
                self.closing_time.wait(0.2)

    def serve(self, connection: Any) -> None:
        """One transaction after the other, until the line breaks or the database was exchanged."""
        if self.place.is_file:
            connection.isolation_level = None
        times = self.door.times
        while not self.closing_time.wait(self.dice.expovariate(1 / self.pause_s)):
            with self.door.open():
                if self.door.times != times:
                    return
                for events in self.something(connection):
                    self.commit(connection, events)

    def commit(self, connection: Any, events: list[Event]) -> None:
        """Write the events in one transaction and keep in the journal how it ended."""
        ids = [row["event_id"] for _, row in events if "event_id" in row]
        self.journal.note(ATT, ids)
        cursor = connection.cursor()
        is_committing = False
        try:
            if self.place.is_file:
                cursor.execute("BEGIN IMMEDIATE")
            for table, row in events:
                self.insert(cursor, table, row)
            if self.dice.random() < 0.15 and not self.place.is_file:
                time.sleep(self.dice.uniform(0, SLOWEST_S))
            if self.dice.random() < 0.03:
                connection.rollback()
                self.journal.note(ROL, ids)
                return
            is_committing = True
            connection.commit()
        except TROUBLE:
            self.journal.note(AMB if is_committing else ROL, ids)
            with suppress(*TROUBLE):
                connection.rollback()
            if is_committing:
                self.repeat(events, ids)
            raise
        self.served += 1
        self.journal.note(ACK, ids)
        self.made |= {
            row["async_account"]
            for table, row in events
            if table == "async_customer" and row["operation"] == "create"
        }
        self.sure |= {
            row["async_account"]: row["address_id"]
            for table, row in events
            if table == "async_address" and row.get("async_account") in self.promising & self.made
        }

    def repeat(self, events: list[Event], ids: list[str]) -> None:
        """Say it again on another line, as a till does that does not know whether it was heard."""
        if self.dice.random() < 0.5:
            return
        with closing(self.place.open(write=True)) as connection:
            cursor = connection.cursor()
            for table, row in events:
                self.insert(cursor, table, row)
            connection.commit()
        self.journal.note(ACK, ids)

    def insert(self, cursor: Any, table: str, row: dict[str, Any]) -> None:
        """A repetition of the same row is harmless on both engines."""
        names, mark = ", ".join(row), "?" if self.place.is_file else "%s"
        ending = "" if self.place.is_file else "ON CONFLICT DO NOTHING"
        cursor.execute(
            f"INSERT INTO {table} ({names}) "  # noqa: S608 - names of this file
            f"VALUES ({', '.join([mark] * len(row))}) {ending}",
            list(row.values()),
        )

    # ---------------------------------------------------------------- what it writes

    def something(self, connection: Any) -> list[list[Event]]:
        """What the next customer wants: one or two transactions."""
        chance = self.dice.random()
        if chance < 0.15 and self.guids:
            return [[self.edit(async_account=self.dice.choice(self.guids))]]
        if chance < 0.2 and (account := self.known(connection)):
            return [[self.edit(account_number=account)]]
        if chance < 0.3 and (guid := self.given(connection)):
            # Made by any channel, and told to this one by headquarters.
            return [[self.dice.choice([self.edit, self.address])(async_account=guid)]]
        if chance < 0.65:
            return [self.document(self.buyer(connection))]
        customer, *children = self.customer()
        if chance > 0.97:
            # The address was typed and saved before the customer.
            return [children, [customer]]
        if chance > 0.9:
            # Who is new buys at once.
            guid = customer[1]["async_account"]
            bought = self.document(Buyer(async_account=guid)) if guid in self.promising else []
            return [[customer, *children, *bought]]
        return [[customer, *children]]

    def document(self, buyer: Buyer) -> list[Event]:
        """A sale, a return or an order; the journal is told what it is."""
        self.numbers += 1
        place = self.place.label
        number = f"{place}-{self.code[-1]}-{self.numbers}".upper()
        document, rows = ring_up(self.dice, place, number, buyer)
        event_id = rows[0][1]["event_id"]
        self.journal.note_document(event_id, document)
        if not document.is_good:
            self.journal.note(BAD, [event_id])
        return rows

    def buyer(self, connection: Any) -> Buyer:
        """Nobody, a customer of this till, or one whom headquarters has told this channel of."""
        chance = self.dice.random()
        if chance < 0.35 and self.sure:
            guid = self.dice.choice(sorted(self.sure))
            return Buyer(async_account=guid, address_id=self.sure[guid])
        if chance < 0.5 and (guid := self.given(connection)):
            return Buyer(async_account=guid)
        if chance < 0.65 and (account := self.known(connection)):
            return Buyer(account_number=account)
        return Buyer()

    def forget(self, guids: set[str]) -> None:
        """Serve these customers no more: the shop's database was set back and has lost them."""
        self.guids = [guid for guid in self.guids if guid not in guids]
        self.made -= guids
        self.sure = {guid: home for guid, home in self.sure.items() if guid not in guids}

    def customer(self) -> list[Event]:
        """A new customer with an address, perhaps a mail address, a club and a size."""
        guid = self.uuid()
        is_good = self.dice.random() > 0.02
        name = self.name() if is_good else "x" * 61
        events = [
            self.event("async_customer", "create", async_account=guid, first_name=name, **PERSON),
            self.address(async_account=guid),
        ]
        self.guids.append(guid)
        if is_good:
            self.promising.add(guid)
        else:
            self.journal.note(BAD, [events[0][1]["event_id"]])
        if self.dice.random() < 0.5:
            mail = {"kind": "email", "locator": f"{guid[:8]}@example.com"}
            events.append(
                self.event(
                    "async_contact", "create", async_account=guid, contact_id=self.uuid(), **mail
                )
            )
        if self.dice.random() < 0.3:
            events.append(
                self.event("async_affiliation", "create", async_account=guid, affiliation="CLUB")
            )
        if self.dice.random() < 0.3:
            size = {"attribute": "SIZE", "value": self.dice.choice("SML")}
            events.append(self.event("async_attribute", "create", async_account=guid, **size))
        return events

    def edit(self, **who: str) -> Event:
        """Another first name, or now and then a deactivation."""
        if self.dice.random() < 0.05:
            return self.event("async_customer", "deactivate", **who)
        return self.event("async_customer", "update", first_name=self.name(), **who, **PERSON)

    def address(self, **who: str) -> Event:
        """One more address."""
        return self.event("async_address", "create", address_id=self.uuid(), **who, **HOME)

    def known(self, connection: Any) -> str | None:
        """An account that headquarters has sent to this channel."""
        is_active = "is_active = 1" if self.place.is_file else "is_active"
        return self.one_of(connection, f"SELECT account_number FROM customer WHERE {is_active}")  # noqa: S608

    def given(self, connection: Any) -> str | None:
        """A GUID that headquarters has sent to this channel, whoever made it."""
        return self.one_of(connection, "SELECT async_account FROM account_map")

    def one_of(self, connection: Any, query: str) -> str | None:
        cursor = connection.cursor()
        cursor.execute(query)
        found = sorted(str(value) for (value,) in cursor.fetchall())
        connection.rollback()
        return self.dice.choice(found) if found else None

    def event(self, table: str, operation: str, **columns: str) -> Event:
        now = (datetime.now(UTC) + self.clock).isoformat()
        row = {"event_id": self.uuid(), "occurred_at": now, "operation": operation}
        return table, row | columns

    def uuid(self) -> str:
        return str(UUID(int=self.dice.getrandbits(128), version=4))

    def name(self) -> str:
        """A first name that nobody had before."""
        self.names += 1
        return f"{self.dice.choice(NAMES)} {self.code} {self.names}"


NAMES = ("Ann", "Bo", "Cy", "Dee", "Eva", "Flo")
PERSON = {"customer_type": "person", "last_name": "Lee"}
HOME = {"purpose": "home", "street": "Main Street", "city": "Houston", "country": "USA"}


def open_tills(
    seed: int,
    places: Sequence[Place],
    lines: Sequence[Proxy],
    journal: Journal,
    doors: dict[str, Door],
) -> list[Till]:
    """Two tills in each shop; one of those on PostgreSQL speaks over a line that may be cut."""
    tills = []
    for number, place in enumerate(places):
        for register in (1, 2):
            at = place
            if register == 2 and number < len(lines):
                at = replace(place, address=lines[number].url(f"ch_{place.label}"))
            code = f"{seed}-{place.label}-{register}"
            tills.append(Till(at, journal, doors[place.label], code, PAUSE_S))
    for till in tills:
        till.start()
    return tills
