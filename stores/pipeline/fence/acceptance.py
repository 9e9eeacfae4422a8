"""Settle an incident of a channel: take the database as it is, or make it a new one."""

from django.db import transaction

from stores.channeldb.connect.connection import connect
from stores.channeldb.exchange.open import visit
from stores.channeldb.provision import renew_identity
from stores.models import ChannelDatabase, Incident
from stores.models.incident import BLOCKS_DATABASE, IncidentKind
from stores.pipeline.fence.incidents import NO_DATABASE_ID, accept

SETTLED_BY_ACCEPTANCE = (*BLOCKS_DATABASE, IncidentKind.CHANNEL_RESTORED)


class AcceptanceRefused(Exception):
    """The database cannot be taken as it is."""


def accept_database(database: ChannelDatabase, reason: str) -> int:
    """Take the database at the channel's address as the right one, and close what blocks it.

    All customers are sent again: what it says it has may be another headquarters' word. Returns how
    many incidents were closed. Effects: HQ's row of the database and its incidents, in one
    transaction. Errors: AcceptanceRefused, ChannelError.
    """
    with visit(database) as channel:
        state = channel.state()
    if state is None:
        raise AcceptanceRefused(f"Channel {database.label}: {NO_DATABASE_ID}")
    others = ChannelDatabase.objects.exclude(pk=database.pk)
    if owner := others.filter(database_id=state.database_id).first():
        raise AcceptanceRefused(
            f"Channel {database.label}: its database is a copy of that of {owner.label}; renew it."
        )
    with transaction.atomic():
        ChannelDatabase.objects.select_for_update().get(pk=database.pk)
        accept(database, state)
        ChannelDatabase.objects.filter(pk=database.pk).update(
            database_id=state.database_id, position=0, received_no=0, starts_over=True
        )
        settled = Incident.objects.filter(database=database, kind__in=SETTLED_BY_ACCEPTANCE)
        return settled.close(reason)


def renew_database(database: ChannelDatabase, reason: str) -> int:
    """Make the copy at the channel's address a database of its own, and take it as it is.

    What the copy holds as acknowledged is the original's. Returns how many incidents were closed.
    Effects: the channel's `exchange_state`; then those of accept_database. Errors: as there.
    """
    with connect(database) as alias:
        renew_identity(alias)
    return accept_database(database, reason)
