"""An offline register that is added while everything runs, and merges what its till wrote."""

import threading
from collections import Counter
from dataclasses import replace
from io import StringIO
from random import Random

from django.core.management import call_command
from django.db import Error as DatabaseError
from django.db import close_old_connections, connections

from stores.channeldb.errors import ChannelError
from stores.models import ChannelDatabase
from tests.proofs.chaos.door import Door
from tests.proofs.chaos.journal import Journal
from tests.proofs.chaos.places import Place
from tests.proofs.chaos.tills import PAUSE_S, TROUBLE, Till
from tests.support.registers import merge

CODE, NAME = "houston", "till-3"
PAUSE_BETWEEN_MERGES_S = 1.0


class OfflineRegister(threading.Thread):
    """Merges into the database of its store again and again, over a line that may be cut."""

    def __init__(self, seed: int, journal: Journal) -> None:
        super().__init__(daemon=True)
        address = "sqlite:///channels/till_3.sqlite3"
        words = [CODE, "--register", NAME, "--database", address]
        call_command("create_channel", *words, stdout=StringIO())
        databases = ChannelDatabase.objects.with_channel().filter(channel__code=CODE)
        self.register, self.store = databases.get(name=NAME), databases.get(name="")
        self.place = Place.of(self.register)
        at_store = replace(self.place, label=CODE)
        self.till = Till(at_store, journal, Door(), f"{seed}-{CODE}-3", PAUSE_S)
        self.dice = Random(f"register {seed}")  # noqa: S311 - no secret
        self.over = threading.Event()
        self.done: Counter[str] = Counter()

    def start(self) -> None:
        self.till.start()
        super().start()

    def run(self) -> None:
        while not self.over.wait(self.dice.expovariate(1 / PAUSE_BETWEEN_MERGES_S)):
            self.merge()
        connections.close_all()

    def merge(self) -> None:
        close_old_connections()
        try:
            counts = merge(self.register, self.store)
        except (ChannelError, DatabaseError, *TROUBLE):
            self.done["merges that broke off"] += 1
            return
        self.done["merged events"] += counts.copied
        self.done["events that could not be merged"] += counts.left + len(counts.conflicts)

    def close(self) -> None:
        """End the till, and merge the rest: the lines are whole again."""
        self.till.closing_time.set()
        self.till.join()
        self.over.set()
        self.join()
        self.merge()
