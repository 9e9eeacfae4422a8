"""Backups of channel databases and of HQ's, to be restored as their owners would."""

import sqlite3
from contextlib import closing
from itertools import count
from pathlib import Path

from django.db import connection

from stores.channeldb.connect.url import sqlite_path
from stores.models import ChannelDatabase
from tests.support.databases import copy_database, drop_database

NUMBER = count(1)


class Backup:
    """A copy of a channel's database; it can be restored more than once."""

    def __init__(self, database: ChannelDatabase) -> None:
        self.database, self.number = database, next(NUMBER)
        if self.file:
            copy_file(sqlite_path(database), self.file)
        else:
            copy_database(self.original, self.name)

    @property
    def original(self) -> str:
        return self.database.url.removeprefix("embedded:")

    @property
    def name(self) -> str:
        return f"backup_{self.number}"

    @property
    def file(self) -> Path | None:
        if self.database.url.startswith("embedded:"):
            return None
        path = sqlite_path(self.database)
        return path.with_name(f"{self.name}.sqlite3")

    def restore(self) -> None:
        """Replace the database by the backup."""
        if self.file:
            for ending in ("", "-wal", "-shm"):
                path = sqlite_path(self.database)
                path.with_name(path.name + ending).unlink(missing_ok=True)
            copy_file(self.file, sqlite_path(self.database))
        else:
            copy_database(self.name, self.original)

    def remove(self) -> None:
        if self.file:
            self.file.unlink()
        else:
            drop_database(self.name)


def copy_file(source: Path, target: Path) -> None:
    """Copy a SQLite database with its write-ahead log."""
    with closing(sqlite3.connect(source)) as original, closing(sqlite3.connect(target)) as copy:
        original.backup(copy)


class HQBackup:
    """A copy of HQ's database."""

    def __init__(self) -> None:
        self.original = connection.settings_dict["NAME"]
        self.name = f"{self.original}_backup_{next(NUMBER)}"
        connection.close()
        copy_database(self.original, self.name)

    def restore(self) -> None:
        """Replace HQ's database by the backup."""
        connection.close()
        copy_database(self.name, self.original)

    def remove(self) -> None:
        drop_database(self.name)
