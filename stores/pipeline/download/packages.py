"""Packages: the customers of a company that changed in a range of change numbers, stored once.

All channel databases of a company get the same packages. Each package begins where the one before
ends, so that they form a chain without gaps. A database whose position is not an end in the chain,
or which would need many small packages, gets a shortcut: a package that leads from its position to
the end of the chain. A package contains each customer once, in the place of its latest change.
"""

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from uuid import UUID

from django.db import transaction
from django.db.models.functions import Now

from stores.channeldb.exchange.protocol import TableData
from stores.failpoints import failpoint
from stores.hqdb.sql import (
    copy_in,
    fetch,
    fetch_one,
    fetch_value,
    fetch_values,
    prefer_ordered_scan,
    run_sql,
)
from stores.hqdb.work_table import WorkTable, query_table
from stores.models import Customer, Package
from stores.models.parameter import ParameterName, parameter
from stores.models.session import OPEN_DOWNLOADS
from stores.pipeline import number_journal
from stores.pipeline.changes import reserve_changes
from stores.pipeline.chunk_sizes import CUSTOMERS_PER_CHUNK
from stores.pipeline.download.outbound import TARGETS, read_tables

# A database that needs more packages than these gets one large package instead.
MAX_PACKAGES_AHEAD = 10


class PackageDropped(Exception):
    """The data of the package is no longer there."""


def package_for(company: str, position: int, run: UUID | None) -> Package | None:
    """Return the next package for databases at a position, and make it if there is none.

    Return None if there is nothing to send. Effects: the package, and the data of packages that
    nobody needs any more is dropped, committed at once.
    """
    if not has_changes(company, position):
        return None
    if package := find_package(company, position):
        return package
    unjournaled = hold_back_unjournaled(company)
    with transaction.atomic():
        run_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        # The snapshot is taken after the lock, so that it has what others have made meanwhile.
        run_sql("LOCK TABLE package IN SHARE ROW EXCLUSIVE MODE")
        drop_delivered(company)
        if package := find_package(company, position):
            return package
        package = make_package(company, position, unjournaled, run)
        failpoint("download:before_package")
        return package


def has_changes(company: str, after: int, *, up_to: int | None = None) -> bool:
    """Return whether a customer has its latest change after one number, and up to another."""
    changed = Customer.objects.filter(company=company, change_no__gt=after)
    return (changed if up_to is None else changed.filter(change_no__lte=up_to)).exists()


def find_package(company: str, position: int) -> Package | None:
    """Return the package that leads furthest from a position, unless a shortcut is better.

    The package may begin beyond the position if no customer lies between.
    """
    ids = fetch_values(
        """SELECT package.id FROM package
            WHERE package.company_id = %(company)s AND package.dropped_at IS NULL
              AND package.from_no >= %(position)s
              AND package.from_no < (SELECT min(change_no) FROM customer
                                      WHERE company_id = %(company)s AND change_no > %(position)s)
            ORDER BY package.to_no DESC LIMIT 1""",
        {"company": company, "position": position},
    )
    if not ids:
        return None
    package = Package.objects.get(pk=ids[0])
    return None if needs_shortcut(package) else package


def needs_shortcut(package: Package) -> bool:
    """Return whether a package is small and followed by so many that one for all is better."""
    following = Package.objects.chain().filter(company=package.company, from_no__gte=package.to_no)
    is_small = package.customers < CUSTOMERS_PER_CHUNK / 2
    return is_small and following[MAX_PACKAGES_AHEAD:].exists()


def hold_back_unjournaled(company: str) -> int:
    """Return the first account number that is not in the number journal, after trying to add it.

    Customers from this number on must not leave HQ: a restored HQ would not know that they exist.
    Effects: the number journal; such customers get the latest change numbers.
    """
    unjournaled = number_journal.first_unjournaled(company)
    if unjournaled < number_journal.first_unissued(company):
        # The process that issued the numbers has died, or is about to journal them. If they cannot
        # be journaled, an incident says so, and the customers before them are sent.
        with suppress(number_journal.JournalUnusable):
            number_journal.append_missing()
        unjournaled = number_journal.first_unjournaled(company)
        move_unjournaled_to_end(company, unjournaled)
    return unjournaled


