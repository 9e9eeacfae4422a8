"""What is set back or dies as a whole, and what a person does about it by the manual."""

import os
import time
from collections.abc import Sequence
from functools import partial
from random import Random

from django.conf import settings
from django.db import connection

from portal.embedded import postgres, processes
from stores.jobs.inline import run_inline
from stores.jobs.recover_hq import recover_headquarters
from stores.models import Incident
from stores.models.incident import IncidentKind
from stores.pipeline import number_journal
from stores.pipeline.fence.acceptance import accept_database
from tests.proofs.chaos.checker import Checker
from tests.proofs.chaos.disruptor import Appointment, Disruptor
from tests.proofs.chaos.door import Door
from tests.proofs.chaos.journal import Journal
from tests.proofs.chaos.places import Place
from tests.proofs.chaos.restores import HQBackup, ShopBackup
from tests.proofs.chaos.ring import FAKETIME, second_journal, wrong_clock
from tests.proofs.chaos.tills import Till

TRIES = 60
AHEAD_S = 4.0
ACCEPTED = (IncidentKind.CHANNEL_FORKED, IncidentKind.WRONG_DATABASE)


class Restorer:
    """Makes the backups of one chaos and puts them back, each once.

    Headquarters first: what a shop and headquarters have both lost, nobody can bring back.
    """

    def __init__(
        self,
        seed: int,
        places: Sequence[Place],
        doors: dict[str, Door],
        checker: Checker,
        journal: Journal,
        looking: Door,
    ) -> None:
        self.dice = Random(f"set back {seed}")  # noqa: S311 - no secret
        self.doors, self.looking = doors, looking
        self.checker, self.journal = checker, journal
        self.tills: list[Till] = []
        self.mayhem: Disruptor | None = None
        self.shops = [
            self.dice.choice([place for place in places if place.is_file == is_file])
            for is_file in (False, True)
        ]
        self.backups: dict[str, ShopBackup] = {}
        self.hq: HQBackup | None = None
        self.lost = 0

    def appointments(self) -> list[Appointment]:
        """When what happens."""
        between = self.dice.uniform
        found = [
            Appointment(between(0.1, 0.2), "backups of headquarters", self.back_up_hq),
            Appointment(between(0.2, 0.3), "deaths of the server", self.kill_the_server),
            Appointment(between(0.35, 0.45), "restores of headquarters", self.restore_hq),
            Appointment(between(0.9, 0.95), "clocks ahead", self.put_the_clock_forward),
        ]
        for shop in self.shops:
            code = shop.label
            found += [
                Appointment(between(0.1, 0.6), "backups of shops", partial(self.back_up, shop)),
                Appointment(between(0.65, 0.85), "restores of shops", partial(self.restore, code)),
            ]
        return found

    def back_up(self, shop: Place) -> None:
        self.backups[shop.label] = ShopBackup(shop)

    def restore(self, code: str) -> None:
        tills = [till for till in self.tills if till.place.label == code]
        with self.looking.shut():
            self.lost += self.backups[code].restore(self.doors[code], self.journal, tills)
            self.checker.set_back.add(self.backups[code].place.pk)

    def back_up_hq(self) -> None:
        self.hq = HQBackup()

    def restore_hq(self) -> None:
        """As docs/recovery.md says, while the tills go on."""
        assert self.hq
        assert self.mayhem
        self.mayhem.make_peace()
        with self.looking.shut(), self.mayhem.services.stopped():
            self.hq.put_back()
            join_journals()
            settings_of = recover_until_done()
            assert settings_of in ("recovered", "nothing_to_do"), settings_of
            run_inline("pipeline")
            settle_incidents()
            connection.close()

    def kill_the_server(self) -> None:
        with self.looking.shut():
            stop_at_once()
            postgres.start(settings.EMBEDDED, durable=False)
            connection.close()

    def put_the_clock_forward(self) -> None:
        """The server comes back with a clock that is a day ahead, and later with the right one."""
        if FAKETIME is None:
            return
        with self.looking.shut():
            stop_at_once()
            before = dict(os.environ)
            os.environ |= wrong_clock("+1d")
            try:
                postgres.start(settings.EMBEDDED, durable=False)
            finally:
                os.environ.clear()
                os.environ |= before
        time.sleep(AHEAD_S)
        self.kill_the_server()


def stop_at_once() -> None:
    """As `pg_ctl stop -m immediate`: no farewell, a recovery at the next start."""
    argv = [postgres.binary("pg_ctl"), "stop", "-m", "immediate", "-D"]
    assert processes.run(postgres.as_user([*argv, str(settings.EMBEDDED.pgdata)])).returncode == 0


def join_journals() -> None:
    """Append the lines of the second machine's number journal to that of the first."""
    if second_journal().exists():
        first = number_journal.journal_path()
        first.parent.mkdir(parents=True, exist_ok=True)
        with first.open("ab") as file:
            # Its last line may be torn; a machine that never converted has none.
            file.write((b"\n" if file.tell() else b"") + second_journal().read_bytes())


def recover_until_done() -> str:
    """Call recover_hq again while a channel cannot be read at this moment. Returns the outcome."""
    found = {"outcome": "", "message": ""}
    for _ in range(TRIES):
        found = recover_headquarters(dry_run=False)
        if found["outcome"] in ("recovered", "nothing_to_do"):
            break
        time.sleep(1)
    return f"{found['outcome']}" if found["outcome"] != "failed" else f"failed: {found['message']}"


def settle_incidents() -> None:
    """What a person does once he or she has looked."""
    for incident in Incident.objects.open().select_related("database__channel"):
        if incident.kind in ACCEPTED and incident.database:
            accept_database(incident.database, "The copy in use.")
        elif not incident.can_be_closed_by_hand:
            continue
        incident.close("Looked at.")
