"""Packages: what changed of a company's customers in a range of change numbers, made once for all.

Packages follow each other without a gap, each beginning where the one before ends: a chain that all
databases of the company follow. One that stands elsewhere, or far back behind many small packages,
is made a shortcut, which leads to the end of the chain.
"""

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import chain
from uuid import UUID

from django.conf import settings
from django.db import transaction

from stores.channeldb.exchange.protocol import TableData
from stores.failpoints import failpoint
from stores.hqdb.sql import copy_in, fetch, fetch_one, prefer_ordered_scan, run_sql
from stores.hqdb.work_table import WorkTable, query_table
from stores.models import Package
from stores.models.session import OPEN_DOWNLOADS
from stores.pipeline import number_journal
from stores.pipeline.changes import reserve_changes
from stores.pipeline.chunk_sizes import CUSTOMERS_PER_CHUNK
from stores.pipeline.download.outbound import TARGETS, read_tables

# Behind more packages than these, a database gets one for itself instead.
MAX_PACKAGES_AHEAD = 10


class PackageDropped(Exception):
    """The data of the package is no longer there."""


def package_for(company: str, position: int, run: UUID | None) -> Package | None:
    """The next package for databases at a position; made if there is none. None: nothing to send.

    Effects: a package, and packages whose time is over dropped, committed at once.
    """
    if is_up_to_date(company, position):
        return None
    if found := find_package(company, position):
        return found
    journaled = first_unjournaled(company)
    with transaction.atomic():
        run_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        # What the transaction sees begins after this lock: also what others have made meanwhile.
        run_sql("LOCK TABLE package IN SHARE ROW EXCLUSIVE MODE")
        drop_delivered(company)
        if found := find_package(company, position):
            return found
        package = make_package(company, position, journaled, run)
        failpoint("download:before_package")
        return package


def is_up_to_date(company: str, position: int) -> bool:
    (is_behind,) = fetch_one(
        "SELECT EXISTS (SELECT FROM customer WHERE company_id = %s AND change_no > %s)",
        [company, position],
    )
    return not is_behind


def find_package(company: str, position: int) -> Package | None:
    """The package that leads furthest of those that hold all that follows a position.

    It may begin beyond the position if nothing lies between. None also if it is a detour.
    """
    found = fetch(
        """SELECT p.id FROM package p
            WHERE p.company_id = %(company)s AND p.dropped_at IS NULL
              AND p.from_no >= %(position)s
              AND p.from_no < (SELECT min(k.change_no) FROM customer k
                                WHERE k.company_id = %(company)s AND k.change_no > %(position)s)
            ORDER BY p.to_no DESC LIMIT 1""",
        {"company": company, "position": position},
    )
    package = Package.objects.get(pk=found[0][0]) if found else None
    return None if package and is_detour(package) else package


def is_detour(package: Package) -> bool:
    """Whether so many small packages follow that one for all of them is better."""
    following = Package.objects.chain().filter(company=package.company, from_no__gte=package.to_no)
    is_small = package.customers < CUSTOMERS_PER_CHUNK / 2
    return is_small and following[MAX_PACKAGES_AHEAD:].exists()


def first_unjournaled(company: str) -> int:
    """The first account number that may not leave HQ yet: HQ could forget it."""
    journaled = number_journal.first_unjournaled(company)
    if journaled < number_journal.first_unissued(company):
        # Somebody died between issuing them and writing them down, or is about to do so. If they
        # cannot be written down, an incident says so, and what has its number goes on.
        with suppress(number_journal.JournalUnusable):
            number_journal.append_missing()
        journaled = number_journal.first_unjournaled(company)
        move_unjournaled_behind(company, journaled)
    return journaled


def move_unjournaled_behind(company: str, journaled: int) -> None:
    """Give customers who may not leave HQ yet the latest change numbers, behind those who may."""
    with transaction.atomic():
        held_back = fetch(
            """SELECT k.id FROM customer k
                WHERE k.company_id = %(company)s AND k.number >= %(journaled)s
                  AND EXISTS (SELECT FROM customer o
                               WHERE o.company_id = k.company_id AND o.change_no > k.change_no
                                 AND (o.number IS NULL OR o.number < %(journaled)s))
                ORDER BY k.change_no""",
            {"company": company, "journaled": journaled},
        )
        if held_back:
            run_sql(
                """UPDATE customer k SET change_no = %(first)s - 1 + moved.turn
                     FROM unnest(%(ids)s::bigint[]) WITH ORDINALITY moved (id, turn)
                    WHERE k.id = moved.id""",
                {
                    "first": reserve_changes(company, len(held_back)),
                    "ids": [customer for (customer,) in held_back],
                },
            )


