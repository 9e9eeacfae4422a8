"""The number journal: a file of all issued numbers, which shows when HQ was restored from a backup.

The first line identifies the journal. Each other line is either an account number, with company,
number, GUID, account, channel and time; or a *height*, the last number of a series of documents
(orders or invoices), with company, series, number, its text and time. The fields are separated by
tabs, and a checksum ends the line. Lines are appended and synced after the commit that issued the
numbers, and only numbers that are in the journal leave HQ. The database saves how far it has read
the file, so that each time only new lines are read.

If the journal has numbers that the database does not know, HQ was restored from an older backup.
HQ also compares the server and database that it runs on, because a backup may be restored
elsewhere. Source: reliability 3.7, ADR 0010.
"""

import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from hashlib import sha256
from pathlib import Path
from typing import IO, Any
from uuid import UUID, uuid4

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now
from psycopg2 import sql

from stores.failpoints import failpoint
from stores.hqdb.sql import (
    batched,
    copy_in,
    copy_out_text,
    fetch,
    fetch_one,
    fetch_value,
    lock_until_commit,
)
from stores.hqdb.work_table import WorkTable, empty_table, session_table
from stores.messages.message import Message
from stores.models import ChannelDatabase, Headquarters, Incident, NumberJournal
from stores.models.incident import IncidentKind
from stores.models.run import StepFailed
from stores.pipeline.chunk_sizes import EVENTS_PER_CHUNK

FILE_NAME = "numbers.journal"
TITLE_LINE = re.compile(rb"# syncline number journal ([0-9a-f-]{36})\n")
# The length of a checksum and the end of the line.
ENDING = 17
# How many fields a line has before its checksum: that of an account number, and that of a height.
NUMBER_FIELDS, HEIGHT_FIELDS = 6, 5
MAX_REPORTED_NUMBERS = 100
# The message that names the highest number of a series.
NUMBERS_UP_TO = {"order": "order_numbers_up_to", "invoice": "invoice_numbers_up_to"}
COLUMNS = ("company", "number", "guid", "account", "channel")
HEIGHT_COLUMNS = ("company", "series", "number")
NUMBER_TABLE = "company text, number bigint, guid uuid, account text, channel text"
HEIGHT_TABLE = "company text, series text, number bigint"
UNKNOWN_NUMBERS = """
    SELECT count(*) OVER (), issued.company, issued.number, issued.account FROM {numbers} issued
     WHERE NOT EXISTS (
           SELECT FROM customer
            WHERE customer.company_id = issued.company AND customer.number = issued.number
              AND customer.account_number = issued.account
              AND (issued.guid IS NULL
                   OR EXISTS (SELECT FROM guid_map guid
                               WHERE guid.async_account = issued.guid
                                 AND guid.customer_id = customer.id)))
     ORDER BY issued.company, issued.number LIMIT %s"""
# The first number of each company that the journal does not have, if all of it was loaded.
FIRST_UNLOADED = """
    WITH lacking AS (
      SELECT company_id, min(number) AS number FROM customer
       WHERE number IS NOT NULL
         AND NOT EXISTS (SELECT FROM {numbers} issued
                          WHERE issued.company = customer.company_id
                            AND issued.number = customer.number)
       GROUP BY company_id)
    SELECT company_id, coalesce(lacking.number, sequence.next)
      FROM number_sequence sequence FULL JOIN lacking USING (company_id)"""
# Series of documents of which the journal has a higher number than the database.
HIGHER_HEIGHTS = """
    SELECT company, series, max(height.number), coalesce(max(issued.number), 0)
      FROM {heights} height LEFT JOIN issued_document issued USING (company, series)
     GROUP BY 1, 2 HAVING max(height.number) > coalesce(max(issued.number), 0) ORDER BY 1, 2"""
LOADED_HEIGHTS = """
    SELECT company, json_object_agg(series, number)
      FROM (SELECT company, series, max(number) AS number FROM {heights} GROUP BY 1, 2) height
     GROUP BY 1"""
