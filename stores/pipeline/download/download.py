"""1010: HQ customers -> channel.

Each database is sent what is pending for it, and HQ notes it as delivered only after the channel
committed. A crash in between sends the same versions once more, which changes nothing.

Some databases of a company are open side by side, each in a thread of its own: what they lack alike
is read once, and while they write one batch HQ reads the next.
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
from stores.pipeline.download.packages import CustomerBatch, read_customer_batches
from stores.pipeline.fence.visit import FencedChannel, enter
from stores.pipeline.refused_rows import report_refused_rows

JOB = "1010"
# So many databases are open at the same time.
MAX_PARALLEL_CHANNELS = 8
# Without anything to send, a worker looks for other work after so many seconds.
QUEUE_TIMEOUT_S = 1
UPSTREAM_POLL_S = 0.1


def download_accounts(steps: list[RunStep]) -> None:
    """Send the channel databases of a group their pending customers, oldest account first.

    While the run still converts customers of theirs it waits for more. Effects: the channels'
    tables, a batch a transaction, then deliveries and counts in HQ. Trouble with one database is
    that step's outcome; the rest stays pending.
    """
    begun = time.monotonic()
    while True:
        upstream_is_live = any(step.upstream_is_live for step in steps)
        lacking = steps_with_pending(steps)
        for group in parallel_groups(lacking):
            deliver(group)
        if not upstream_is_live:
            return
        if not lacking and time.monotonic() - begun > QUEUE_TIMEOUT_S:
            raise StepReleased
        if not lacking:
            time.sleep(UPSTREAM_POLL_S)


def steps_with_pending(steps: list[RunStep]) -> list[RunStep]:
    """Those steps whose database lacks a customer in its present version."""
    rows = fetch(
        """SELECT b.id FROM unnest(%s) b (id)
            WHERE EXISTS (SELECT FROM delivery d
                           WHERE d.database_id = b.id AND d.delivered_version < d.version)""",
        [[step.database_id for step in steps]],
    )
    lacking = {database for (database,) in rows}
    return [
        step for step in steps if step.status == RunStatus.RUNNING and step.database_id in lacking
    ]


def parallel_groups(steps: Sequence[RunStep]) -> Iterator[list[RunStep]]:
    """The steps by company, so many at a time as are open together; dry ones are only counted."""
    for step in steps:
        if step.is_dry:
            with step.chunk():
                step.add(distributed=count_pending(step))
    wet = [step for step in steps if not step.is_dry]
    for _, same_company in groupby(sorted(wet, key=company_of), key=company_of):
        yield from batched(same_company, MAX_PARALLEL_CHANNELS)


def company_of(step: RunStep) -> str:
    return step.its_database.channel.company_id


def count_pending(step: RunStep) -> int:
    """How many customers the database lacks in their present version."""
    (count,) = fetch_one(
        "SELECT count(*) FROM delivery WHERE database_id = %s AND delivered_version < version",
        [step.database_id],
    )
    return int(count)


def deliver(steps: list[RunStep]) -> None:
    """Send databases of one company all that is pending, in the order of the customers' ids."""
    writers = {step.its_database.pk: ChannelWriter(step) for step in steps}
    is_left_off = True
    try:
        for writer in writers.values():
            writer.start()
        distribute(writers, company_of(steps[0]))
        is_left_off = False
    finally:
        for writer in writers.values():
            writer.is_left_off = is_left_off
        join_all([writer for writer in writers.values() if writer.ident])
    for writer in writers.values():
        if writer.error:
            raise writer.error


def distribute(writers: "dict[int, ChannelWriter]", company: str) -> None:
    """Give batch after batch to those that lack it, until none is left or HQ is in trouble."""
    formats = {database: writer.takes_copy.result() for database, writer in writers.items()}
    beyond = 0
    while not any(writer.error for writer in writers.values()):
        takers = {
            database: takes_copy
            for database, takes_copy in formats.items()
            if takes_copy is not None and not writers[database].is_over
        }
        batches = read_customer_batches(company, takers, beyond) if takers else {}
        if not batches:
            return
        beyond = max(batch.customers[-1] for batch in batches.values())
        for database, batch in batches.items():
            writers[database].batches.put(batch)


