"""All that a channel sends, told once: whatever walks a channel's tables walks this list.

Upload, the fence's list of forgotten events, recovery, comparison, checks and the balance take it
from here, so that none of them can leave out what another one takes over.
"""

from stores.channeldb.exchange.protocol import EventTable
from stores.pipeline.events.document_tables import HEADER, PARTS, Part
from stores.pipeline.events.document_tables import SOURCE as DOCUMENTS
from stores.pipeline.events.kinds import CUSTOMER, KINDS, Kind, Sent

# Tables whose rows are acknowledged one by one; customers before the sales that name them.
EVENT_TABLES: tuple[Sent, ...] = (*KINDS, HEADER)
# Tables whose rows travel with an event of another one, by its transaction_id.
PARTS_OF: dict[str, tuple[Part, ...]] = {HEADER.event: PARTS}
# The names of both, each event table with its parts behind it.
TABLES = tuple(
    name
    for table in EVENT_TABLES
    for name in (table.event, *(part.event for part in PARTS_OF.get(table.event, ())))
)


def source_of(kind: Kind) -> EventTable:
    """How an upload reads a kind of event."""
    types = tuple(map(kind.type_of, kind.sent))
    optional = ("birth_date",) if kind is CUSTOMER else ()
    return EventTable(kind.event, kind.sent, types, optional=optional)


SOURCES = [*map(source_of, KINDS), DOCUMENTS]
