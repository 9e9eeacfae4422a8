"""Download sessions: one package for one channel database, or single customers that it lacks."""

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, F, OuterRef, QuerySet
from django.db.models.functions import Coalesce, Greatest, Now

from stores.channeldb.exchange.protocol import TableData
from stores.failpoints import failpoint
from stores.hqdb.sql import fetch
from stores.models import ChannelDatabase, Customer, DownloadSession, Package, RunStep
from stores.models.channel import RECEIVED_UP_TO
from stores.models.run import RunCancelled
from stores.models.session import OPEN_DOWNLOADS, DownloadStatus
from stores.pipeline.download.exceptions import pass_refused

REPLACED = "Another package brings what it would have brought."
CANCELED = "Someone canceled the session. The next download sends what the database lacks."
HELD = "The channel has its package already."
HELD_UP = "The channel refuses some of its customers; in strict order, later packages wait for it."
REFUSED = "The channel refuses these customers."
DROPPED = "The data of its package is no longer there."
ON_HOLD = "Downloads to this database are on hold."
NO_DATA = "What the database lacks may not leave headquarters yet: see the number journal."
# What a session is that failed in these states.
FAILED_AS: dict[str | None, DownloadStatus] = {
    DownloadStatus.STARTED: DownloadStatus.CREATE_FAILED,
    DownloadStatus.DOWNLOADED: DownloadStatus.APPLY_FAILED,
}
# What a hold suspends; what is on its way still arrives.
SUSPENDABLE = (
    DownloadStatus.AVAILABLE,
    DownloadStatus.DOWNLOAD_FAILED,
    DownloadStatus.APPLY_FAILED,
)


class SessionRefused(Exception):
    """The session is in no state for this."""


class SessionCanceled(Exception):
    """A person has canceled the session; nothing of it was written."""


# ------------------------------------------------------------------ the way of a session


def start_session(step: RunStep) -> DownloadSession:
    """The session of the step's database whose package is about to be made, also after a failure.

    Effects: that session, committed.
    """
    with step.chunk():
        sessions = DownloadSession.objects.filter(database=step.its_database)
        session = sessions.unmade().first() or sessions.create(database=step.its_database)
        sessions.filter(pk=session.pk).update(
            run=step.run, status=DownloadStatus.STARTED, message=""
        )
    failpoint("download:after_start")
    return session


def request_session(step: RunStep, package: Package) -> DownloadSession | None:
    """The open session of the step's database for the package, tried once more.

    None if it is suspended in strict order: someone has to rerun or cancel it. Effects: that
    session, and sessions for other packages that the database will not need; committed.
    """
    with step.chunk():
        session = offer(step.its_database, package)
        if session.status == DownloadStatus.SUSPENDED and step.its_database.strict_order:
            return None
        request(step, session)
    failpoint("download:after_request")
    return session


def suspend_session(step: RunStep, package: Package | None) -> None:
    """Offer the package to the step's database, whose downloads are on hold.

    Effects: as request_session(); all that is on offer to the database is suspended. Nothing is
    written if it is already.
    """
    with step.chunk():
        if package:
            offer(step.its_database, package).save()
        suspend_all(step.its_database)
    failpoint("download:after_suspended")


def offer(database: ChannelDatabase, package: Package) -> DownloadSession:
    """The open session of a database for a package; the caller saves it, in this transaction.

    It is the one that was started for it, if there is none. Others that the database will not need
    are canceled.
    """
    sessions = DownloadSession.objects.filter(database=database)
    session = sessions.open().filter(package=package).first()
    if session is None:
        session = sessions.unmade().first() or DownloadSession(database=database)
        session.package, session.status, session.message = package, DownloadStatus.AVAILABLE, ""
    outdated = sessions.open().filter(package__to_no__gt=package.from_no) | sessions.unmade()
    outdated.exclude(pk=session.pk).update(status=DownloadStatus.CANCELED, message=REPLACED)
    return session


def request_single_customers(step: RunStep) -> DownloadSession:
    """The open session of the step's database for single customers, tried once more; committed."""
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
    """Try a session once more, in the caller's transaction."""
    session.run, session.status, session.message = step.run, DownloadStatus.REQUESTED, ""
    session.tries += 1
    session.requested_at = Now()
    changed = ["package", "run", "status", "message", "tries", "requested_at"]
    session.save(update_fields=None if session._state.adding else changed)


