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
from stores.models.run import StepFailed
from stores.pipeline import number_journal
from stores.pipeline.fence.schema_drift import open_visit
from stores.pipeline.fence.visit import FencedChannel, read_known_state

SERVER_START = Func(function="pg_postmaster_start_time", output_field=DateTimeField())


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


def check_channels() -> None:
    """Visit the channels that have not been compared with HQ since its server was started.

    A channel that knows numbers which HQ does not opens an incident, which stops conversion and
    posting. Raise StepFailed if no channel has been compared; a single one that cannot be visited
    does not matter.
    """
    # HQ has never written to the others, so that they know no numbers.
    databases = ChannelDatabase.objects.enabled().filter(confirmed_epoch__gt=0)
    was_compared = Q(recognised_start=SERVER_START)
    has_failed = Q(failed_start=SERVER_START)
    for database in databases.not_paused().exclude(was_compared | has_failed).with_channel():
        check_channel(database)
    if databases.exists() and not databases.filter(was_compared).exists():
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
