"""Download sessions: each brings one channel database one package, or single customers.

A session is *open* from the moment its package is offered to the database until it is applied or
canceled; a *suspended* one is open, but waits for a person. While downloads to a database are
*paused*, all its sessions are suspended. With strict order, each session waits until the one before
is applied.
"""

from collections.abc import Sequence
from typing import Any

from django.db import transaction
from django.db.models import Exists, F, OuterRef, QuerySet
from django.db.models.functions import Coalesce, Greatest, Now

from stores.channeldb.exchange.protocol import TableData
from stores.failpoints import failpoint
from stores.hqdb.sql import fetch_values
from stores.messages.message import EMPTY, Message
from stores.models import ChannelDatabase, Customer, DownloadSession, Package, RunStep
from stores.models.channel import RECEIVED_UP_TO
from stores.models.job import JobCode
from stores.models.parameter import ParameterName, parameter
from stores.models.run import RunCancelled
from stores.models.session import OPEN_DOWNLOADS, DownloadStatus
from stores.pipeline.download.exceptions import unblock_downloads

REPLACED = Message("download_replaced")
CANCELED = Message("download_canceled")
ARRIVED = Message("download_arrived")
BLOCKING = Message("package_blocks")
REFUSED = Message("single_customers_refused")
DROPPED = Message("package_dropped")
PAUSED = Message("downloads_held")
NO_DATA = Message("package_empty")
# The status of a session that fails, by the status in which it fails.
FAILED_AS: dict[str | None, DownloadStatus] = {
    DownloadStatus.STARTED: DownloadStatus.CREATE_FAILED,
    DownloadStatus.DOWNLOADED: DownloadStatus.APPLY_FAILED,
}
# A pause suspends these sessions. A session whose data is on its way still arrives.
SUSPENDABLE = (
    DownloadStatus.AVAILABLE,
    DownloadStatus.DOWNLOAD_FAILED,
    DownloadStatus.APPLY_FAILED,
)


class SessionRefused(Exception):
    """What a person asks for is not possible in the session's status. The message says why."""


class SessionCanceled(Exception):
    """A person has canceled the session. Nothing of it was written."""


# ------------------------------------------------------ the steps of a session, in their order


def start_session(step: RunStep) -> DownloadSession:
    """Return the session for a package that is about to be made, as started and committed.

    This is the session of an earlier attempt to make the package, if that failed.
    """
    with step.chunk():
        sessions = DownloadSession.objects.filter(database=step.its_database)
        session = sessions.unmade().first() or sessions.create(database=step.its_database)
        sessions.filter(pk=session.pk).update(
            run=step.run, status=DownloadStatus.STARTED, message=EMPTY
        )
    failpoint("download:after_start")
    return session


def request_session(step: RunStep, package: Package) -> DownloadSession | None:
    """Return the session that sends the package to the step's database, with one more try.

    Return None if it is suspended in strict order, because a person has to decide. Effects: this
    session, and those for other packages are canceled; committed.
    """
    with step.chunk():
        session = offer_package(step.its_database, package)
        if session.status == DownloadStatus.SUSPENDED and step.its_database.strict_order:
            return None
        request(step, session)
    failpoint("download:after_request")
    return session


def suspend_session(step: RunStep, package: Package | None) -> None:
    """Offer the package to the step's database, which is paused, and suspend all its sessions."""
    with step.chunk():
        if package:
            offer_package(step.its_database, package).save()
        suspend_all(step.its_database)
    failpoint("download:after_suspended")


def offer_package(database: ChannelDatabase, package: Package) -> DownloadSession:
    """Return the session for a package, which the caller saves, and cancel those it replaces.

    This is the open session for the package, the one started for a new package, or a new one.
    """
    sessions = DownloadSession.objects.filter(database=database)
    session = sessions.open().filter(package=package).first()
    if session is None:
        session = sessions.unmade().first() or DownloadSession(database=database)
        session.package, session.status, session.message = package, DownloadStatus.AVAILABLE, EMPTY
    outdated = sessions.open().filter(package__to_no__gt=package.from_no) | sessions.unmade()
    outdated.exclude(pk=session.pk).update(status=DownloadStatus.CANCELED, message=REPLACED)
    return session


def request_single_customers(step: RunStep) -> DownloadSession:
    """Return the session that sends single customers, with one more try, committed."""
    with step.chunk():
        sessions = DownloadSession.objects.open().filter(
            database=step.its_database, sends_single_customers=True
        )
        session = sessions.first() or DownloadSession(
            database=step.its_database, sends_single_customers=True
        )
        request(step, session)
    failpoint("download:before_retry")
    return session


def request(step: RunStep, session: DownloadSession) -> None:
    """Save that the run tries a session once more, in the caller's transaction."""
    session.run, session.status, session.message = step.run, DownloadStatus.REQUESTED, EMPTY
    session.tries += 1
    session.requested_at = Now()
    changed = ["package", "run", "status", "message", "tries", "requested_at"]
    session.save(update_fields=None if session._state.adding else changed)


