"""Whether numbers may be issued: HQ is compared with its journal, and with its channels.

A folder that is set back as a whole, the journal in it, shows neither in the file nor in the
identity of server and database. But the server was started then: so after each start channels are
asked before a number is given, unless an upload has been there already. Source: ADR 0010.
"""

from django.db import transaction
from django.db.models import DateTimeField, Func, Q

from stores.channeldb.errors import ChannelError
from stores.models import ChannelDatabase, Incident
from stores.models.run import StepFailed
from stores.pipeline import number_journal
from stores.pipeline.fence.schema_drift import open_visit
from stores.pipeline.fence.visit import FencedChannel, read_known_state

SERVER_START = Func(function="pg_postmaster_start_time", output_field=DateTimeField())


def require_numbers() -> None:
    """Refuse to issue numbers if HQ seems to have forgotten some.

    Effects: those of journal.compare(); channels are visited, once after each start of HQ's server.
    Errors: StepFailed with one sentence.
    """
    number_journal.check_journal()
    check_channels()


def require_posting() -> None:
    """The same for numbers of orders and invoices, which an incident of their own may stop."""
    require_numbers()
    if incident := Incident.objects.blocking_posting().order_by("pk").first():
        raise StepFailed(
            f"Nothing is posted until incident {incident.pk} is closed: {incident.message}"
        )


def check_channels() -> None:
    """See that HQ was compared with its channels since its server was started.

    One that cannot be visited keeps nobody waiting, unless none can. Effects: an incident when a
    channel knows more than HQ, which stops conversion. Errors: StepFailed.
    """
    # One that HQ has never written to has nothing to tell.
    databases = ChannelDatabase.objects.enabled().filter(confirmed_epoch__gt=0)
    seen = Q(recognised_start=SERVER_START)
    # One in trouble is left alone until its next try.
    to_ask = databases.not_paused().exclude(seen | Q(failed_start=SERVER_START))
    for database in to_ask.with_channel():
        check_channel(database)
    if databases.exists() and not databases.filter(seen).exists():
        stopping = Incident.objects.blocking_conversion().order_by("pk").first()
        raise StepFailed(
            stopping.message
            if stopping
            else "No number is issued: since headquarters' database server was started no channel "
            "could be visited."
        )


def check_channel(database: ChannelDatabase) -> None:
    """Compare HQ with one channel; trouble with it is noted."""
    try:
        with open_visit(database) as channel:
            FencedChannel(channel, database, transaction.atomic).check_identity(
                read_known_state(database)
            )
    except ChannelError:
        ChannelDatabase.objects.filter(pk=database.pk).update(failed_start=SERVER_START)
