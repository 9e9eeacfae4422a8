"""1010: HQ customers -> channel.

Each database is sent what it is owed, and HQ notes it as delivered only after the channel
committed. A crash in between sends the same versions once more, which changes nothing.

Some databases of a company are open side by side, each in a thread of its own: what they lack alike
is read once, and while they write one part HQ reads the next.
"""

import time
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from itertools import groupby
from queue import Queue

from django.db.models import F
from django.db.models.functions import Now

from stores.channeldb.connect.connection import ChannelError
from stores.channeldb.exchange import copy
from stores.channeldb.exchange.protocol import Package
from stores.failpoints import failpoint
from stores.hqdb.retry import bisect_rows, self_committing
from stores.hqdb.sql import batched, fetch, fetch_one, run_sql
from stores.hqdb.threads import WorkerThread, join_all
from stores.models import DownloadSession, RunStep
from stores.models.run import RunCancelled, RunStatus
from stores.models.session import DownloadStatus
from stores.models.step import StepReleased
from stores.pipeline.download.packages import Part, read_parts
from stores.pipeline.fence.visit import Entered, enter
from stores.pipeline.refusals import tell_refused

JOB = "1010"
# So many databases are open at the same time.
SIDE_BY_SIDE = 8
# Without anything to send, a worker looks for other work after so many seconds.
PATIENCE_S = 1
LOOK_AGAIN_S = 0.1


def download_accounts(steps: list[RunStep]) -> None:
    """Give the channel databases of a group the customers they are owed, oldest account first.

    While the run still converts customers of theirs it waits for more. Effects: the channels'
    tables, a part a transaction, then deliveries and counts in HQ. Trouble with one database is
    that step's outcome; it stays owed the rest.
    """
    begun = time.monotonic()
    while True:
        more_may_come = any(step.upstream_is_live for step in steps)
        lacking = owed(steps)
        for some in side_by_side(lacking):
            send(some)
        if not more_may_come:
            return
        if not lacking and time.monotonic() - begun > PATIENCE_S:
            raise StepReleased
        if not lacking:
            time.sleep(LOOK_AGAIN_S)


def owed(steps: list[RunStep]) -> list[RunStep]:
    """Those steps whose database lacks a customer in its present version."""
    found = fetch(
        """SELECT b.id FROM unnest(%s) b (id)
            WHERE EXISTS (SELECT FROM delivery d
                           WHERE d.database_id = b.id AND d.delivered_version < d.version)""",
        [[step.database_id for step in steps]],
    )
    lacking = {database for (database,) in found}
    return [
        step for step in steps if step.status == RunStatus.RUNNING and step.database_id in lacking
    ]


def side_by_side(steps: Sequence[RunStep]) -> Iterator[list[RunStep]]:
    """The steps by company, so many at a time as are open together; dry ones are only counted."""
    for step in steps:
        if step.is_dry:
            with step.chunk():
                step.add(distributed=count_owed(step))
    wet = [step for step in steps if not step.is_dry]
    for _, alike in groupby(sorted(wet, key=company_of), key=company_of):
        yield from batched(alike, SIDE_BY_SIDE)


def company_of(step: RunStep) -> str:
    return step.its_database.channel.company_id


def count_owed(step: RunStep) -> int:
    """How many customers the database lacks in their present version."""
    (owed,) = fetch_one(
        "SELECT count(*) FROM delivery WHERE database_id = %s AND delivered_version < version",
        [step.database_id],
    )
    return int(owed)


def send(steps: list[RunStep]) -> None:
    """Send databases of one company all that they are owed, in the order of the customers' ids."""
    receivers = {step.its_database.pk: Receiver(step) for step in steps}
    is_left_off = True
    try:
        for receiver in receivers.values():
            receiver.start()
        feed(receivers, company_of(steps[0]))
        is_left_off = False
    finally:
        for receiver in receivers.values():
            receiver.is_left_off = is_left_off
        join_all([receiver for receiver in receivers.values() if receiver.ident])
    for receiver in receivers.values():
        if receiver.error:
            raise receiver.error


def feed(receivers: "dict[int, Receiver]", company: str) -> None:
    """Give part after part to those that lack it, until none is left or HQ is in trouble."""
    forms = {database: receiver.takes_copy.result() for database, receiver in receivers.items()}
    beyond = 0
    while not any(receiver.error for receiver in receivers.values()):
        takers = {
            database: takes_copy
            for database, takes_copy in forms.items()
            if takes_copy is not None and not receivers[database].is_over
        }
        parts = read_parts(company, takers, beyond) if takers else {}
        if not parts:
            return
        beyond = max(part.customers[-1] for part in parts.values())
        for database, part in parts.items():
            receivers[database].parts.put(part)