class ChannelWriter(WorkerThread):
    """One channel database that is sent the batches put into `batches`, one by one; None ends.

    `takes_copy` is known once the channel is open; None if it cannot be. Trouble with the channel
    is recorded at its step, and `error` is any other. `is_left_off`: some batches were never read.
    """

    def __init__(self, step: RunStep) -> None:
        super().__init__(f"{JOB} {step.place}", step.worker)
        self.step = step
        # One waits while another is written; who reads faster waits too.
        self.batches: Queue[CustomerBatch | None] = Queue(maxsize=1)
        self.takes_copy: Future[bool | None] = Future()
        self.is_over = self.is_left_off = self.has_all = False
        self.part = 0
        # Customers that the channel does not take, by id, and what it said.
        self.refused: dict[int, str] = {}

    def work(self) -> None:
        self.step.check_stop()
        self.write_batches()

    def on_exit(self) -> None:
        """Take what is still put: nobody may wait to put what nobody takes."""
        self.is_over = True
        if not self.takes_copy.done():
            self.takes_copy.set_result(None)
        while not self.has_all:
            self.next_batch()

    def put_stop(self) -> None:
        self.batches.put(None)

    def next_batch(self) -> CustomerBatch | None:
        batch = self.batches.get()
        self.has_all = batch is None
        return batch

    def write_batches(self) -> None:
        """Open the channel and write what comes; trouble with it is recorded at its step."""
        session = DownloadSession.objects.create(
            run=self.step.run, database=self.step.its_database, status=DownloadStatus.AVAILABLE
        )
        try:
            with enter(self.step) as channel:
                self.takes_copy.set_result(channel.takes_copy)
                for batch in iter(self.next_batch, None):
                    self.write(channel, session, batch)
            with self.step.chunk(may_stop=False):
                report_refused_rows("customers", self.refused, database=self.step.its_database)
        except Exception as error:
            fail_download(session, error)
            if not isinstance(error, ChannelError):
                raise
            self.step.finish(RunStatus.FAILED, str(error))
        else:
            is_released, is_complete = DownloadStatus.DOWNLOAD_FAILED, DownloadStatus.APPLIED
            DownloadSession.objects.filter(pk=session.pk).update(
                status=is_released if self.is_left_off else is_complete, applied_at=Now()
            )

    def write(self, channel: FencedChannel, session: DownloadSession, batch: CustomerBatch) -> None:
        """Write a batch into the channel, but for customers that it refuses: they stay pending."""
        _, refused = bisect_rows(
            lambda customers: self.write_customers(
                channel, session, batch if customers is None else select_customers(batch, customers)
            ),
            lambda: batch.customers,
            attempt=self_committing,
        )
        if refused:
            self.refused |= refused
            with self.step.chunk(may_stop=False):
                self.step.add(failed=len(refused))

    def write_customers(
        self, channel: FencedChannel, session: DownloadSession, batch: CustomerBatch
    ) -> None:
        """Write a batch, all or none; note it as delivered once the channel has committed."""
        packages = batch.packages[channel.takes_copy]
        self.part += 1
        self.step.check_stop()
        rows = channel.apply(packages, session=session.pk, part=self.part, job=JOB)
        failpoint("download:after_channel_commit")
        with self.step.chunk(may_stop=False):
            delivered = mark_delivered(self.step, session, batch)
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


def select_customers(batch: CustomerBatch, customers: Sequence[int]) -> CustomerBatch:
    """Some customers of a batch, with all that is theirs."""
    accounts = {
        account
        for (account,) in fetch(
            "SELECT account_number FROM customer WHERE id = ANY(%s)", [list(customers)]
        )
    }
    chosen = set(customers)
    versions = dict(zip(batch.customers, batch.versions, strict=True))
    return CustomerBatch(
        [customer for customer in batch.customers if customer in chosen],
        [versions[customer] for customer in batch.customers if customer in chosen],
        {
            as_copy: [
                select_package_rows(package, accounts, as_copy=as_copy) for package in packages
            ]
            for as_copy, packages in batch.packages.items()
        },
    )


def select_package_rows(package: Package, accounts: Collection[str], *, as_copy: bool) -> Package:
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


def fail_download(session: DownloadSession, error: Exception) -> None:
    """Record why the session ended early; the rest stays pending."""
    stopped = isinstance(error, RunCancelled)
    session.status = DownloadStatus.CANCELED if stopped else DownloadStatus.DOWNLOAD_FAILED
    # A driver's own text may quote a row.
    session.message = str(error)[:300] if isinstance(error, ChannelError) else ""
    session.save(update_fields=["status", "message"])


# Earlier deliveries that are kept of a customer in a database.
MAX_REMEMBERED = 20


def mark_delivered(step: RunStep, session: DownloadSession, batch: CustomerBatch) -> int:
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
            "most": MAX_REMEMBERED,
            "database": step.database_id,
            "customers": batch.customers,
            "versions": batch.versions,
            "first": batch.customers[0],
            "last": batch.customers[-1],
        },
    )
