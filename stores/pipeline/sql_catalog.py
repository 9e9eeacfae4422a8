"""List every statement that is in a file, complete, with the work tables that it reads.

A statement in a file has holes. Here they are filled as by the code that runs it, once for each
kind of event or table that it is run for. People print the statements, and a test has PostgreSQL
explain them. Each new file is added here, which a test checks.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from django.db import connection
from psycopg2 import sql

from stores.hqdb.files import heading
from stores.hqdb.work_table import WorkTable, creation, creation_from
from stores.models import Company
from stores.pipeline import fields_to_correct
from stores.pipeline.convert import (
    accounts,
    apply,
    balance,
    chunk,
    concurrent_edits,
    conflicts,
    convert,
    known_customers,
    merge,
    merged_fields,
    open_events,
    removals,
    replay,
)
from stores.pipeline.corrections import bulk, revalidate, undo
from stores.pipeline.corrections import events as hq_events
from stores.pipeline.corrections import sales as sale_corrections
from stores.pipeline.corrections.sale import CORRECTABLE_FIELDS
from stores.pipeline.download import ranges
from stores.pipeline.events.document_tables import (
    DOCUMENT_KEY,
    DOCUMENT_PARTS,
    HEADER,
    LINE,
    PAYMENT,
)
from stores.pipeline.events.kinds import (
    AFFILIATION,
    CHILDREN,
    CUSTOMER,
    EVENT_KINDS,
    EventKind,
    StagedTable,
)
from stores.pipeline.events.tables import STAGED_TABLES
from stores.pipeline.fence import incidents
from stores.pipeline.integrity import contents, identity, runs
from stores.pipeline.integrity import customers as shown_customers
from stores.pipeline.integrity import upload as upload_checks
from stores.pipeline.integrity.snapshot import CHANNEL_COLUMNS, Copies, copy_columns
from stores.pipeline.integrity.tables import COMPARED_EVENTS, COPIED_TABLES
from stores.pipeline.sales import customers as sale_customers
from stores.pipeline.sales import readiness, rules
from stores.pipeline.upload import documents, foreign_guids, quarantine, staging

PIPELINE = Path(__file__).parent
# The parameters by PostgreSQL's type: a name means the same in every statement.
PARAMETERS = {
    "text": "company name reason order origin corrects zone new table unread field part",
    "text[]": "codes fields allowed days names countries currencies languages",
    "uuid": "run session beyond correction undone",
    "uuid[]": "only skipped contested events",
    "bigint": "channel database statement customer last first first_change limit user by made_by"
    " generation listed batch left kept_days",
    "bigint[]": "sales ids locked counters others some databases batches",
    "boolean": "is_moved only_unchanged",
    "timestamptz": "earliest",
    "interval": "tolerance",
    "jsonb": "rows conflicts",
    "date": "day",
    "time": "day_ends_at",
}
# A subquery stands for each value, so that the planner knows as little of it as of any value.
UNKNOWN_VALUES = {
    name: f"(SELECT NULL)::{kind}" for kind, names in PARAMETERS.items() for name in names.split()
}


class MadeTable(WorkTable):
    """A work table, with the statements that make it and the tables that it is made from."""

    def __init__(self, name: str, *makers: sql.Composable) -> None:
        super().__init__(name)
        self.makers = makers


def made(name: str, columns: str | sql.Composable) -> MadeTable:
    return MadeTable(name, creation(name, columns))


def made_from(name: str, query: sql.Composable) -> MadeTable:
    return MadeTable(name, *makers_of(query), creation_from(name, query))


def makers_of(statement: sql.Composable) -> list[sql.Composable]:
    """Return the statements that make the work tables in a statement, each once and in order."""
    if isinstance(statement, MadeTable):
        return list(statement.makers)
    makers: list[sql.Composable] = []
    for part in statement if isinstance(statement, sql.Composed) else ():
        makers += [maker for maker in makers_of(part) if maker not in makers]
    return makers


@dataclass(frozen=True)
class ComposedStatement:
    """A statement with its holes filled: `name` is that of its file, and what it is run for."""

    name: str
    statement: sql.Composable
    # One that is run in a channel's PostgreSQL database, not in HQ.
    is_for_channel: bool = False

    @property
    def file_name(self) -> str:
        """Its name, whatever it is run for."""
        return self.name.partition(":")[0]

    @property
    def file(self) -> Path:
        folder, _, name = self.file_name.rpartition("/")
        return PIPELINE / folder.removeprefix("pipeline") / "sql" / f"{name}.sql"

    @property
    def summary(self) -> str:
        """The first sentence of its heading."""
        paragraph = heading(self.file).split("\n--\n")[0]
        words = " ".join(line.removeprefix("--").strip() for line in paragraph.splitlines())
        return words.split(". ")[0].rstrip(".:") + "."

    @property
    def makers(self) -> list[sql.Composable]:
        """The statements that make the work tables that it reads."""
        return makers_of(self.statement)

    def text(self) -> str:
        return as_text(self.statement)

    def script(self) -> str:
        """Return a script that shows the plan of the statement, and leaves nothing behind."""
        where = "-- Run it in a channel's database.\n" if self.is_for_channel else ""
        makers = "".join(f"{as_text(maker)};\n\n" for maker in self.makers)
        return (
            f"-- {self.name}\n--\n{heading(self.file)}\n{where}BEGIN;\n\n"
            f"{makers}EXPLAIN\n{self.text()};\n\nROLLBACK;\n"
        )


def as_text(statement: sql.Composable) -> str:
    """Return a statement as the server gets it, except for the values."""
    with connection.cursor() as cursor:
        text = statement.as_string(cursor.cursor)
    return (text % UNKNOWN_VALUES if "%(" in text else text).strip()


def composed_statements() -> list[ComposedStatement]:
    return [
        *of_upload(),
        *of_convert(),
        *of_single_modules(),
        *of_sales(),
        *of_corrections(),
        *of_integrity(),
    ]


def entry(
    file: str, statement: sql.Composable, *, of: str = "", is_for_channel: bool = False
) -> ComposedStatement:
    """Return the statement of a file, with the holes filled for a kind or table."""
    return ComposedStatement(f"{file}:{of}" if of else file, statement, is_for_channel)


# ------------------------------------------------------------------------------ upload


def incoming(kind: StagedTable, name: str = "incoming") -> MadeTable:
    return made(name, staging.incoming_columns(kind))


REJECTED = made("rejected", quarantine.REJECTED_COLUMNS)
TO_QUARANTINE = made("to_quarantine", quarantine.TO_QUARANTINE_COLUMNS)


def of_upload() -> Iterator[ComposedStatement]:
    for kind in EVENT_KINDS:
        yield from of_staging(kind)
    for table in STAGED_TABLES:
        close = staging.close_statement(table, incoming(table))
        yield entry("upload/close_returned", close, of=table.event)
    yield entry("upload/drop_quarantined", quarantine.drop_statement(TO_QUARANTINE))
    yield entry("upload/foreign_guids", foreign_guids.foreign_statement(incoming(CUSTOMER)))
    yield from of_documents()


def of_staging(kind: EventKind) -> Iterator[ComposedStatement]:
    rows, of = incoming(kind), kind.noun
    erased = made_from("of_erased", staging.rows_of_erased(rows))
    yield entry("upload/drop_known", staging.drop_statement(kind, rows), of=of)
    reject = staging.reject_statement(kind, rows, REJECTED)
    yield entry("upload/reject_invalid_rows", reject, of=of)
    insert = staging.insert_statement(kind, rows)
    yield entry("upload/insert_staged", insert, of=of)
    insert_or_skip = staging.insert_statement(kind, rows, staging.SKIP_KNOWN)
    yield entry("upload/insert_staged", insert_or_skip, of=f"{of}.skip")
    conflicting = staging.conflict_statement(kind, rows, REJECTED)
    yield entry("upload/reject_conflicting", conflicting, of=of)
    yield entry("upload/stage_erased", staging.erase_statement(kind, rows, erased), of=of)
    gather = quarantine.gather_statement(kind, rows, REJECTED, TO_QUARANTINE)
    yield entry("upload/quarantine_rejected", gather, of=of)


def of_documents() -> Iterator[ComposedStatement]:
    headers, lines, payments = (incoming(part, part.incoming) for part in (HEADER, LINE, PAYMENT))
    arrived = documents.IncomingDocuments(headers, lines, payments, REJECTED)
    description = documents.description_query(headers, lines, payments, key=(DOCUMENT_KEY,))
    described = made_from("described_document", description)
    kept = made("kept_document", documents.KEPT_COLUMNS)
    for part in (HEADER, *DOCUMENT_PARTS):
        reject = documents.reject_statement(part, arrived)
        yield entry("upload/reject_invalid_documents", reject, of=part.event)
    yield entry("upload/describe_documents", description)
    insert = documents.insert_statement(arrived, described, kept)
    yield entry("upload/insert_documents", insert)
    for part in DOCUMENT_PARTS:
        insert_rows = documents.insert_rows_statement(part, arrived, kept)
        yield entry("upload/insert_document_rows", insert_rows, of=part.event)
    gather = documents.gather_statement(arrived, TO_QUARANTINE)
    yield entry("upload/quarantine_documents", gather)


# ----------------------------------------------------------------------------- convert


DUE = made("due_event", chunk.DUE_COLUMNS)
CHUNK = chunk.Chunk(Company(code="NONE"), (), DUE, None)
CLAIM_GUIDS = accounts.CLAIM_GUIDS.format(events=CHUNK.events(CUSTOMER))
GUIDS = made_from("claimed_guid", CLAIM_GUIDS)


def history_of(kind: EventKind, customers: WorkTable) -> MadeTable:
    return made_from("event_history", chunk.history_query(kind, customers))


def of_convert() -> Iterator[ComposedStatement]:
    is_due = sql.SQL(open_events.IS_DUE)
    yield entry("convert/take_due", open_events.take_due_statement(DUE, is_due))
    yield entry("convert/due_events", open_events.DUE_EVENTS.format(is_due=is_due))
    yield entry("convert/write_wait_reasons", open_events.WRITE_WAIT_REASONS)
    yield from of_new_customers()
    for kind in EVENT_KINDS:
        yield from of_open_events(kind)
        yield from of_known_customers(kind)
        supersede = convert.supersede_statement(kind)
        yield entry("convert/supersede_quarantined", supersede, of=kind.noun)
        known = convert.EVENTS_OF_KNOWN.format(**kind.names)
        yield entry("convert/events_of_known", known, of=kind.noun)
    for table in balance.RECOUNT:
        yield entry(f"convert/{recount_file(table)}", balance.RECOUNT[table], of=table)


def recount_file(table: str) -> str:
    return "recount_sales" if table in balance.SALES_TABLES else "recount_events"


def of_new_customers() -> Iterator[ComposedStatement]:
    new_customers = made("new_customer", accounts.NEW_CUSTOMER_COLUMNS)
    yield entry("convert/claim_guids", CLAIM_GUIDS)
    exhausted = open_events.exhausted_statement(CHUNK, CUSTOMER, GUIDS)
    yield entry("convert/fail_exhausted", exhausted)
    create = accounts.create_statement(CHUNK, GUIDS, new_customers)
    yield entry("convert/create_customers", create)
    for kind in CHILDREN:
        claim = merge.claim_of_new(CHUNK, kind, GUIDS)
        if kind is not AFFILIATION:
            insert = merge.merge_statement(claim, may_replace=False)
            yield entry(merge_file(kind), insert, of=f"{kind.noun}.insert")
        yield entry(merge_file(kind), merge.merge_statement(claim), of=f"{kind.noun}.new")
        unapplied = merge.unapplied_statement(claim)
        yield entry("convert/settle_unapplied", unapplied, of=f"{kind.noun}.new")


def merge_file(kind: EventKind) -> str:
    has_id = kind in merge.KINDS_WITH_ID
    return "convert/merge_addresses" if has_id else "convert/merge_attributes"


def of_open_events(kind: EventKind) -> Iterator[ComposedStatement]:
    others = known_customers.other_events(CHUNK, kind, GUIDS)
    count_others = known_customers.COUNT_OTHERS.format(other_events=others)
    yield entry("convert/count_others", count_others, of=kind.noun)
    claim_events = known_customers.claim_statement(others)
    claimed = made_from("claimed_event", claim_events)
    yield entry("convert/claim_events", claim_events, of=kind.noun)
    allow = known_customers.allow_statement(kind, claimed)
    yield entry("convert/allow_given", allow, of=kind.noun)
    open_claimed = open_events.open_claimed_statement(CHUNK, kind, claimed)
    yield entry("convert/open_claimed", open_claimed, of=kind.noun)
    take = open_events.TAKE_EVENTS.format(due=DUE, **kind.names)
    yield entry("convert/take_events", take, of=kind.noun)
    in_order = convert.EVENTS_IN_ORDER.format(events=CHUNK.events(kind))
    yield entry("convert/events_in_order", in_order, of=kind.noun)
    refused = open_events.refused_statement(kind, DUE)
    yield entry("convert/fail_refused", refused, of=kind.noun)
    if kind in merge.KINDS_WITH_ID:
        contested = apply.CONTESTED_IDS.format(events=CHUNK.events(kind), **kind.names)
        yield entry("convert/contested_ids", contested, of=kind.noun)


def of_known_customers(kind: EventKind) -> Iterator[ComposedStatement]:
    others = known_customers.other_events(CHUNK, kind, GUIDS)
    claimed = made_from("claimed_event", known_customers.claim_statement(others))
    history, of = history_of(kind, claimed), kind.noun
    claim = merge.claim_of_known(CHUNK, kind, claimed)
    yield entry("convert/history", chunk.history_query(kind, claimed), of=of)
    if kind is CUSTOMER:
        update = known_customers.update_statement(claim)
        superseded = known_customers.SETTLE_SUPERSEDED.format(claimed=claimed)
        bump = known_customers.BUMP_VERSIONS.format(claimed=claimed)
        yield entry("convert/update_customers", update)
        yield entry("convert/settle_superseded", superseded)
        yield entry("convert/bump_versions", bump)
    else:
        yield entry(merge_file(kind), merge.merge_statement(claim, history), of=f"{of}.known")
        unapplied = merge.unapplied_statement(claim)
        yield entry("convert/settle_unapplied", unapplied, of=f"{of}.known")
    to_replay = replay.CUSTOMERS_TO_REPLAY.format(**claim.parts)
    again = made_from("again", to_replay)
    yield entry("convert/customers_to_replay", to_replay, of=of)
    yield entry("convert/replay", replay.replay_statement(kind, again, history), of=of)
    if kind in merge.KINDS_WITH_ID:
        yield entry("convert/demote_primaries", merge.demote_statement(claim), of=of)
        demote = replay.demote_statement(kind, again, history)
        yield entry("convert/demote_superseded", demote, of=of)
    if merged_fields.fields_of(kind):
        yield from of_concurrent_edits(kind, history)
    removed_query = removals.removed_query(kind, claimed, history)
    removed = made_from("removed_row", removed_query)
    edits_query = removals.later_edits_query(kind, removed, history)
    edits = made_from("later_edit", edits_query)
    yield entry("convert/removed", removed_query, of=of)
    yield entry("convert/later_edits", edits_query, of=of)
    names = removals.names_of_edits(kind, edits)
    yield entry("convert/remove_again", removals.REMOVE_AGAIN.format(**names), of=of)
    yield entry("convert/record_removals", removals.RECORD_REMOVALS.format(**names), of=of)
    yield entry("convert/close_removals", removals.CLOSE_REMOVALS.format(**names), of=of)


def of_concurrent_edits(kind: EventKind, history: WorkTable) -> Iterator[ComposedStatement]:
    several = concurrent_edits.several_query(kind, history)
    concurrent = concurrent_edits.concurrent_query(
        kind, made_from("edited_customer", several), history
    )
    stated = concurrent_edits.stated_query(kind, made_from("chosen", concurrent), history)
    record = conflicts.record_statement(kind, history)
    yield entry("convert/several_edits", several, of=kind.noun)
    yield entry("convert/concurrent_customers", concurrent, of=kind.noun)
    yield entry("convert/stated_edits", stated, of=kind.noun)
    yield entry("convert/write_merged", concurrent_edits.write_statement(kind), of=kind.noun)
    yield entry("convert/record_conflicts", record, of=kind.noun)


def of_single_modules() -> Iterator[ComposedStatement]:
    present = made("present", incidents.PRESENT_COLUMNS)
    for table in STAGED_TABLES:
        statement = incidents.missing_statement(table, present)
        yield entry("fence/missing_events", statement, of=table.event)
    yield entry("download/fold_sessions", ranges.FOLD_SESSIONS)
    record = fields_to_correct.record_statement(incoming(CUSTOMER))
    yield entry("pipeline/record_fields", record)
    yield entry("pipeline/settle_fields", fields_to_correct.SETTLE_FIELDS)


# ------------------------------------------------------------------------------- sales


ERRORS = made("found_error", rules.ERROR_COLUMNS)
BLOCKERS = sale_customers.BLOCKERS.format(is_foreign=sale_customers.IS_FOREIGN)


def of_sales() -> Iterator[ComposedStatement]:
    assign = sale_customers.ASSIGN_CUSTOMERS.format(is_foreign=sale_customers.IS_FOREIGN)
    yield entry("sales/assign_customers", assign)
    yield entry("sales/blockers", BLOCKERS)
    yield entry("sales/header_errors", rules.header_statement(ERRORS))
    for table, row_rules in rules.ROW_RULES:
        statement = rules.row_statement(table, row_rules, ERRORS)
        yield entry("sales/row_errors", statement, of=table)
    yield entry("sales/open_blockers", readiness.OPEN_BLOCKERS)


# ------------------------------------------------------------------------- corrections


FAILED_ROWS = made("failed_row", "sale bigint, line_number integer, expected text")


def of_corrections() -> Iterator[ComposedStatement]:
    for kind in EVENT_KINDS:
        rows = incoming(kind)
        broken = hq_events.broken_statement(kind, rows)
        yield entry("corrections/broken_rules", broken, of=kind.noun)
        stage = hq_events.stage_statement(kind, rows)
        yield entry("corrections/stage_event", stage, of=kind.noun)
    before = made(
        "error_before", "transaction_id bigint, rule text, field text, line_number integer"
    )
    failing = revalidate.STILL_FAILING.format(
        errors=ERRORS, blockers=made_from("blocker", BLOCKERS), errors_before=before
    )
    yield entry("corrections/still_failing", failing)
    queries = {
        "entered": sql.SQL(sale_corrections.ENTERED_VALUES).format(rows=FAILED_ROWS),
        "expected": sql.SQL(sale_corrections.EXPECTED_VALUES).format(rows=FAILED_ROWS),
        "undone": sql.SQL(undo.OLD_VALUES),
    }
    for part, model in bulk.PARTS.items():
        field = CORRECTABLE_FIELDS[model][0]
        for name, query in queries.items():
            statement = bulk.replace_statement(part, field, query)
            yield entry("corrections/replace_values", statement, of=f"{part}.{name}")


# --------------------------------------------------------------------------- integrity


CHANNELS = made("seen_channel", CHANNEL_COLUMNS)
COPIES = Copies(
    CHANNELS,
    {copy.target: made(copy.target, copy_columns(copy)) for copy in COPIED_TABLES},
    contents.HeldContents(
        CHANNELS,
        made("held_row", contents.HELD_ROW_COLUMNS),
        made("held_bucket", contents.HELD_BUCKET_COLUMNS),
    ),
)


def of_integrity() -> Iterator[ComposedStatement]:
    looked_at = made("looked_at", "customer_id bigint")
    shown = made("shown", shown_customers.SHOWN_COLUMNS)
    for kind in EVENT_KINDS:
        history = history_of(kind, looked_at)
        statement = shown_customers.shown_statement(kind, looked_at, shown, history)
        yield entry("integrity/shown_rows", statement, of=kind.noun)
        changed = shown_customers.changed_fields(kind, looked_at, history)
        yield entry("integrity/changed_fields", changed, of=kind.noun)
    for copy in COMPARED_EVENTS:
        receipts = upload_checks.receipts(copy, COPIES)
        yield entry("integrity/receipts", receipts, of=copy.source)
        yield entry("integrity/vanished", upload_checks.vanished(copy, COPIES), of=copy.source)
    yield entry("integrity/lost_or_doubled", upload_checks.LOST_OR_DOUBLED)
    for table, statement in upload_checks.changed(COPIES).items():
        name = "changed_documents" if table == HEADER.event else "changed_events"
        yield entry(f"integrity/{name}", statement, of=table)
    for table in identity.TABLES_WITH_GUIDS:
        yield entry("integrity/never_given", identity.never_given(table, COPIES), of=table)
    for word in runs.CARRIED:
        yield entry("integrity/miscounted_runs", runs.miscounted(word), of=word)
    yield from of_contents()


def of_contents() -> Iterator[ComposedStatement]:
    sent = made_from("sent", contents.SENT.format(channels=CHANNELS))
    for table in contents.CONTENT_TABLES:
        name = table.target.table
        ours = contents.fingerprint_query(table.target, contents.rows_of_hq(table, sent))
        yield entry("integrity/fingerprints", ours, of=name)
        wrong = contents.wrong_statement(table, COPIES.held, sent)
        yield entry("integrity/wrong_rows", wrong, of=name)
        held = contents.rows_in_buckets(table.target, 1, [0])
        yield entry("integrity/rows_in_buckets", held, of=name, is_for_channel=True)