class Receiver(WorkerThread):
    """One channel database that is sent part after part, as they are put into `parts`; None ends.

    `takes_copy` is known once the channel is open; None if it cannot be. Trouble with the channel
    is recorded at its step, and `error` is any other. `is_left_off`: some parts were never read.
    """

    def __init__(self, step: RunStep) -> None:
        super().__init__(f"{JOB} {step.place}", step.worker)
        self.step = step
        # One waits while another is written; who reads faster waits too.
        self.parts: Queue[Part | None] = Queue(maxsize=1)
        self.takes_copy: Future[bool | None] = Future()
        self.is_over = self.is_left_off = self.has_all = False
        self.part = 0
        # Customers that the channel does not take, by id, and what it said.
        self.refused: dict[int, str] = {}

    def work(self) -> None:
        self.step.check_stop()
        self.receive()

    def leave(self) -> None:
        """Take what is still put: nobody may wait to put what nobody takes."""
        self.is_over = True
        if not self.takes_copy.done():
            self.takes_copy.set_result(None)
        while not self.has_all:
            self.next_part()

    def put_the_end(self) -> None:
        self.parts.put(None)

    def next_part(self) -> Part | None:
        part = self.parts.get()
        self.has_all = part is None
        return part

    def receive(self) -> None:
        """Open the channel and write what comes; trouble with it is recorded at its step."""
        session = DownloadSession.objects.create(
            run=self.step.run, database=self.step.its_database, status=DownloadStatus.AVAILABLE
        )
        try:
            with enter(self.step) as channel:
                self.takes_copy.set_result(channel.takes_copy)
                for part in iter(self.next_part, None):
                    self.write(channel, session, part)
            with self.step.chunk(may_stop=False):
                tell_refused("customers", self.refused, database=self.step.its_database)
        except Exception as error:
            end_badly(session, error)
            if not isinstance(error, ChannelError):
                raise
            self.step.finish(RunStatus.FAILED, str(error))
        else:
            left_off, whole = DownloadStatus.DOWNLOAD_FAILED, DownloadStatus.APPLIED
            DownloadSession.objects.filter(pk=session.pk).update(
                status=left_off if self.is_left_off else whole, applied_at=Now()
            )

    def write(self, channel: Entered, session: DownloadSession, part: Part) -> None:
        """Write one part into the channel, but for customers that it refuses: they stay owed."""
        _, refused = bisect_rows(
            lambda some: self.write_some(
                channel, session, part if some is None else only(part, some)
            ),
            lambda: part.customers,
            attempt=self_committing,
        )
        if refused:
            self.refused |= refused
            with self.step.chunk(may_stop=False):
                self.step.add(failed=len(refused))

    def write_some(self, channel: Entered, session: DownloadSession, part: Part) -> None:
        """Write a part, all or none; note it as delivered once the channel has committed."""
        packages = part.packages[channel.takes_copy]
        self.part += 1
        self.step.check_stop()
        rows = channel.apply(packages, session=session.pk, part=self.part, job=JOB)
        failpoint("download:after_channel_commit")
        with self.step.chunk(may_stop=False):
            delivered = mark_delivered(self.step, session, part)
            self.step.add(distributed=delivered)
            DownloadSession.objects.filter(pk=session.pk).update(
                status=DownloadStatus.DOWNLOADED,
                parts=self.part,
                customers=F("customers") + delivered,
                rows=F("rows") + rows,
                size_bytes=F("size_bytes") + sum(package.size for package in packages),
            )
            failpoint("download:before_delivered")
        failpoint("download:after_delivered")


def only(part: Part, customers: Sequence[int]) -> Part:
    """Some customers of a part, with all that is theirs."""
    accounts = {
        account
        for (account,) in fetch(
            "SELECT account_number FROM customer WHERE id = ANY(%s)", [list(customers)]
        )
    }
    chosen = set(customers)
    versions = dict(zip(part.customers, part.versions, strict=True))
    return Part(
        [customer for customer in part.customers if customer in chosen],
        [versions[customer] for customer in part.customers if customer in chosen],
        {
            as_copy: [only_rows(package, accounts, as_copy=as_copy) for package in packages]
            for as_copy, packages in part.packages.items()
        },
    )


def only_rows(package: Package, accounts: Collection[str], *, as_copy: bool) -> Package:
    """The rows of a package that belong to some accounts of its company."""
    place = package.target.columns.index("account_number")
    if not as_copy:
        return replace(package, rows=[row for row in package.rows if row[place] in accounts])
    rows = [
        row
        for row in copy.split_rows(package.data, binary=True)
        if copy.row_values(row, package.target.types, binary=True)[place] in accounts
    ]
    return replace(package, data=copy.join_rows(rows, binary=True))


def end_badly(session: DownloadSession, error: Exception) -> None:
    """Say at the session why it ended early; the database stays owed the rest."""
    stopped = isinstance(error, RunCancelled)
    session.status = DownloadStatus.CANCELED if stopped else DownloadStatus.DOWNLOAD_FAILED
    # A driver's own text may quote a row.
    session.message = str(error)[:300] if isinstance(error, ChannelError) else ""
    session.save(update_fields=["status", "message"])


# Earlier deliveries that are kept of a customer in a database.
MOST_REMEMBERED = 20


def mark_delivered(step: RunStep, session: DownloadSession, part: Part) -> int:
    """Note what the channel has committed. Returns customers."""
    return run_sql(
        """UPDATE delivery d
              SET delivered_version = given.version, version = greatest(d.version, given.version),
                  delivered_at = now(), session_id = %(session)s,
                  -- The first stays; of the later ones the newest.
                  earlier = CASE WHEN d.delivered_at IS NOT NULL THEN
                      CASE WHEN jsonb_array_length(d.earlier) >= %(most)s THEN d.earlier - 1
                           ELSE coalesce(d.earlier, '[]') END
                      || jsonb_build_array(
                             jsonb_build_array(d.delivered_version, d.delivered_at, d.session_id))
                  END
             FROM unnest(%(customers)s::bigint[], %(versions)s::bigint[])
                  AS given (customer_id, version)
            WHERE d.database_id = %(database)s AND d.customer_id = given.customer_id
              AND d.customer_id BETWEEN %(first)s AND %(last)s
              AND d.delivered_version < given.version""",
        {
            "session": str(session.pk),
            "most": MOST_REMEMBERED,
            "database": step.database_id,
            "customers": part.customers,
            "versions": part.versions,
            "first": part.customers[0],
            "last": part.customers[-1],
        },
    )
