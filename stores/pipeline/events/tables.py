"""The list of all tables that channels send.

Uploads, the fence, recovery, comparison, checks and the balance all use this list, so that none of
them can leave out a table that another one covers.
"""

from stores.channeldb.exchange.protocol import EventTable
from stores.pipeline.events.document_tables import DOCUMENT_PARTS, HEADER, DocumentTable
from stores.pipeline.events.document_tables import DOCUMENT_SOURCE as DOCUMENTS
from stores.pipeline.events.kinds import CUSTOMER, EVENT_KINDS, EventKind, StagedTable

# Tables whose rows are acknowledged one by one. Customers come before the sales that name them.
STAGED_TABLES: tuple[StagedTable, ...] = (*EVENT_KINDS, HEADER)
# Tables whose rows travel with the row of another table that has the same transaction_id.
PARTS_BY_TABLE: dict[str, tuple[DocumentTable, ...]] = {HEADER.event: DOCUMENT_PARTS}
# The names of both kinds of tables, each event table followed by its parts.
TRAVELLING_TABLES = tuple(
    name
    for table in STAGED_TABLES
    for name in (table.event, *(part.event for part in PARTS_BY_TABLE.get(table.event, ())))
)


def event_table_of(kind: EventKind) -> EventTable:
    optional = ("birth_date",) if kind is CUSTOMER else ()
    return EventTable(kind.event, kind.sent_columns, kind.types, optional=optional)


UPLOAD_SOURCES = [*map(event_table_of, EVENT_KINDS), DOCUMENTS]
