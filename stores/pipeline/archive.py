"""Archive a channel that has closed for good, and bring it back.

An archived channel is visited no more. Its customers, sales and traces stay as they are.
"""

from collections.abc import Iterator
from typing import Any

from django.db import transaction
from django.db.models.functions import Now

from stores.channeldb.connect.connection import connect
from stores.channeldb.errors import ChannelError
from stores.channeldb.schema.tables import EVENT_MODELS
from stores.hqdb.sql import fetch_values
from stores.messages.labels import counted
from stores.models import Channel, ChannelDatabase, Quarantine, UnfinishedEvent
from stores.pipeline.download.lacking import count_lacking


class ArchiveRefused(Exception):
    """The channel is archived already, or is not, or something of it still waits."""


class StillWaiting(ArchiveRefused):
    """Something of the channel waits, of which nothing would come any more."""

    def __init__(self, code: str, obstacles: list[str]) -> None:
        super().__init__(f"Channel {code} is not archived: {' '.join(obstacles)}")
        self.obstacles = obstacles


def archive_channel(
    channel: Channel, reason: str, *, by: Any = None, whatever_waits: bool = False
) -> None:
    """Visit a channel no more.

    Its databases are opened to see what they still have for HQ. Raise StillWaiting if anything of
    the channel waits, unless `whatever_waits` is true.
    """
    if not whatever_waits and (obstacles := list(what_waits(channel))):
        raise StillWaiting(channel.code, obstacles)
    archived = Channel.objects.filter(pk=channel.pk, archived_at=None).update(
        archived_at=Now(), archived_by=by, archive_reason=reason, is_enabled=False
    )
    if not archived:
        raise ArchiveRefused(f"Channel {channel.code} is archived already.")


def restore_channel(channel: Channel) -> None:
    """Visit a channel again; its next runs make up for what it missed."""
    restored = Channel.objects.filter(pk=channel.pk, archived_at__isnull=False).update(
        archived_at=None, archived_by=None, archive_reason="", is_enabled=True
    )
    if not restored:
        raise ArchiveRefused(f"Channel {channel.code} is not archived.")


def what_waits(channel: Channel) -> Iterator[str]:
    """Yield a sentence for each thing of the channel that waits."""
    databases = list(channel.databases.select_related("channel").order_by("name"))
    for database in databases:
        yield from not_uploaded(database)
    unfinished = UnfinishedEvent.objects.filter(database__in=databases).count()
    if unfinished:
        yield f"Not converted: {counted(unfinished, 'operation')}."
    if quarantined := Quarantine.objects.open().filter(database__in=databases).count():
        yield f"In quarantine: {counted(quarantined, 'row')}."
    lacking = count_lacking([database.pk for database in databases])
    for database in databases:
        if customers := lacking[database.pk]:
            yield f"Not delivered: {counted(customers, 'customer')} to {database.label}."
    if days := unposted_days(channel):
        yield f"Not posted: {counted(len(days), 'business date')}, from {days[0]:%Y-%m-%d} on."


def not_uploaded(database: ChannelDatabase) -> Iterator[str]:
    """Yield a sentence if the database has events that HQ lacks, or if it cannot be opened."""
    try:
        with connect(database) as alias, transaction.atomic(using=alias):
            events = sum(
                model.objects.using(alias).unacknowledged().count() for model in EVENT_MODELS
            )
    except ChannelError as error:
        yield f"What {database.label} has not sent is unknown: {error}"
    else:
        if events:
            yield f"Not uploaded: {counted(events, 'event')} of {database.label}."


def unposted_days(channel: Channel) -> list[Any]:
    """The business dates of the channel with sales or payments in no posted statement."""
    return fetch_values(
        """SELECT DISTINCT business_date FROM unposted_sale
            WHERE channel_id = %s AND entry_status = 'concluded' ORDER BY business_date""",
        [channel.pk],
    )