def note_downloaded(step: RunStep, session: DownloadSession, tables: Sequence[TableData]) -> None:
    """Save that the data is on its way to the channel. Raise SessionCanceled if it must not be."""
    with step.chunk():
        is_ours = DownloadSession.objects.filter(
            pk=session.pk, status=DownloadStatus.REQUESTED
        ).update(
            status=DownloadStatus.DOWNLOADED,
            downloaded_at=Now(),
            size_bytes=sum(len(table.data) for table in tables),
        )
        if not is_ours:
            raise SessionCanceled
    failpoint("download:after_downloaded")


def note_applied(session: DownloadSession, *, customers: int, rows: int, parts: int) -> None:
    """Save that the channel has committed the session, in the caller's transaction."""
    DownloadSession.objects.filter(pk=session.pk).update(
        status=DownloadStatus.APPLIED,
        applied_at=Now(),
        customers=customers,
        rows=F("rows") + rows,
        parts=F("parts") + parts,
        message=EMPTY,
    )


def note_arrived(step: RunStep, *, since: int, position: int) -> int:
    """Save as applied the sessions whose packages have arrived without HQ's notice.

    Their packages lie between `since`, the position that HQ had noted, and the channel's own. A
    session whose data was never on its way is canceled. Return how many customers have arrived.
    All this happens in the caller's transaction.
    """
    arrived = fetch_values(
        """UPDATE download_session session
              SET status = 'applied', applied_at = now(), message = '[]', run_id = %(run)s,
                  customers = package.customers - (
                      SELECT count(*) FROM download_exception exception
                       WHERE exception.database_id = session.database_id
                         AND exception.settled_at IS NULL
                         AND exception.since >= session.requested_at)
             FROM package
            WHERE session.package_id = package.id AND session.database_id = %(database)s
              AND session.status = ANY(%(open)s) AND session.downloaded_at IS NOT NULL
              AND package.from_no >= %(since)s AND package.to_no <= %(position)s
           RETURNING session.customers""",
        {
            "run": step.run_id,
            "database": step.database_id,
            "open": [status.value for status in OPEN_DOWNLOADS],
            "since": since,
            "position": position,
        },
    )
    DownloadSession.objects.open().filter(
        database=step.database_id, package__from_no__gte=since, package__to_no__lte=position
    ).update(status=DownloadStatus.CANCELED, message=ARRIVED)
    return sum(arrived)


def fail_session(session: DownloadSession, error: Exception, message: Message) -> None:
    """Save why the session failed. The next download tries it again."""
    unfinished = DownloadSession.objects.unfinished().filter(pk=session.pk)
    status = unfinished.values_list("status", flat=True).first()
    failed = FAILED_AS.get(status, DownloadStatus.DOWNLOAD_FAILED)
    if isinstance(error, RunCancelled):
        failed = DownloadStatus.CANCELED
    # Other tries are counted when they are requested.
    tries = F("tries") + (1 if failed == DownloadStatus.CREATE_FAILED else 0)
    unfinished.filter(status=status).update(status=failed, message=message, tries=tries)


def note_partly_applied(
    session: DownloadSession, package: Package, *, customers: int, rows: int, parts: int, tries: int
) -> None:
    """Save that the channel has refused some customers, so that no later package may follow.

    `customers`, `rows` and `parts` are what the channel has committed. After as many `tries` as the
    settings allow, the session is suspended. All this happens in the caller's transaction.
    """
    is_last = tries >= parameter(ParameterName.STRICT_ORDER_TRIES)
    DownloadSession.objects.filter(pk=session.pk).update(
        status=DownloadStatus.SUSPENDED if is_last else DownloadStatus.APPLY_FAILED,
        message=BLOCKING,
        partly_applied_at=Coalesce("partly_applied_at", Now()),
        customers=customers,
        rows=F("rows") + rows,
        parts=F("parts") + parts,
    )
    ChannelDatabase.objects.filter(pk=session.database_id).update(
        received_no=Greatest(RECEIVED_UP_TO, package.to_no)
    )


def close_session(session: DownloadSession, status: DownloadStatus, message: Message) -> None:
    DownloadSession.objects.filter(pk=session.pk).update(status=status, message=message)


def repeated_sessions(database: ChannelDatabase) -> list[DownloadSession]:
    """Return the due sessions that send the database what it already has, oldest first."""
    sessions = DownloadSession.objects.due().filter(
        database=database, package__to_no__lte=database.position
    )
    return list(sessions.select_related("package").order_by("started_at"))


def suspended_in_strict_order() -> QuerySet[DownloadSession]:
    """Return the suspended sessions for which all later ones of their databases wait.

    Sessions of paused databases are left out, and those that a database does not need, or not yet.
    """
    needed_before = Customer.objects.filter(
        company=OuterRef("package__company"),
        change_no__gt=OuterRef("database__position"),
        change_no__lte=OuterRef("package__from_no"),
    )
    return DownloadSession.objects.filter(
        ~Exists(needed_before),
        status=DownloadStatus.SUSPENDED,
        database__strict_order=True,
        database__downloads_paused_at=None,
        package__dropped_at=None,
        package__to_no__gt=F("database__position"),
    )


