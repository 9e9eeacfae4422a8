"""Databases that lack customers and are sent none: paused, or suspended in strict order."""

from collections.abc import Collection, Iterator

from django.db.models import Q

from stores.hqdb.sql import fetch_values
from stores.messages.message import Message
from stores.models import ChannelDatabase
from stores.pipeline.download.lacking import count_lacking
from stores.pipeline.download.sessions import suspended_in_strict_order

# More customers than these are not counted: a run that does nothing must stay cheap.
MAX_COUNTED = 1000


def stoppable_databases(databases: Collection[int]) -> set[int]:
    """Those in which a person has paused something, or a refusal may stop it: mostly none."""
    return set(
        fetch_values(
            """SELECT id FROM channel_database
                WHERE id = ANY(%s) AND (uploads_paused_at IS NOT NULL
                                        OR downloads_paused_at IS NOT NULL OR strict_order)""",
            [list(databases)],
        )
    )


def stopped_downloads(databases: Collection[int]) -> Iterator[Message]:
    """Which of the databases, given by their ids, lack customers and are sent none."""
    if not databases:
        return
    is_stopped = Q(downloads_paused_at__isnull=False) | Q(
        pk__in=suspended_in_strict_order().values("database")
    )
    stopped = list(ChannelDatabase.objects.with_channel().filter(is_stopped, pk__in=databases))
    if not stopped:
        return
    lacking = count_lacking([database.pk for database in stopped], most=MAX_COUNTED)
    for database in stopped:
        if customers := lacking[database.pk]:
            yield Message(
                "downloads_on_hold" if database.downloads_paused else "downloads_suspended",
                customers=Message("customers", count=customers)
                if customers <= MAX_COUNTED
                else Message("more_customers", count=MAX_COUNTED),
                database=database.label,
            )