def move_unjournaled_to_end(company: str, unjournaled: int) -> None:
    """Give customers that are not journaled new change numbers if others come after them.

    Packages end before the first of them, so they must not keep the others from being sent.
    """
    with transaction.atomic():
        customers = fetch_values(
            """SELECT customer.id FROM customer
                WHERE customer.company_id = %(company)s AND customer.number >= %(unjournaled)s
                  AND EXISTS (SELECT FROM customer other
                               WHERE other.company_id = customer.company_id
                                 AND other.change_no > customer.change_no
                                 AND (other.number IS NULL OR other.number < %(unjournaled)s))
                ORDER BY customer.change_no""",
            {"company": company, "unjournaled": unjournaled},
        )
        if customers:
            run_sql(
                """UPDATE customer SET change_no = %(first)s - 1 + moved.position
                     FROM unnest(%(ids)s::bigint[]) WITH ORDINALITY AS moved (id, position)
                    WHERE customer.id = moved.id""",
                {"first": reserve_changes(company, len(customers)), "ids": customers},
            )


def make_package(company: str, position: int, unjournaled: int, run: UUID | None) -> Package | None:
    """Make the next package of the chain, or a shortcut, from the caller's snapshot.

    Return None if all remaining customers have to stay at HQ.
    """
    latest_no, end_of_chain, held_back_from = fetch_one(
        """SELECT company.change_no,
                  (SELECT coalesce(max(to_no), 0) FROM package
                    WHERE company_id = company.code AND NOT is_shortcut),
                  -- Found by their numbers: mostly there is none, and in the order of changes all
                  -- customers would be read to see that.
                  (SELECT min(change_no)
                     FROM (SELECT change_no FROM customer
                            WHERE company_id = company.code AND number >= %(unjournaled)s
                           OFFSET 0) unjournaled)
             FROM company WHERE company.code = %(company)s""",
        {"company": company, "unjournaled": unjournaled},
    )
    is_shortcut = position < end_of_chain and has_changes(company, position, up_to=end_of_chain)
    start = position if is_shortcut else max(position, end_of_chain)
    with (
        prefer_ordered_scan(),
        query_table(
            "packed",
            """SELECT id AS customer_id, change_no FROM customer
                WHERE company_id = %(company)s AND change_no > %(start)s
                  AND (%(end)s::bigint IS NULL OR change_no <= %(end)s)
                  AND (%(held_back_from)s::bigint IS NULL OR change_no < %(held_back_from)s)
                ORDER BY change_no LIMIT %(limit)s""",
            {
                "company": company,
                "start": start,
                "end": end_of_chain if is_shortcut else None,
                "held_back_from": held_back_from,
                "limit": CUSTOMERS_PER_CHUNK,
            },
        ) as packed,
    ):
        if not packed.rows:
            return None
        packed.analyze()
        last = fetch_value("SELECT max(change_no) FROM packed")
        reaches_end = packed.rows < CUSTOMERS_PER_CHUNK and (
            held_back_from is None or held_back_from > end_of_chain
        )
        package = Package(
            company_id=company,
            from_no=start,
            # A complete shortcut ends exactly where the chain does, so that the chain goes on.
            to_no=end_of_chain if is_shortcut and reaches_end else last,
            latest_no=latest_no,
            is_shortcut=is_shortcut,
            customers=packed.rows,
            run_id=run,
        )
        store_package(packed, package)
        return package


