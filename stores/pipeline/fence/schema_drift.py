"""A channel whose tables were changed is not read, and people are told what is different."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import transaction

from stores.channeldb.errors import ChannelDrifted
from stores.channeldb.exchange import open as channeldb
from stores.channeldb.exchange.protocol import Visit
from stores.models import ChannelDatabase, Incident
from stores.models.incident import IncidentKind

logger = logging.getLogger(__name__)

# What an incident keeps of a very long list.
MAX_DIFFERENCES = 100
MAX_PRIVILEGES = 10


@contextmanager
def open_visit(database: ChannelDatabase) -> Iterator[Visit]:
    """Open a channel database whose tables are as HQ knows them.

    Effects: an incident "schema_drift" with all differences, committed, when they are not; it is
    closed by itself at the first visit that finds them right again. Errors: ChannelError.
    """
    try:
        # What went wrong at the last visit may have left a file damaged, or be a sign of it.
        with channeldb.visit(database, check_file=bool(database.last_error)) as channel:
            drifts = Incident.objects.filter(database=database, kind=IncidentKind.SCHEMA_DRIFT)
            drifts.close("The schema is correct again.")
            if database.last_visited_at is None:
                report_excess_privileges(database, channel)
            yield channel
    except ChannelDrifted as drift:
        report_drift(database, drift)
        raise


def report_excess_privileges(database: ChannelDatabase, channel: Visit) -> None:
    """Say in the log what HQ's role could do and never needs. The embedded server is HQ's own."""
    if database.url.startswith("embedded:") or not (privileges := channel.excess_privileges()):
        return
    logger.warning(
        "channel=%s HQ's role may do more than it needs: %s%s",
        database.label,
        ", ".join(privileges[:MAX_PRIVILEGES]),
        ", …" if len(privileges) > MAX_PRIVILEGES else "",
    )


def report_drift(database: ChannelDatabase, drift: ChannelDrifted) -> None:
    """Tell people what is different; once while it stays so."""
    with transaction.atomic():
        Incident.objects.report(
            IncidentKind.SCHEMA_DRIFT,
            str(drift)[:500],
            database=database,
            detail={"differences": drift.differences[:MAX_DIFFERENCES]},
        )
