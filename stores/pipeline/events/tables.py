"""All that a channel sends, told once: whatever walks a channel's tables walks this list.

Upload, the fence's list of forgotten events, recovery, comparison, checks and the balance take it
from here, so that none of them can leave out what another one takes over.
"""

from stores.channeldb.exchange.protocol import EventTable
from stores.pipeline.events.document_tables import DOCUMENT_PARTS, HEADER, DocumentTable
from stores.pipeline.events.document_tables import DOCUMENT_SOURCE as DOCUMENTS
from stores.pipeline.events.kinds import CUSTOMER, EVENT_KINDS, EventKind, StagedTable

# Tables whose rows are acknowledged one by one; customers before the sales that name them.
STAGED_TABLES: tuple[StagedTable, ...] = (*EVENT_KINDS, HEADER)
# Tables whose rows travel with an event of another one, by its transaction_id.
PARTS_BY_TABLE: dict[str, tuple[DocumentTable, ...]] = {HEADER.event: DOCUMENT_PARTS}
# The names of both, each event table with its parts behind it.
TRAVELLING_TABLES = tuple(
    name
    for table in STAGED_TABLES
    for name in (table.event, *(part.event for part in PARTS_BY_TABLE.get(table.event, ())))
)


def event_table_of(kind: EventKind) -> EventTable:
    optional = ("birth_date",) if kind is CUSTOMER else ()
    return EventTable(kind.event, kind.sent_columns, kind.types, optional=optional)


UPLOAD_SOURCES = [*map(event_table_of, EVENT_KINDS), DOCUMENTS]