AFTER_LOADED = "SELECT company, max(number) + 1 FROM {numbers} GROUP BY company"
MISSING_NUMBERS = r"""
    SELECT company, number, guid, account, channel, at,
           left(encode(sha256(convert_to(concat_ws(E'\t', company, number, guid, account, channel,
                                                   at), 'UTF8')), 'hex'), 16)
      FROM (SELECT customer.company_id AS company, customer.number::text,
                   coalesce(guid.async_account::text, '-') AS guid,
                   customer.account_number AS account, coalesce(channel.code, '-') AS channel,
                   to_char(customer.created_at, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS at
              FROM customer
              -- One by one, however few rows the statistics expect.
              LEFT JOIN LATERAL (
                   SELECT async_account, channel_id FROM guid_map
                    WHERE customer_id = customer.id AND origin = 'created' OFFSET 0) guid ON true
              LEFT JOIN channel ON channel.id = guid.channel_id
             WHERE customer.company_id = {company}
               AND customer.number >= {first} AND customer.number < {following}
             ORDER BY customer.number) issued"""
# The heights that are above those in the journal.
MISSING_HEIGHTS = r"""
    SELECT company, series, number, text, at,
           left(encode(sha256(convert_to(concat_ws(E'\t', company, series, number, text, at),
                                         'UTF8')), 'hex'), 16)
      FROM (SELECT company, series, number::text, format_number(format, number) AS text,
                   to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS at
              FROM issued_document
             WHERE number > coalesce(({known}::jsonb -> company ->> series)::bigint, 0)
             ORDER BY 1, 2) issued"""


@dataclass(frozen=True)
class LoadedJournal:
    """Work tables of the account numbers and heights in the journal."""

    numbers: WorkTable
    heights: WorkTable

    @property
    def names(self) -> dict[str, sql.Identifier]:
        return {"numbers": self.numbers, "heights": self.heights}


class JournalUnusable(StepFailed):
    """The number journal cannot be read or written, so that no number may be issued."""


def check_journal() -> None:
    """Raise StepFailed, and report an incident, if HQ has lost numbers. Complete the journal."""
    problem = check_server() or append_missing()
    if problem:
        raise StepFailed(problem)


def append_missing() -> Message | None:
    """Append the missing numbers to the journal. Return a message if HQ has lost numbers.

    The file is synced before HQ commits how far it has read it. Raise JournalUnusable, and report
    an incident, if the file cannot be read or written.
    """
    failpoint("journal:before_append")
    try:
        with transaction.atomic():
            with open_journal() as (known, file):
                problem = catch_up(known, file)
                if problem is None:
                    append_lines(known, file)
            failpoint("journal:before_commit")
    except OSError as error:
        raise JournalUnusable(report_unusable(error)) from None
    failpoint("journal:after_commit")
    unusable = Incident.objects.filter(kind=IncidentKind.JOURNAL_UNUSABLE)
    unusable.close("The number journal can be written again.")
    return problem


@contextmanager
def loaded() -> Iterator[LoadedJournal]:
    """Load all lines of the journal into work tables."""
    with (
        session_table("issued_number", NUMBER_TABLE) as numbers,
        session_table("issued_height", HEIGHT_TABLE) as heights,
    ):
        journal = LoadedJournal(numbers, heights)
        if journal_path().exists():
            with journal_path().open("rb") as file:
                load(file, journal)
        yield journal


def first_unjournaled(company: str) -> int:
    """Return the first account number that is not in the journal."""
    following = fetch_value(
        """SELECT coalesce(max((following ->> %s)::bigint),
                           (SELECT start FROM number_sequence WHERE company_id = %s), 0)
             FROM number_journal""",
        [company, company],
    )
    return int(following)


def first_unissued(company: str) -> int:
    rows = fetch("SELECT next FROM number_sequence WHERE company_id = %s", [company])
    return int(rows[0][0]) if rows else 0


def journal_path() -> Path:
    return Path(settings.NUMBER_JOURNAL_DIR) / FILE_NAME


@contextmanager
def open_journal() -> Iterator[tuple[NumberJournal, IO[bytes]]]:
    """Open the journal, or create it, with HQ's row about it. Others wait until the commit."""
    lock_until_commit("number_journal")
    path = journal_path()
    if not path.exists():
        create_journal(path)
    with path.open("rb") as file:
        title = TITLE_LINE.fullmatch(file.readline())
        if title is None:
            raise StepFailed(Message("journal_damaged"))
        known, _ = NumberJournal.objects.get_or_create(pk=UUID(title[1].decode()))
        yield known, file


