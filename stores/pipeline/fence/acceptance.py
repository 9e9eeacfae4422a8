"""Accept a channel database as it is, by the decision of a person, and close its incidents."""

from django.db import transaction

from stores.channeldb.connect.connection import connect
from stores.channeldb.exchange.open import visit
from stores.channeldb.provision import renew_identity
from stores.models import ChannelDatabase, Incident
from stores.models.incident import BLOCKS_DATABASE, IncidentKind
from stores.pipeline.fence.incidents import NO_IDENTITY, about_channel, accept

SETTLED_BY_ACCEPTANCE = (*BLOCKS_DATABASE, IncidentKind.CHANNEL_RESTORED)


class AcceptanceRefused(Exception):
    """The database cannot be taken as it is."""


def accept_database(database: ChannelDatabase, reason: str) -> int:
    """Take the database at the channel's address as the right one. Returns closed incidents.

    All customers are sent to it again, because another headquarters may have sent it what it has.
    Effects: HQ's row of the database and its incidents, in one transaction. Raises
    AcceptanceRefused for a database without an id or with that of another one, and ChannelError.
    """
    with visit(database) as channel:
        state = channel.state()
    if state is None:
        raise AcceptanceRefused(str(about_channel(database, NO_IDENTITY)))
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
    """Give the copy at the channel's address an id of its own, and accept it.

    Events that were acknowledged before it was copied belong to the original. Returns, effects and
    raises as accept_database(); it also changes `exchange_state` in the channel.
    """
    with connect(database) as alias:
        renew_identity(alias)
    return accept_database(database, reason)
