"""1010: HQ customers -> channel.

A channel notes the position that a package brings it to in the transaction that brings the rows, so
a crash at any moment neither leaves a change out nor does harm. HQ's note of it is a copy.

Some databases of a company are open side by side, each in a thread of its own.
"""

from collections.abc import Iterator, Sequence
from itertools import count, groupby
from typing import NamedTuple

from stores.channeldb.connect.connection import ChannelError
from stores.channeldb.exchange.protocol import PositionMove, PositionMoved, TableData
from stores.failpoints import failpoint
from stores.hqdb.retry import bisect_rows, self_committing
from stores.hqdb.sql import batched, fetch, fetch_one
from stores.hqdb.threads import WorkerThread, join_all
from stores.models import ChannelDatabase, DownloadSession, RunStep
from stores.models.run import RunStatus
from stores.models.session import OPEN_DOWNLOADS, DownloadStatus
from stores.pipeline.chunk_sizes import CUSTOMERS_PER_CHUNK
from stores.pipeline.download.exceptions import (
    Refusals,
    open_exceptions,
    record_refused,
    refused_customers,
    settle,
)
from stores.pipeline.download.outbound import accounts_in, read_customers, select_accounts
from stores.pipeline.download.packages import PackageDropped, load_tables, package_for
from stores.pipeline.download.sessions import (
    CANCELED,
    DROPPED,
    REFUSED,
    SessionCanceled,
    close_session,
    fail_session,
    note_applied,
    note_arrived,
    note_downloaded,
    request,
    request_session,
    resends,
)
from stores.pipeline.fence.visit import FencedChannel, enter
from stores.pipeline.refused_rows import report_refused_rows

JOB = "1010"
# So many databases are open at the same time.
MAX_PARALLEL_CHANNELS = 8
# The parts of one try of a session have numbers that no other try has.
PARTS_PER_TRY = 1 << 16
MAX_COUNTED_TRIES = 1 << 14


def download_accounts(steps: list[RunStep]) -> None:
    """Send the channel databases of a group the customers that they lack, oldest change first.

    Effects: packages; the channels' tables, a package a transaction, then sessions, positions and
    counts in HQ. Trouble with one database is that step's outcome.
    """
    for group in parallel_groups(steps_with_pending(steps)):
        download_group(group)