def store_package(packed: WorkTable, package: Package) -> None:
    """Save a package with all rows of its customers, which are in the work table `packed`."""
    package.is_all_new = fetch_value(
        """SELECT NOT EXISTS (SELECT FROM packed JOIN customer_change change USING (customer_id)
                               WHERE change.change_no <= %s)""",
        [package.from_no],
    )
    tables = read_tables(packed, is_first=package.is_all_new)
    package.rows = sum(table.rows for table in tables)
    package.size_bytes = sum(len(table.data) for table in tables)
    package.sha256 = digest(tables)
    package.save()
    columns = ("package_id", "name", "position", "rows", "data")
    rows = (as_copy_row(package, position, table) for position, table in enumerate(tables))
    copy_in("package_table", columns, b"".join(rows), binary=False)


def as_copy_row(package: Package, position: int, table: TableData) -> bytes:
    """Return a row of package_table for COPY. Its last value is COPY data itself, so escape it."""
    escaped = table.data.replace(b"\\", rb"\\").replace(b"\t", rb"\t").replace(b"\n", rb"\n")
    columns = f"{package.pk}\t{table.target.table}\t{position}\t{table.rows}\t"
    return columns.encode() + escaped + b"\n"


def digest(tables: Sequence[TableData]) -> str:
    hashed = hashlib.sha256()
    for table in tables:
        hashed.update(table.target.table.encode() + b"\n" + table.data)
    return hashed.hexdigest()


def load_tables(package: Package) -> list[TableData]:
    """Return the rows of a package. Raise PackageDropped if they are gone or damaged."""
    if not Package.objects.available().filter(pk=package.pk).exists():
        raise PackageDropped
    try:
        return list(read_verified(package.pk, package.sha256, package.is_all_new))
    except PackageDropped:
        drop(package)
        raise


@lru_cache(maxsize=1)
def read_verified(package: int, sha256: str, is_all_new: bool) -> tuple[TableData, ...]:
    """Read the rows of a package. Raise PackageDropped if they do not have this digest.

    The latest package stays in memory: a process often sends the same one to many databases.
    """
    rows = fetch(
        "SELECT name, data FROM package_table WHERE package_id = %s ORDER BY position", [package]
    )
    tables = tuple(TableData(TARGETS[name], data.encode(), is_all_new) for name, data in rows)
    if not tables or digest(tables) != sha256:
        raise PackageDropped
    return tables


def drop(package: Package) -> None:
    """Delete the data of a package. A database that still needs it gets another package."""
    with transaction.atomic():
        package.tables.all().delete()
        Package.objects.available().filter(pk=package.pk).update(dropped_at=Now())


def drop_delivered(company: str | None = None) -> None:
    """Delete the data of old packages that every recipient has, and of very old ones.

    This covers the packages of one company, or of all.
    """
    run_sql(
        """WITH dropped AS (
             UPDATE package SET dropped_at = now()
              WHERE package.dropped_at IS NULL
                AND (%(company)s::text IS NULL OR package.company_id = %(company)s)
                AND (package.made_at < now() - %(max_days)s * interval '1 day'
                     OR (package.made_at < now() - %(days)s * interval '1 day'
                         AND NOT EXISTS (
                             SELECT FROM channel_database database
                               JOIN channel ON channel.id = database.channel_id
                              WHERE channel.company_id = package.company_id
                                AND channel.is_enabled AND database.is_enabled
                                AND NOT EXISTS (
                                    SELECT FROM excluded_database excluded
                                     WHERE excluded.database_id = database.id
                                       AND excluded.job = '1010')
                                AND database.position < package.to_no)
                         -- Nor is it to be sent once more to a database that already has it.
                         AND NOT EXISTS (
                             SELECT FROM download_session session
                               JOIN channel_database database ON database.id = session.database_id
                              WHERE session.package_id = package.id
                                AND session.status = ANY(%(open)s)
                                AND database.position >= package.to_no)))
             RETURNING package.id)
           DELETE FROM package_table USING dropped WHERE package_table.package_id = dropped.id""",
        {
            "company": company,
            "open": [status.value for status in OPEN_DOWNLOADS],
            "days": parameter(ParameterName.PACKAGE_DAYS),
            "max_days": parameter(ParameterName.PACKAGE_MAX_DAYS),
        },
    )