# --------------------------------------------------------------------- what people do


def next_download(database: ChannelDatabase, does: str) -> str:
    """Return a sentence that says when a download `does` what a person asks for.

    `does` is a verb phrase, such as "sends it again".
    """
    if database.downloads_paused:
        return (
            f"Once downloads to {database.label} are resumed (paused:"
            f" {database.downloads_pause_reason}), the next one {does}."
        )
    if not database.is_sent(JobCode.DOWNLOAD):
        return f"{database.label} is excluded from 1010. Once it is included, a download {does}."
    return f"The next download {does}."


def cancel(session: DownloadSession, *, by: Any = None) -> None:
    """Cancel a session. The next download sends what the database lacks in another one.

    Customers that the channel has refused do not block that one. Raise SessionRefused if the data
    is on its way.
    """
    with transaction.atomic():
        canceled = (
            DownloadSession.objects.cancelable()
            .filter(pk=session.pk)
            .update(
                status=DownloadStatus.CANCELED,
                message=Message("download_canceled_by_hand"),
                changed_by=by,
            )
        )
        if not canceled:
            raise SessionRefused("Only a session whose data is not on its way can be canceled.")
        unblock_downloads(session.database)


def is_offered(session: DownloadSession) -> bool:
    """Return whether an open session sends the database the package of this session."""
    sessions = DownloadSession.objects.open()
    return sessions.filter(database=session.database_id, package=session.package_id).exists()


def can_rerun(session: DownloadSession) -> bool:
    """Return whether rerun() accepts the session."""
    if session.status == DownloadStatus.SUSPENDED:
        return not session.database.downloads_paused
    package = session.package
    return package is not None and not package.dropped_at and not is_offered(session)


def rerun(session: DownloadSession, *, by: Any = None) -> DownloadSession:
    """Offer the package of a session to its database once more. Return the session that sends it.

    This is the same session if it was suspended. Raise SessionRefused if it cannot be sent again.
    """
    with transaction.atomic():
        suspended = DownloadSession.objects.filter(pk=session.pk, status=DownloadStatus.SUSPENDED)
        if suspended.exists():
            if session.database.downloads_paused:
                raise SessionRefused(str(PAUSED))
            suspended.update(status=DownloadStatus.AVAILABLE, message=EMPTY, changed_by=by)
            return session
        package = Package.objects.select_for_update().filter(sessions=session).first()
        if package is None or package.dropped_at:
            raise SessionRefused(str(DROPPED))
        if is_offered(session):
            raise SessionRefused("The package is still on offer to this database.")
        return DownloadSession.objects.create(
            database=session.database,
            package=package,
            status=DownloadStatus.AVAILABLE,
            changed_by=by,
        )


def delete(session: DownloadSession) -> None:
    """Delete a session. Raise SessionRefused if it has brought, or is bringing, anything."""
    deleted, _ = DownloadSession.objects.deletable().filter(pk=session.pk).delete()
    if not deleted:
        raise SessionRefused("Only a session that brought nothing can be deleted.")


def pause_downloads(database: ChannelDatabase, reason: str, *, by: Any = None) -> int:
    """Send a database nothing until a person resumes it. Return how many sessions are suspended.

    Data that is on its way still arrives. Sessions that were suspended before are counted too.
    """
    with transaction.atomic():
        ChannelDatabase.objects.filter(pk=database.pk).update(
            downloads_paused_at=Now(), downloads_paused_by=by, downloads_pause_reason=reason
        )
        suspend_all(database)
        return DownloadSession.objects.filter(
            database=database, status=DownloadStatus.SUSPENDED
        ).count()


def suspend_all(database: ChannelDatabase) -> None:
    """Suspend the sessions of a paused database, in the caller's transaction."""
    DownloadSession.objects.filter(database=database, status__in=SUSPENDABLE).update(
        status=DownloadStatus.SUSPENDED, message=PAUSED
    )


def resume_downloads(database: ChannelDatabase) -> int:
    """End the pause of a database. Return how many sessions were suspended.

    Raise SessionRefused if it is not paused.
    """
    with transaction.atomic():
        paused = ChannelDatabase.objects.filter(pk=database.pk, downloads_paused_at__isnull=False)
        if not paused.update(
            downloads_paused_at=None,
            downloads_paused_by=None,
            downloads_pause_reason="",
            downloads_resumed_at=Now(),
        ):
            raise SessionRefused(f"Downloads to {database.label} are not paused.")
        return DownloadSession.objects.filter(
            database=database, status=DownloadStatus.SUSPENDED
        ).update(status=DownloadStatus.AVAILABLE, message=EMPTY)


def start_over(database: ChannelDatabase, *, by: Any = None) -> None:
    """Have all customers sent to a database again, from the first change on. It deletes nothing."""
    ChannelDatabase.objects.filter(pk=database.pk).update(
        position=0, received_no=RECEIVED_UP_TO, starts_over=True, started_over_by=by
    )