def steps_with_pending(steps: list[RunStep]) -> list[RunStep]:
    """Those steps whose database lacks a customer, or is to be sent something again."""
    rows = fetch(
        """SELECT b.id FROM channel_database b JOIN channel h ON h.id = b.channel_id
            WHERE b.id = ANY(%(databases)s)
              AND (EXISTS (SELECT FROM customer k
                            WHERE k.company_id = h.company_id AND k.change_no > b.position)
                   OR EXISTS (SELECT FROM download_exception e
                               WHERE e.database_id = b.id AND e.settled_at IS NULL)
                   OR EXISTS (SELECT FROM download_session s JOIN package p ON p.id = s.package_id
                               WHERE s.database_id = b.id AND s.status = ANY(%(open)s)
                                 AND p.to_no <= b.position))""",
        {
            "databases": [step.database_id for step in steps],
            "open": [status.value for status in OPEN_DOWNLOADS],
        },
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
    (customers,) = fetch_one(
        """SELECT (SELECT count(*) FROM customer k
                    WHERE k.company_id = h.company_id AND k.change_no > b.position)
                + (SELECT count(*) FROM download_exception e JOIN customer k ON k.id = e.customer_id
                    WHERE e.database_id = b.id AND e.settled_at IS NULL
                      AND k.change_no <= b.position)
             FROM channel_database b JOIN channel h ON h.id = b.channel_id WHERE b.id = %s""",
        [step.database_id],
    )
    return int(customers)


def download_group(steps: list[RunStep]) -> None:
    """Send databases of one company all that they lack, side by side."""
    downloads = [ChannelDownload(step) for step in steps]
    try:
        for download in downloads:
            download.start()
    finally:
        join_all([download for download in downloads if download.ident])
    for download in downloads:
        if download.error:
            raise download.error


class ChannelDownload(WorkerThread):
    """Sends one channel database what it lacks, package after package.

    Trouble with the channel is recorded at its step; `error` is any other.
    """

    def __init__(self, step: RunStep) -> None:
        super().__init__(f"{JOB} {step.place}", step.worker)
        self.step, self.database = step, step.its_database
        # The one that is on its way.
        self.session: DownloadSession | None = None
        # Customers that the channel has refused at this visit.
        self.refused: set[int] = set()

    def put_stop(self) -> None:
        """It ends by itself."""

    def work(self) -> None:
        """Visit the channel. What goes wrong is also noted at the session."""
        self.step.check_stop()
        try:
            # Before the channel is opened: one that cannot be has a session that says so.
            self.session = self.next_session()
            with enter(self.step) as channel:
                self.note_position(channel)
                self.send_packages(channel)
                self.send_again(channel)
                self.retry_exceptions(channel)
        except SessionCanceled:
            self.step.finish(RunStatus.FAILED, CANCELED)
        except Exception as error:
            # A driver's own text may quote a row.
            told = str(error) if isinstance(error, ChannelError) else ""
            if self.session:
                fail_session(self.session, error, told)
            if not isinstance(error, ChannelError):
                raise
            self.step.finish(RunStatus.FAILED, told)

    def next_session(self) -> DownloadSession | None:
        """Request the next package for the database, from its position as HQ has noted it."""
        self.database.refresh_from_db(fields=["position", "starts_over"])
        package = package_for(company_of(self.step), self.database.position, self.step.run_id)
        return request_session(self.step, package) if package else None

    def note_position(self, channel: FencedChannel) -> None:
        """Copy what the channel says it has. HQ has noted less if a run died before it could.

        Effects: HQ's row of the database, sessions and counts, committed at once. The session is
        another one if it was not for this position.
        """
        requested_for = self.database.position
        self.database.refresh_from_db(fields=["position", "starts_over"])
        noted = self.database.position
        if not self.database.starts_over and channel.position != noted:
            with self.step.chunk(may_stop=False):
                arrived = note_arrived(self.step, since=noted, position=channel.position)
                self.step.add(distributed=arrived)
                ChannelDatabase.objects.filter(
                    pk=self.database.pk, position=noted, starts_over=False
                ).update(position=channel.position)
            failpoint("download:after_noting")
            self.database.refresh_from_db(fields=["position", "starts_over"])
        if self.database.position != requested_for:
            self.session = self.next_session()

    def send_packages(self, channel: FencedChannel) -> None:
        """Bring the channel to the latest change. Errors: PositionMoved, SessionCanceled."""
        if self.session is None:
            self.session = self.next_session()
        while self.session:
            if not self.database.starts_over and channel.position != self.database.position:
                raise PositionMoved
            self.send(channel, self.session, is_next=True)
            self.session = self.next_session()

    def send_again(self, channel: FencedChannel) -> None:
        """Send packages again that a person has asked for. Errors: SessionCanceled."""
        for session in resends(self.database):
            with self.step.chunk():
                request(self.step, session)
            failpoint("download:after_rerun")
            self.session = session
            self.send(channel, session, is_next=False)
        self.session = None

    def send(self, channel: FencedChannel, session: DownloadSession, *, is_next: bool) -> None:
        """Write the package of a session, but for customers that the channel refuses.

        One whose data is gone is closed; if it `is_next`, another one takes its place.
        """
        package = session.package
        if package is None:
            raise TypeError(f"session {session} has no package")
        try:
            tables = load_tables(package)
        except PackageDropped:
            close_session(session, DownloadStatus.CANCELED, DROPPED)
            return
        note_downloaded(self.step, session, tables)
        move = PositionMove(channel.company, channel.position, package.to_no) if is_next else None
        written = self.write(channel, session, tables, move)
        with self.step.chunk(may_stop=False):
            delivered = package.customers - len(written.refused)
            self.step.add(distributed=delivered, failed=len(written.refused))
            note_applied(session, customers=delivered, rows=written.rows, parts=written.parts)
            if move:
                # Unless somebody has asked for everything meanwhile.
                ChannelDatabase.objects.filter(
                    pk=self.database.pk, starts_over=self.database.starts_over
                ).update(position=move.to, starts_over=False)
            failpoint("download:before_delivered")
        failpoint("download:after_delivered")

    def write(
        self,
        channel: FencedChannel,
        session: DownloadSession,
        tables: Sequence[TableData],
        move: PositionMove | None,
    ) -> "Written":
        """Write rows into the channel, all at once or, if it refuses some, without these.

        Those refused are noted in HQ before the channel's position passes them.
        """
        parts = count(session.tries % MAX_COUNTED_TRIES * PARTS_PER_TRY + 1)
        rows: list[int] = []

        def apply(some: Sequence[TableData], move: PositionMove | None = None) -> None:
            self.step.check_stop()
            rows.append(
                channel.apply(some, session=session.pk, part=next(parts), job=JOB, move=move)
            )
            failpoint("download:after_channel_commit")

        def apply_accounts(accounts: Sequence[str] | None) -> None:
            if accounts is None:
                apply(tables, move)
            else:
                apply(select_accounts(tables, accounts))

        _, refused = bisect_rows(
            apply_accounts, lambda: accounts_in(tables), attempt=self_committing
        )
        if refused:
            with self.step.chunk(may_stop=False):
                self.refused |= record_refused(self.database, refused)
            failpoint("download:after_refused")
        if move and channel.position != move.to:
            apply([], move)
        return Written(sum(rows), len(rows), refused)

    def retry_exceptions(self, channel: FencedChannel) -> None:
        """Send customers that the database lacks although its position is past them.

        Errors: SessionCanceled.
        """
        untried = [
            customer for customer in open_exceptions(self.database) if customer not in self.refused
        ]
        for customers in batched(untried, CUSTOMERS_PER_CHUNK):
            chosen = read_customers(customers)
            self.session = session = request_session(self.step, None)
            note_downloaded(self.step, session, chosen.tables)
            written = self.write(channel, session, chosen.tables, None)
            settled = [
                customer for customer in chosen.customers if customer.account not in written.refused
            ]
            with self.step.chunk(may_stop=False):
                self.step.add(distributed=len(settled), failed=len(written.refused))
                settle(session, settled)
                if settled:
                    note_applied(
                        session, customers=len(settled), rows=written.rows, parts=written.parts
                    )
                else:
                    close_session(session, DownloadStatus.APPLY_FAILED, REFUSED)
            failpoint("download:after_retried")
            self.session = None
        with self.step.chunk(may_stop=False):
            report_refused_rows(
                "customers", refused_customers(self.database), database=self.database
            )


class Written(NamedTuple):
    """What was written of a session: rows, in how many transactions, and who was refused."""

    rows: int
    parts: int
    refused: Refusals