def note_downloaded(step: RunStep, session: DownloadSession, tables: Sequence[TableData]) -> None:
    """Note that the data is on its way to the channel. Errors: SessionCanceled."""
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
    """Note what the channel has committed, in the caller's transaction."""
    DownloadSession.objects.filter(pk=session.pk).update(
        status=DownloadStatus.APPLIED,
        applied_at=Now(),
        customers=customers,
        rows=F("rows") + rows,
        parts=F("parts") + parts,
        message="",
    )


def note_arrived(step: RunStep, *, since: int, position: int) -> int:
    """Apply the sessions whose packages the channel has, though HQ did not note their arrival.

    They lie between the position that HQ had noted and the channel's; one that was never on its
    way is canceled. Returns how many customers they brought, without those refused. Effects: the
    sessions, in the caller's transaction.
    """
    arrived = fetch(
        """UPDATE download_session s
              SET status = 'applied', applied_at = now(), message = '', run_id = %(run)s,
                  customers = p.customers - (
                      SELECT count(*) FROM download_exception e
                       WHERE e.database_id = s.database_id AND e.settled_at IS NULL
                         AND e.since >= s.requested_at)
             FROM package p
            WHERE s.package_id = p.id AND s.database_id = %(database)s
              AND s.status = ANY(%(open)s) AND s.downloaded_at IS NOT NULL
              AND p.from_no >= %(since)s AND p.to_no <= %(position)s
           RETURNING s.customers""",
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
    ).update(status=DownloadStatus.CANCELED, message=HELD)
    return sum(customers for (customers,) in arrived)


def fail_session(session: DownloadSession, error: Exception, message: str) -> None:
    """Note why the session did not get through; the next download tries it again."""
    unfinished = DownloadSession.objects.unfinished().filter(pk=session.pk)
    status = unfinished.values_list("status", flat=True).first()
    failed = FAILED_AS.get(status, DownloadStatus.DOWNLOAD_FAILED)
    if isinstance(error, RunCancelled):
        failed = DownloadStatus.CANCELED
    # Other tries are counted when they are requested.
    tries = F("tries") + (1 if failed == DownloadStatus.CREATE_FAILED else 0)
    unfinished.filter(status=status).update(status=failed, message=message[:300], tries=tries)


def hold_up(
    session: DownloadSession, package: Package, *, customers: int, rows: int, parts: int, times: int
) -> None:
    """Note that the channel refuses some of the package, so that no later one may follow.

    The rest is there: `customers`, and of their rows those new or newer. `times` is how often the
    channel has refused; after a few the package is not tried again. Effects: session and database,
    in the caller's transaction.
    """
    is_last = times >= settings.STRICT_ORDER_TRIES
    DownloadSession.objects.filter(pk=session.pk).update(
        status=DownloadStatus.SUSPENDED if is_last else DownloadStatus.APPLY_FAILED,
        message=HELD_UP,
        partly_applied_at=Coalesce("partly_applied_at", Now()),
        customers=customers,
        rows=F("rows") + rows,
        parts=F("parts") + parts,
    )
    ChannelDatabase.objects.filter(pk=session.database_id).update(
        received_no=Greatest(RECEIVED_UP_TO, package.to_no)
    )


def close_session(session: DownloadSession, status: DownloadStatus, message: str = "") -> None:
    DownloadSession.objects.filter(pk=session.pk).update(status=status, message=message)


def resends(database: ChannelDatabase) -> list[DownloadSession]:
    """The sessions that bring the database again what it has already."""
    sessions = DownloadSession.objects.due().filter(
        database=database, package__to_no__lte=database.position
    )
    return list(sessions.select_related("package").order_by("started_at"))


