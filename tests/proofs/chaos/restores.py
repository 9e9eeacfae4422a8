"""Backups of shops and of headquarters, and their restores, as the manual says."""

from pathlib import Path

from django.db import connection

from tests.proofs.chaos.door import Door
from tests.proofs.chaos.journal import GONE, OUT, Journal
from tests.proofs.chaos.observer import EVENTS
from tests.proofs.chaos.places import SQLITE, Place, rows
from tests.proofs.chaos.tills import Till
from tests.support.backups import copy_file
from tests.support.dumps import dump, restore

ALL_EVENTS = (*EVENTS, "retail_transaction")


class ShopBackup:
    """A shop's database as it is now; restored once, while its tills stand still."""

    def __init__(self, place: Place) -> None:
        self.place = place
        if place.is_file:
            self.file = self.path.with_suffix(".backup")
            copy_file(self.path, self.file)
            return
        self.script = dump(self.name)

    @property
    def path(self) -> Path:
        return Path(self.place.address.removeprefix(SQLITE))

    @property
    def name(self) -> str:
        return f"ch_{self.place.label}"

    def restore(self, door: Door, journal: Journal, tills: list[Till]) -> int:
        """Put the backup in the place of the database. Returns how many events the shop lost.

        Those are what headquarters had not fetched and the backup does not hold.
        """
        with door.shut():
            before = self.waiting()
            self.put_back()
            with self.place.snapshot() as cursor:
                still_there = {
                    str(event_id)
                    for table in ALL_EVENTS
                    for (event_id,) in rows(cursor, f"SELECT event_id FROM {table}")  # noqa: S608
                }
            lost = {one: guid for one, guid in before.items() if one not in still_there}
            journal.note(OUT, lost)
            guids = {guid for guid in lost.values() if guid}
            journal.note(GONE, guids)
            for till in tills:
                till.forget(guids)
        return len(lost)

    def waiting(self) -> dict[str, str]:
        """The events that are not acknowledged, with the GUID of each customer created by one."""
        with self.place.snapshot() as cursor:
            found = {
                str(event_id): ""
                for table in ALL_EVENTS
                for (event_id,) in rows(
                    cursor,
                    f"SELECT event_id FROM {table} WHERE acknowledged_at IS NULL",  # noqa: S608
                )
            }
            created = rows(
                cursor,
                """SELECT event_id, async_account FROM async_customer
                    WHERE acknowledged_at IS NULL AND operation = 'create'""",
            )
        return found | {str(event_id): str(guid) for event_id, guid in created}

    def put_back(self) -> None:
        if not self.place.is_file:
            restore(self.name, self.script)
            return
        for ending in ("", "-wal", "-shm"):
            self.path.with_name(self.path.name + ending).unlink(missing_ok=True)
        copy_file(self.file, self.path)


class HQBackup:
    """Headquarters as it is now."""

    def __init__(self) -> None:
        self.name = connection.settings_dict["NAME"]
        self.script = dump(self.name)

    def put_back(self) -> None:
        """Put the backup in the place of HQ's database, while nothing uses it."""
        connection.close()
        restore(self.name, self.script)