def make_package(company: str, position: int, journaled: int, run: UUID | None) -> Package | None:
    """Make the next package of the chain, or a shortcut to its end, in the caller's snapshot.

    None if all that is left may not leave HQ yet.
    """
    latest_no, end, held_back = fetch_one(
        """SELECT o.change_no,
                  (SELECT coalesce(max(to_no), 0) FROM package
                    WHERE company_id = o.code AND NOT is_shortcut),
                  (SELECT min(k.change_no) FROM customer k
                    WHERE k.company_id = o.code AND k.number >= %(journaled)s)
             FROM company o WHERE o.code = %(company)s""",
        {"company": company, "journaled": journaled},
    )
    is_shortcut = position < end and not is_between_empty(company, position, end)
    start = position if is_shortcut or position > end else end
    with (
        prefer_ordered_scan(),
        query_table(
            "packed",
            """SELECT id AS customer_id, change_no FROM customer
            WHERE company_id = %(company)s AND change_no > %(start)s
              AND (%(end)s::bigint IS NULL OR change_no <= %(end)s)
              AND (%(held_back)s::bigint IS NULL OR change_no < %(held_back)s)
            ORDER BY change_no LIMIT %(limit)s""",
            {
                "company": company,
                "start": start,
                "end": end if is_shortcut else None,
                "held_back": held_back,
                "limit": CUSTOMERS_PER_CHUNK,
            },
        ) as packed,
    ):
        if not packed.rows:
            return None
        packed.analyze()
        (last,) = fetch_one("SELECT max(change_no) FROM packed")
        is_rest = packed.rows < CUSTOMERS_PER_CHUNK and (held_back is None or held_back > end)
        return store_package(
            packed,
            Package(
                company_id=company,
                from_no=start,
                # A shortcut joins the chain where that ends.
                to_no=end if is_shortcut and is_rest else last,
                latest_no=latest_no,
                is_shortcut=is_shortcut,
                customers=packed.rows,
                run_id=run,
            ),
        )


def is_between_empty(company: str, position: int, end: int) -> bool:
    (is_empty,) = fetch_one(
        """SELECT NOT EXISTS (SELECT FROM customer
                               WHERE company_id = %s AND change_no > %s AND change_no <= %s)""",
        [company, position, end],
    )
    return bool(is_empty)


def store_package(packed: WorkTable, package: Package) -> Package:
    """Read what belongs to the customers, and store it."""
    (package.is_all_new,) = fetch_one(
        """SELECT NOT EXISTS (SELECT FROM packed JOIN customer_change c USING (customer_id)
                               WHERE c.change_no <= %s)""",
        [package.from_no],
    )
    tables = read_tables(packed, is_first=package.is_all_new)
    package.rows = sum(table.rows for table in tables)
    package.size_bytes = sum(len(table.data) for table in tables)
    package.sha256 = digest(tables)
    package.save()
    lines = chain.from_iterable(
        (
            f"{package.pk}\t{table.target.table}\t{place}\t{table.rows}\t".encode(),
            # COPY data as a value of COPY data.
            table.data.replace(b"\\", rb"\\").replace(b"\t", rb"\t").replace(b"\n", rb"\n"),
            b"\n",
        )
        for place, table in enumerate(tables)
    )
    columns = ("package_id", "name", "position", "rows", "data")
    copy_in("package_table", columns, b"".join(lines), binary=False)
    return package


def digest(tables: Sequence[TableData]) -> str:
    hashed = hashlib.sha256()
    for table in tables:
        hashed.update(table.target.table.encode() + b"\n" + table.data)
    return hashed.hexdigest()


def load_tables(package: Package) -> list[TableData]:
    """The rows of a package. Errors: PackageDropped, also when they are not what was stored."""
    if not Package.objects.available().filter(pk=package.pk).exists():
        raise PackageDropped
    try:
        return list(read_verified(package.pk, package.sha256, package.is_all_new))
    except PackageDropped:
        drop(package)
        raise


@lru_cache(maxsize=1)
def read_verified(package: int, sha256: str, is_all_new: bool) -> tuple[TableData, ...]:
    """The rows of a package with this digest. Errors: PackageDropped.

    The latest one stays in memory: a process often sends the same one to many databases.
    """
    rows = fetch(
        "SELECT name, data FROM package_table WHERE package_id = %s ORDER BY position", [package]
    )
    tables = tuple(TableData(TARGETS[name], data.encode(), is_all_new) for name, data in rows)
    if not tables or digest(tables) != sha256:
        raise PackageDropped
    return tables


def drop(package: Package) -> None:
    """Drop the data of a package; who still needs it gets another one."""
    with transaction.atomic():
        package.tables.all().delete()
        run_sql(
            "UPDATE package SET dropped_at = now() WHERE id = %s AND dropped_at IS NULL",
            [package.pk],
        )


def drop_delivered(company: str | None = None) -> None:
    """Drop the data of packages that every enabled database has, or that are very old.

    Of all companies, unless one is given.
    """
    run_sql(
        """WITH dropped AS (
             UPDATE package p SET dropped_at = now()
              WHERE p.dropped_at IS NULL
                AND (%(company)s::text IS NULL OR p.company_id = %(company)s)
                AND (p.made_at < now() - %(days)s * interval '1 day'
                     AND NOT EXISTS (SELECT FROM channel_database b
                                       JOIN channel h ON h.id = b.channel_id
                                      WHERE h.company_id = p.company_id AND h.is_enabled
                                        AND b.is_enabled AND b.position < p.to_no)
                     -- Nor is it to be sent again.
                     AND NOT EXISTS (SELECT FROM download_session s
                                       JOIN channel_database b ON b.id = s.database_id
                                      WHERE s.package_id = p.id AND s.status = ANY(%(open)s)
                                        AND b.position >= p.to_no)
                     OR p.made_at < now() - %(most)s * interval '1 day')
             RETURNING p.id)
           DELETE FROM package_table t USING dropped WHERE t.package_id = dropped.id""",
        {
            "company": company,
            "open": [status.value for status in OPEN_DOWNLOADS],
            "days": settings.PACKAGE_DAYS,
            "most": settings.PACKAGE_MAX_DAYS,
        },
    )
