"""Triggers that refuse some rows, in HQ's database and in that of a channel."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

from stores.models import Case, ChannelDatabase, Incident
from tests.support.make import engine_of, query


@contextmanager
def hq_refuses(
    table: str, condition: str, *, on: str = "INSERT", code: str = "P0001"
) -> Iterator[None]:
    """During the block HQ's table refuses rows with this condition on NEW, with this SQLSTATE."""
    name = f"refuse_{table}"
    with connection.cursor() as cursor:
        cursor.execute(
            f"""CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = '{code}'; END $$;
                CREATE TRIGGER zz_refuse BEFORE {on} ON {table} FOR EACH ROW WHEN ({condition})
                EXECUTE FUNCTION {name}()"""
        )
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"DROP TRIGGER zz_refuse ON {table}; DROP FUNCTION {name}()")


@contextmanager
def channel_refuses(
    database: ChannelDatabase, table: str, condition: str, *, on: str
) -> Iterator[None]:
    """During the block the channel's table refuses rows, by a trigger of the channel's owner."""
    name = f"refuse_{table}"
    if engine_of(database) == "sqlite":
        create = f"""CREATE TRIGGER {name} AFTER {on} ON {table} WHEN {condition}
                     BEGIN SELECT RAISE(ABORT, 'refused'); END"""
        drop = f"DROP TRIGGER {name}"
    else:
        create = f"""CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS
                     $$ BEGIN RAISE EXCEPTION 'refused'; END $$;
                     CREATE TRIGGER {name} AFTER {on} ON {table} FOR EACH ROW
                     WHEN ({condition}) EXECUTE FUNCTION {name}()"""
        drop = f"DROP TRIGGER {name} ON {table}"
    query(database, create)
    try:
        yield
    finally:
        query(database, drop)


def open_problems() -> set[str]:
    """The reasons of rows that are not settled, and the subjects of open incidents."""
    reasons = {f"case: {case.reason}" for case in Case.objects.unsettled()}
    return reasons | {f"incident: {incident.subject}" for incident in Incident.objects.open()}
