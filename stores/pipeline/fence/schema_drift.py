"""Refuse to visit a channel database whose tables were changed, and report the differences."""

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
    """Open a channel database, if its tables are as HQ expects them.

    Effects: if they are not, an incident with the differences, committed. The first visit that
    finds them correct closes it. Raises ChannelError.
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
    """Log the privileges of HQ's role that it never needs."""
    # The embedded server is HQ's own.
    if database.url.startswith("embedded:"):
        return
    if privileges := channel.excess_privileges():
        logger.warning(
            "channel=%s HQ's role may do more than it needs: %s%s",
            database.label,
            ", ".join(privileges[:MAX_PRIVILEGES]),
            ", …" if len(privileges) > MAX_PRIVILEGES else "",
        )


def report_drift(database: ChannelDatabase, drift: ChannelDrifted) -> None:
    """Open an incident with the differences, or note that it was seen again."""
    with transaction.atomic():
        Incident.objects.report(
            IncidentKind.SCHEMA_DRIFT,
            drift.message,
            database=database,
            detail={"differences": drift.differences[:MAX_DIFFERENCES]},
        )