def suspended_in_strict_order() -> QuerySet[DownloadSession]:
    """The suspended sessions that all later ones of their databases wait for.

    Not those of downloads on hold, nor those that a database does not need any more, or not yet.
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
        database__held_since=None,
        package__dropped_at=None,
        package__to_no__gt=F("database__position"),
    )


# --------------------------------------------------------------------- what people do


def next_download(database: ChannelDatabase, does: str) -> str:
    """When that happens which a person has asked for: "sends it again" by the next download."""
    if database.is_held:
        return (
            f"Once downloads to {database.label} are resumed (on hold: {database.hold_reason}),"
            f" the next one {does}."
        )
    return f"The next download {does}."


def cancel(session: DownloadSession, *, by: Any = None) -> None:
    """Give the session up. What the database lacks comes with the next download, in another one.

    In strict order, that one is not held up by the customers that the channel has refused. Errors:
    SessionRefused once its data is on the way.
    """
    with transaction.atomic():
        canceled = (
            DownloadSession.objects.cancelable()
            .filter(pk=session.pk)
            .update(status=DownloadStatus.CANCELED, message="Canceled by hand.", changed_by=by)
        )
        if not canceled:
            raise SessionRefused("Only a session whose data is not on its way can be canceled.")
        pass_refused(session.database)


def is_offered(session: DownloadSession) -> bool:
    """Whether an open session brings its database the same package."""
    sessions = DownloadSession.objects.open()
    return sessions.filter(database=session.database_id, package=session.package_id).exists()


def can_rerun(session: DownloadSession) -> bool:
    """Whether the data of the session's package is there, and the package not on offer already."""
    if session.status == DownloadStatus.SUSPENDED:
        return not session.database.is_held
    package = session.package
    return package is not None and not package.dropped_at and not is_offered(session)


def rerun(session: DownloadSession, *, by: Any = None) -> DownloadSession:
    """Offer the package of a session to its database once more. Returns the session that does.

    It is the same one if it was suspended. Errors: SessionRefused.
    """
    with transaction.atomic():
        suspended = DownloadSession.objects.filter(pk=session.pk, status=DownloadStatus.SUSPENDED)
        if suspended.exists():
            if session.database.is_held:
                raise SessionRefused(ON_HOLD)
            suspended.update(status=DownloadStatus.AVAILABLE, message="", changed_by=by)
            return session
        package = Package.objects.select_for_update().filter(sessions=session).first()
        if package is None or package.dropped_at:
            raise SessionRefused(DROPPED)
        if is_offered(session):
            raise SessionRefused("The package is still on offer to this database.")
        return DownloadSession.objects.create(
            database=session.database,
            package=package,
            status=DownloadStatus.AVAILABLE,
            changed_by=by,
        )


def delete(session: DownloadSession) -> None:
    """Remove a session that brought nothing. Errors: SessionRefused."""
    deleted, _ = DownloadSession.objects.deletable().filter(pk=session.pk).delete()
    if not deleted:
        raise SessionRefused("Only a session that brought nothing can be deleted.")


def hold(database: ChannelDatabase, reason: str, *, by: Any = None) -> int:
    """Send a database nothing until someone resumes it. Returns how many sessions are suspended.

    A package that is on its way still arrives. What was suspended before counts too.
    """
    with transaction.atomic():
        ChannelDatabase.objects.filter(pk=database.pk).update(
            held_since=Now(), held_by=by, hold_reason=reason
        )
        suspend_all(database)
        return DownloadSession.objects.filter(
            database=database, status=DownloadStatus.SUSPENDED
        ).count()


def suspend_all(database: ChannelDatabase) -> None:
    """Suspend what is on offer to a database on hold, in the caller's transaction."""
    DownloadSession.objects.filter(database=database, status__in=SUSPENDABLE).update(
        status=DownloadStatus.SUSPENDED, message=ON_HOLD
    )


def resume(database: ChannelDatabase) -> int:
    """Send a database again what it lacks. Returns how many sessions were suspended.

    Errors: SessionRefused if it is not on hold.
    """
    with transaction.atomic():
        held = ChannelDatabase.objects.filter(pk=database.pk, held_since__isnull=False)
        if not held.update(held_since=None, held_by=None, hold_reason="", resumed_at=Now()):
            raise SessionRefused(f"Downloads to {database.label} are not on hold.")
        return DownloadSession.objects.filter(
            database=database, status=DownloadStatus.SUSPENDED
        ).update(status=DownloadStatus.AVAILABLE, message="")


def start_over(database: ChannelDatabase, *, by: Any = None) -> None:
    """Have a database sent everything again, from the first change on. What it has, it keeps."""
    ChannelDatabase.objects.filter(pk=database.pk).update(
        position=0, received_no=RECEIVED_UP_TO, starts_over=True, started_over_by=by
    )