def create_journal(path: Path) -> None:
    """Create an empty journal with a new id. A crash leaves no incomplete file."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    with fresh.open("wb") as file:
        file.write(f"# syncline number journal {uuid4()}\n".encode())
        sync_file(file)
    fresh.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def sync_file(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def catch_up(known: NumberJournal, file: IO[bytes]) -> Message | None:
    """Compare the lines that HQ has not read yet with the database, and update `known`.

    All lines are compared if the file is new to HQ, or was cut or replaced; mostly there are none.
    Return a message, and report an incident, if the database does not know a number.
    """
    beginning = file.tell()
    loads_all = not skip_known_lines(known, file)
    if loads_all:
        known.following, known.heights = {}, {}
        file.seek(beginning)
    elif file.tell() == os.fstat(file.fileno()).st_size:
        return None
    with (
        empty_table("issued_number", NUMBER_TABLE) as numbers,
        empty_table("issued_height", HEIGHT_TABLE) as heights,
    ):
        journal = LoadedJournal(numbers, heights)
        load(file, journal)
        if not (problem := report_forgotten(journal)):
            following = FIRST_UNLOADED if loads_all else AFTER_LOADED
            known.following |= dict(fetch(following, **journal.names))
            for company, highest in fetch(LOADED_HEIGHTS, **journal.names):
                known.heights[company] = known.heights.get(company, {}) | highest
    return problem


def load(file: IO[bytes], journal: LoadedJournal) -> None:
    """Copy the rest of the file into the work tables."""
    for lines in batched(filter(None, map(parse, file)), EVENTS_PER_CHUNK):
        numbers = (as_copy_row(fields) for fields in lines if len(fields) == NUMBER_FIELDS)
        copy_in(journal.numbers.name, COLUMNS, b"".join(numbers), binary=False)
        heights = (
            b"\t".join(fields[:3]) + b"\n" for fields in lines if len(fields) == HEIGHT_FIELDS
        )
        copy_in(journal.heights.name, HEIGHT_COLUMNS, b"".join(heights), binary=False)


def parse(line: bytes) -> list[bytes] | None:
    """Return the fields of a line, or None if it is incomplete because its writer has died."""
    text, _, checksum = line.rstrip(b"\n").rpartition(b"\t")
    fields = text.split(b"\t")
    is_whole = sha256(text).hexdigest()[:16].encode() == checksum
    return fields if is_whole and len(fields) in (NUMBER_FIELDS, HEIGHT_FIELDS) else None


def as_copy_row(fields: Sequence[bytes]) -> bytes:
    """Return an account number as COPY data. A void one has neither GUID nor channel."""
    company, number, guid, account, channel, _ = fields
    guid, channel = (rb"\N" if value == b"-" else value for value in (guid, channel))
    return b"\t".join([company, number, guid, account, channel]) + b"\n"


def skip_known_lines(known: NumberJournal, file: IO[bytes]) -> bool:
    """Move to the end of the lines that HQ has read. Return False if these are not there."""
    if not known.size:
        return False
    file.seek(known.size - ENDING)
    return file.read(ENDING) == known.last_hash.encode() + b"\n"


def append_lines(known: NumberJournal, file: IO[bytes]) -> None:
    """Append the numbers that the file lacks, and save in `known` how far HQ has read it.

    `next` is read before the numbers below it, so that none is left out.
    """
    limits: dict[str, int] = dict(
        fetch("SELECT company_id, next FROM number_sequence WHERE next > start")
    )
    data = b""
    for company, following in limits.items():
        first = known.following.get(company, 0)
        if first < following:
            data += copy_out_text(
                MISSING_NUMBERS,
                company=sql.Literal(company),
                first=sql.Literal(first),
                following=sql.Literal(following),
            )
    heights = fetch(
        """SELECT company, json_object_agg(series, number) FROM issued_document
            WHERE number > 0 GROUP BY 1"""
    )
    data += copy_out_text(MISSING_HEIGHTS, known=sql.Literal(json.dumps(known.heights)))
    if data:
        # A writer may have died in the middle of a line.
        append_data(data if ends_a_line(file) else b"\n" + data)
    known.size = file.seek(0, os.SEEK_END)
    file.seek(known.size - ENDING)
    known.last_hash = file.read(ENDING - 1).decode("ascii", "replace")
    known.following |= limits
    known.heights |= dict(heights)
    known.save(update_fields=["size", "last_hash", "following", "heights"])


def append_data(data: bytes) -> None:
    """Append to the file and sync it. Appending cannot overwrite what another process wrote."""
    with journal_path().open("ab", buffering=0) as end:
        rest = memoryview(data)
        while rest:
            rest = rest[end.write(rest) :]
        os.fsync(end.fileno())


def ends_a_line(file: IO[bytes]) -> bool:
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"


def report_unusable(error: OSError) -> Message:
    """Report that the journal cannot be written, with the system's words. Return the message."""
    incident = Incident.objects.report(
        IncidentKind.JOURNAL_UNUSABLE,
        Message("journal_unusable", error=str(error.strerror)),
        subject="journal",
        detail={"folder": str(journal_path().parent)},
    )
    return incident.message


