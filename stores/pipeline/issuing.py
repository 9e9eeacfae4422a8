"""Check that HQ has not lost numbers that it issued, before it issues others.

HQ loses numbers if its database is restored from a backup. The number journal shows that, unless
the journal was restored with the database. Then the database server was restarted, and the channels
still have the numbers. So the channels are compared with HQ after each start of the server, before
the first number is issued. Source: ADR 0010.
"""

from django.db import transaction
from django.db.models import DateTimeField, Func, Q

from stores.channeldb.errors import ChannelError
from stores.messages.message import Message
from stores.models import ChannelDatabase, Incident
from stores.models.channel import ChannelDatabaseQuerySet
from stores.models.run import StepFailed
from stores.pipeline import number_journal
from stores.pipeline.fence.schema_drift import open_visit
from stores.pipeline.fence.visit import FencedChannel, read_known_state

SERVER_START = Func(function="pg_postmaster_start_time", output_field=DateTimeField())
WAS_COMPARED = Q(recognised_start=SERVER_START)


def require_numbers() -> None:
    """Raise StepFailed if HQ may have lost numbers.

    Effects: the number journal is completed; channels are visited after a start of HQ's server.
    """
    number_journal.check_journal()
    check_channels()


def require_posting() -> None:
    """Raise StepFailed if HQ may have lost numbers, or if an incident stops posting."""
    require_numbers()
    if incident := Incident.objects.blocking_posting().order_by("pk").first():
        raise StepFailed(
            Message("posting_blocked", incident=str(incident.pk), why=incident.message)
        )


def require_checked_numbers() -> None:
    """Raise StepFailed as require_numbers() does, or if some channels are still to be compared.

    For those who cannot wait for channels to be visited: the next conversion or upload does that.
    Effects: the number journal is completed.
    """
    number_journal.check_journal()
    if channels_to_check().exists():
        raise StepFailed(Message("channels_not_compared"))
    require_checked_channel()


def check_channels() -> None:
    """Visit the channels that have not been compared with HQ since its server was started.

    A channel that knows numbers which HQ does not opens an incident, which stops conversion and
    posting. Raise StepFailed if no channel has been compared; a single one that cannot be visited
    does not matter.
    """
    for database in channels_to_check().with_channel():
        check_channel(database)
    require_checked_channel()


def channels_to_check() -> ChannelDatabaseQuerySet:
    """Return the databases that nobody has tried to compare since HQ's server was started."""
    return (
        databases_with_numbers()
        .not_backing_off()
        .exclude(WAS_COMPARED | Q(failed_start=SERVER_START))
    )


def databases_with_numbers() -> ChannelDatabaseQuerySet:
    """Return the enabled databases that may know numbers, because HQ has written to them."""
    return ChannelDatabase.objects.enabled().filter(confirmed_epoch__gt=0)


def require_checked_channel() -> None:
    """Raise StepFailed if there are channels with numbers, and none of them has been compared."""
    databases = databases_with_numbers()
    if databases.exists() and not databases.filter(WAS_COMPARED).exists():
        stopping = Incident.objects.blocking_conversion().order_by("pk").first()
        raise StepFailed(stopping.message if stopping else Message("no_channel_visited"))


def check_channel(database: ChannelDatabase) -> None:
    """Compare HQ with one channel. If it cannot be visited, save that this was tried."""
    try:
        with open_visit(database) as channel:
            FencedChannel(channel, database, transaction.atomic).check_identity(
                read_known_state(database)
            )
    except ChannelError:
        ChannelDatabase.objects.filter(pk=database.pk).update(failed_start=SERVER_START)