def report_forgotten(journal: LoadedJournal) -> Message | None:
    """Report the numbers that the database does not know. Return the message, if there are any."""
    rows = fetch(UNKNOWN_NUMBERS, [MAX_REPORTED_NUMBERS], **journal.names)
    higher = fetch(HIGHER_HEIGHTS, **journal.names)
    if not rows and not higher:
        return None
    count = rows[0][0] if rows else 0
    unknown = [Message("account_numbers", count=count)] if rows else []
    unknown += [
        number_up_to(series, str(highest), company) for company, series, highest, _ in higher
    ]
    detail: dict[str, Any] = {"count": count, "first": [f"{row[1]} {row[3]}" for row in rows]}
    if higher:
        detail["documents"] = [
            {"company": company, "series": series, "journal": highest, "headquarters": known}
            for company, series, highest, known in higher
        ]
    incident = Incident.objects.report(
        IncidentKind.HQ_BEHIND,
        Message("journal_ahead", numbers=reduce(both, unknown)),
        subject="journal",
        detail=detail,
    )
    return incident.message


def number_up_to(series: str, number: str, company: str) -> Message:
    """Name the highest number of a series; a newer release may have written one more."""
    if code := NUMBERS_UP_TO.get(series):
        return Message(code, number=number, company=company)
    return Message("numbers_up_to", series=series, number=number, company=company)


def both(first: Message, second: Message) -> Message:
    return Message("both", first=first, second=second)


def check_server() -> Message | None:
    """Compare the server and database with those on which HQ last issued numbers.

    Return a message if they differ, until every enabled channel was visited and agrees, or a
    person has closed the incident. The incident is opened and closed here.
    """
    here = server_identity()
    known, is_first = Headquarters.objects.get_or_create(pk=1, defaults={"identity": here})
    moved = Incident.objects.filter(kind=IncidentKind.HQ_MOVED, opened_at__gt=known.noted_at)
    reported = moved.filter(detail__now=here).newest_first()
    if is_first or (known.identity == here and not reported.open().exists()):
        return None
    incident = reported.first() or report_moved(known.identity, here)
    if incident.closed_at is None:
        if missing := not_visited_since(incident):
            return incident.message + Message("not_visited_since", channels=missing[:5])
        incident.close("Every enabled channel has been visited since and agrees with headquarters.")
    Headquarters.objects.filter(pk=1).update(identity=here, noted_at=Now())
    return None


def report_moved(before: Any, now: Any) -> Incident:
    return Incident.objects.report(
        IncidentKind.HQ_MOVED,
        Message("hq_moved"),
        detail={"before": before, "now": now},
    )


def not_visited_since(incident: Incident) -> list[str]:
    late = Q(fenced_at__isnull=True) | Q(fenced_at__lt=incident.opened_at)
    return [
        database.label for database in ChannelDatabase.objects.enabled().with_channel().filter(late)
    ]


def server_identity() -> dict[str, Any]:
    """Return what identifies HQ's server and database.

    This is the database's oid, and the cluster's identifier and timeline if the role may read them.
    A promoted standby has another timeline, a restored dump another oid.
    """
    oid = fetch_value("SELECT oid::bigint FROM pg_database WHERE datname = current_database()")
    may_read = fetch_value(
        """SELECT has_function_privilege('pg_control_system()', 'execute')
              AND has_function_privilege('pg_control_checkpoint()', 'execute')"""
    )
    facts = {"database": oid}
    if may_read:
        (system, timeline) = fetch_one(
            """SELECT system_identifier::text, timeline_id
                 FROM pg_control_system(), pg_control_checkpoint()"""
        )
        facts |= {"system": system, "timeline": timeline}
    return facts
