"""Every composed statement whole, with the work tables that it reads: for people, and EXPLAIN.

A statement in a file has holes; here each is filled as the code that runs it does, once for each
kind of event or table that it is run for. Whoever adds a file adds it here: a test holds both
together.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from django.db import connection
from psycopg2 import sql

from stores.hqdb.files import heading, path_of
from stores.hqdb.work_table import WorkTable, creation, creation_from
from stores.models import Company
from stores.pipeline import fields_to_correct
from stores.pipeline.convert import (
    accounts,
    apply,
    balance,
    chunk,
    conflicts,
    convert,
    known_customers,
    merge,
    open_events,
    removals,
    replay,
)
from stores.pipeline.corrections import bulk as bulk_corrections
from stores.pipeline.corrections import events as hq_events
from stores.pipeline.corrections import revalidate, undo
from stores.pipeline.corrections import sales as sale_corrections
from stores.pipeline.corrections.sale import CORRECTABLE_FIELDS
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
from stores.pipeline.integrity import sales as sale_checks
from stores.pipeline.integrity import upload as upload_checks
from stores.pipeline.integrity.snapshot import CHANNEL_COLUMNS, Copies, copy_columns
from stores.pipeline.integrity.tables import (
    COMPARED_CONTENTS,
    COMPARED_EVENTS,
    COMPARED_MAP,
    COMPARED_PARTS,
    COMPARED_TABLES,
)
from stores.pipeline.sales import customers as sale_customers
from stores.pipeline.sales import orders, readiness, rules, statement_states, validate
from stores.pipeline.upload import documents, foreign_guids, quarantine, staging

# PostgreSQL's types of the parameters: a name means the same in every statement.
PARAMETER_TYPES = {
    **dict.fromkeys(("company", "name", "reason", "order", "origin", "corrects", "zone"), "text"),
    **dict.fromkeys(("new", "table", "unread", "field", "part"), "text"),
    **dict.fromkeys(("codes", "fields", "allowed", "days", "names"), "text[]"),
    **dict.fromkeys(("countries", "currencies", "languages"), "text[]"),
    **dict.fromkeys(("run", "session", "beyond", "correction", "of"), "uuid"),
    **dict.fromkeys(("only", "passed", "apart", "events"), "uuid[]"),
    **dict.fromkeys(("channel", "database", "statement", "customer", "last"), "bigint"),
    **dict.fromkeys(("first", "limit", "user", "by", "made_by", "generation", "listed"), "bigint"),
    "first_change": "bigint",
    **dict.fromkeys(
        ("sales", "ids", "locked", "counters", "others", "some", "batches"), "bigint[]"
    ),
    **dict.fromkeys(("is_moved", "is_free", "clears"), "boolean"),
    **dict.fromkeys(("batch", "left"), "bigint"),
    "earliest": "timestamptz",
    "day": "date",
    "day_ends_at": "time",
}


@dataclass(frozen=True)
class Made:
    """A work table and the statements that make it, after those of the tables that it reads."""

    table: WorkTable
    makers: tuple[sql.Composable, ...]


@dataclass(frozen=True)
class ComposedStatement:
    """A statement with its holes filled: `name` is that of its file, and what it is run for."""

    name: str
    heading: str
    statement: sql.Composable
    makers: tuple[sql.Composable, ...] = ()
    # One that is run in a channel's PostgreSQL database, not in HQ.
    is_for_channel: bool = False
    file: Path | None = field(default=None, compare=False)

    @property
    def file_name(self) -> str:
        """Its name, whatever it is run for."""
        return self.name.partition(":")[0]

    @property
    def summary(self) -> str:
        """The first sentence of its heading."""
        paragraph = self.heading.split("\n--\n")[0]
        words = " ".join(line.removeprefix("--").strip() for line in paragraph.splitlines())
        return words.split(". ")[0].rstrip(".:") + "."

    def text(self) -> str:
        return as_text(self.statement)

    def script(self) -> str:
        """What a person runs: work tables, the plan of the statement, and nothing that stays."""
        where = "-- Run it in a channel's database.\n" if self.is_for_channel else ""
        makers = "".join(f"{as_text(maker)};\n\n" for maker in self.makers)
        return (
            f"-- {self.name}\n--\n{self.heading}\n{where}BEGIN;\n\n"
            f"{makers}EXPLAIN\n{self.text()};\n\nROLLBACK;\n"
        )


def as_text(statement: sql.Composable) -> str:
    """A statement as the server gets it, but for the values.

    A subquery stands for each of them, so that the planner knows as little of it as of any value.
    """
    with connection.cursor() as cursor:
        text = statement.as_string(cursor.cursor)
    if "%(" not in text:
        return text.strip()
    nulls = {name: f"(SELECT NULL)::{kind}" for name, kind in PARAMETER_TYPES.items()}
    return (text % nulls).strip()


def composed_statements() -> list[ComposedStatement]:
    return [
        *of_fence(),
        *of_upload(),
        *of_convert(),
        *of_fields_to_correct(),
        *of_sales(),
        *of_corrections(),
        *of_integrity(),
    ]


# ---------------------------------------------------------------------- how one is listed


def listed_file(
    module: str,
    name: str,
    statement: sql.Composable,
    *reads: Made,
    of: str = "",
    is_for_channel: bool = False,
) -> ComposedStatement:
    """A statement of a file beside a module, filled for a kind or table, and what it reads."""
    path = path_of(module, name)
    room = path.parents[1].name
    return ComposedStatement(
        f"{room}/{name}" + (f":{of}" if of else ""),
        heading(path),
        statement,
        makers_of(reads),
        is_for_channel,
        path,
    )


def makers_of(reads: Iterable[Made]) -> tuple[sql.Composable, ...]:
    """The statements that make some work tables, each once and in order."""
    makers: list[sql.Composable] = []
    for made in reads:
        makers += [maker for maker in made.makers if maker not in makers]
    return tuple(makers)


def made(name: str, columns: str | sql.Composable) -> Made:
    return Made(WorkTable(name), (creation(name, columns),))


def made_from(name: str, query: sql.Composable, *reads: Made) -> Made:
    return Made(WorkTable(name), (*makers_of(reads), creation_from(name, query)))


def of_fence() -> Iterator[ComposedStatement]:
    present = made("present", incidents.PRESENT_COLUMNS)
    for table in STAGED_TABLES:
        statement = incidents.missing_statement(table, present.table)
        yield listed_file(incidents.__file__, "missing_events", statement, present, of=table.event)


# ------------------------------------------------------------------------------ upload


def incoming(kind: StagedTable, name: str = "incoming") -> Made:
    return made(name, staging.incoming_columns(kind))


REJECTED = made("rejected", quarantine.REJECTED_COLUMNS)
TO_QUARANTINE = made("to_quarantine", quarantine.TO_QUARANTINE_COLUMNS)


def of_upload() -> Iterator[ComposedStatement]:
    for kind in EVENT_KINDS:
        yield from of_staging(kind)
    rows = incoming(CUSTOMER)
    yield listed_file(
        foreign_guids.__file__,
        "foreign_guids",
        foreign_guids.foreign_statement(rows.table),
        rows,
    )
    yield from of_documents()


def of_staging(kind: EventKind) -> Iterator[ComposedStatement]:
    rows, file = incoming(kind), partial(listed_file, staging.__file__, of=kind.name)
    erased = made_from("of_erased", staging.rows_of_erased(rows.table), rows)
    yield file("drop_known", staging.drop_statement(kind, rows.table), rows)
    yield file(
        "reject_invalid_rows",
        staging.reject_statement(kind, rows.table, REJECTED.table),
        rows,
        REJECTED,
    )
    yield file("insert_staged", staging.insert_statement(kind, rows.table, ""), rows)
    yield replace(
        file(
            "insert_staged",
            staging.insert_statement(kind, rows.table, staging.SKIP_KNOWN),
            rows,
        ),
        name=f"upload/insert_staged:{kind.name}.skip",
    )
    yield file(
        "reject_conflicting",
        staging.conflict_statement(kind, rows.table, REJECTED.table),
        rows,
        REJECTED,
    )
    yield file(
        "stage_erased", staging.erase_statement(kind, rows.table, erased.table), rows, erased
    )
    yield file(
        "quarantine_rejected",
        quarantine.gather_statement(kind, rows.table, REJECTED.table, TO_QUARANTINE.table),
        rows,
        REJECTED,
        TO_QUARANTINE,
    )


def of_documents() -> Iterator[ComposedStatement]:
    tables = [incoming(part, part.incoming) for part in (HEADER, LINE, PAYMENT)]
    headers, lines, payments = (made.table for made in tables)
    arrived = documents.IncomingDocuments(headers, lines, payments, REJECTED.table)
    description = documents.description_query(
        headers,
        lines,
        payments,
        key=(DOCUMENT_KEY,),
    )
    described = made_from("described_document", description, *tables)
    kept = made("kept_document", documents.KEPT_COLUMNS)
    file = partial(listed_file, documents.__file__)
    for part in (HEADER, *DOCUMENT_PARTS):
        yield file(
            "reject_invalid_documents",
            documents.reject_statement(part, arrived),
            *tables,
            REJECTED,
            of=part.event,
        )
    yield file("describe_documents", description, *tables)
    yield file(
        "insert_documents",
        documents.insert_statement(arrived, described.table, kept.table),
        described,
        kept,
    )
    for part in DOCUMENT_PARTS:
        yield file(
            "insert_document_rows",
            documents.insert_rows_statement(part, arrived, kept.table),
            *tables,
            kept,
            of=part.event,
        )
    yield file(
        "quarantine_documents",
        documents.gather_statement(arrived, TO_QUARANTINE.table),
        *tables,
        REJECTED,
        TO_QUARANTINE,
    )


# ----------------------------------------------------------------------------- convert


NEW_GUIDS_COLUMNS = "async_account uuid, customer_id bigint, hq_version bigint, databases bigint[]"
DUE = made("due_event", chunk.DUE_COLUMNS)
CHUNK = chunk.Chunk(Company(code="NONE"), (), DUE.table, None)
GUIDS = made_from("claimed_guid", accounts.claim_statement(CHUNK), DUE)


def events_of(kind: EventKind) -> Made:
    return made_from(
        "claimed_event", known_customers.claim_statement(CHUNK, kind, GUIDS.table), GUIDS
    )


def history_of(kind: EventKind, customers: Made) -> Made:
    return made_from("event_history", chunk.history_query(kind, customers.table), customers)


def of_convert() -> Iterator[ComposedStatement]:
    for kind in EVENT_KINDS:
        yield from of_open_events(kind)
    due = open_events.take_due_statement(DUE.table, sql.SQL(open_events.IS_DUE))
    yield listed_file(open_events.__file__, "take_due", due, DUE)
    due = open_events.due_statement(sql.SQL(open_events.IS_DUE))
    yield listed_file(open_events.__file__, "due_events", due)
    yield listed_file(open_events.__file__, "write_wait_reasons", open_events.WRITE_WAIT_REASONS)
    yield from of_new_customers()
    for kind in EVENT_KINDS:
        yield from of_known_customers(kind)
        statement = convert.supersede_statement(kind)
        yield listed_file(convert.__file__, "supersede_quarantined", statement, of=kind.name)
        known = convert.known_statement(kind)
        yield listed_file(convert.__file__, "events_of_known", known, of=kind.name)
    yield from of_balance()


def of_open_events(kind: EventKind) -> Iterator[ComposedStatement]:
    file = partial(listed_file, open_events.__file__, of=kind.name)
    yield file("take_events", open_events.take_events_statement(kind, DUE.table), DUE)
    in_order = convert.in_order_statement(CHUNK, kind)
    yield file("events_in_order", in_order, DUE)
    claimed = events_of(kind)
    open_claimed = open_events.open_claimed_statement(CHUNK, kind, claimed.table)
    yield file("open_claimed", open_claimed, claimed)
    yield file("fail_refused", open_events.refused_statement(kind, DUE.table), DUE)
    if kind in merge.KINDS_WITH_ID:
        yield file("contested_ids", apply.contested_statement(CHUNK, kind), DUE)


def of_new_customers() -> Iterator[ComposedStatement]:
    file, guids = partial(listed_file, accounts.__file__), GUIDS.table
    new_customers = made("new_customer", accounts.NEW_CUSTOMER_COLUMNS)
    yield file("claim_guids", accounts.claim_statement(CHUNK), DUE)
    exhausted = open_events.exhausted_statement(CHUNK, CUSTOMER, guids)
    yield file("fail_exhausted", exhausted, GUIDS)
    yield file(
        "create_customers",
        accounts.create_statement(CHUNK, guids, new_customers.table),
        GUIDS,
        new_customers,
    )
    for kind in CHILDREN:
        name = "merge_addresses" if kind in merge.KINDS_WITH_ID else "merge_attributes"
        claim = merge.claim_of_new(CHUNK, kind, guids, apart=True)
        if kind is not AFFILIATION:
            insert = merge.merge_statement(claim, is_new=True)
            yield file(name, insert, GUIDS, of=f"{kind.name}.insert")
        yield file(name, merge.merge_statement(claim), GUIDS, of=f"{kind.name}.new")
        unapplied = merge.unapplied_statement(claim, DUE.table)
        yield file("settle_unapplied", unapplied, GUIDS, of=f"{kind.name}.new")


def of_known_customers(kind: EventKind) -> Iterator[ComposedStatement]:
    claimed = events_of(kind)
    history = history_of(kind, claimed)
    claim = merge.claim_of_known(kind, claimed.table)
    file = partial(listed_file, merge.__file__, of=kind.name)
    yield file("claim_events", known_customers.claim_statement(CHUNK, kind, GUIDS.table), GUIDS)
    yield file("history", chunk.history_query(kind, claimed.table), claimed)
    if kind is CUSTOMER:
        yield file("update_customers", known_customers.update_statement(claim), claimed)
        yield file("settle_superseded", known_customers.superseded_statement(claim), claimed)
        bump = known_customers.BUMP_VERSIONS.format(claimed=claimed.table)
        yield listed_file(known_customers.__file__, "bump_versions", bump, claimed)
    else:
        name = "merge_addresses" if kind in merge.KINDS_WITH_ID else "merge_attributes"
        statement = merge.merge_statement(claim, history=history.table)
        known = file(name, statement, history)
        yield replace(known, name=f"{known.name}.known")
        unapplied = file("settle_unapplied", merge.unapplied_statement(claim, DUE.table), claimed)
        yield replace(unapplied, name=f"{unapplied.name}.known")
    yield file("customers_to_replay", replay.customers_to_replay(claim), claimed)
    again = made_from("again", replay.customers_to_replay(claim), claimed)
    table = history.table
    yield file("replay", replay.replay_statement(kind, again.table, table), again, history)
    if kind in merge.KINDS_WITH_ID:
        yield file("demote_primaries", merge.demote_statement(kind, claimed.table), claimed)
        demote = replay.demote_statement(kind, again.table, table)
        yield file("demote_superseded", demote, again, history)
    yield from of_removals(kind, claimed, history)
    yield ComposedStatement(
        f"convert/record_conflicts:{kind.name}",
        "-- What claimed edits conflict with, each field with both values.",
        conflicts.record_statement(kind, claimed.table, table),
        history.makers,
    )


def of_removals(kind: EventKind, claimed: Made, history: Made) -> Iterator[ComposedStatement]:
    file = partial(listed_file, removals.__file__, of=kind.name)
    removed_query = removals.removed_query(kind, claimed.table, history.table)
    removed = made_from("removed_row", removed_query, history)
    edits_query = removals.later_edits_query(kind, removed.table, history.table)
    edits = made_from("later_edit", edits_query, removed)
    yield file("removed", removed_query, history)
    yield ComposedStatement(
        f"convert/later_edits:{kind.name}",
        "-- The edits after the last removal of each entity, and whether their makers had seen it.",
        edits_query,
        removed.makers,
    )
    yield file("remove_again", removals.remove_statement(kind, edits.table), edits)
    yield file("record_removals", removals.record_statement(kind, edits.table), edits)
    yield file("close_removals", removals.close_statement(kind, edits.table), edits)


def of_balance() -> Iterator[ComposedStatement]:
    held = {kind.event: balance.held_events(kind) for kind in EVENT_KINDS} | {
        part.event: balance.held_documents(part) for part in (HEADER, *DOCUMENT_PARTS)
    }
    for table, rows in held.items():
        statement = balance.recount(table, rows, balance.OF_COMPANY)
        yield listed_file(balance.__file__, "recount", statement, of=table)
        days = balance.days_statement(table, balance.OF_COMPANY)
        yield listed_file(balance.__file__, "days_of_balance", days, of=table)
    sales = balance.recount(HEADER.event, held[HEADER.event], balance.OF_CHANNEL)
    yield listed_file(balance.__file__, "recount", sales, of=f"{HEADER.event}.channel")


def of_fields_to_correct() -> Iterator[ComposedStatement]:
    file, rows = partial(listed_file, fields_to_correct.__file__), incoming(CUSTOMER)
    yield file("record_fields", fields_to_correct.record_statement(rows.table), rows)
    yield file("settle_fields", fields_to_correct.settle_statement())


# ------------------------------------------------------------------------------- sales


ERRORS = made("found_error", rules.ERROR_COLUMNS)


def of_sales() -> Iterator[ComposedStatement]:
    file = partial(listed_file, rules.__file__)
    yield file("lock_sales_to_validate", validate.LOCK_SALES)
    yield file("lock_orders", orders.LOCK_ORDERS)
    yield file("assign_customers", sale_customers.assign_statement())
    yield file("blockers", sale_customers.blockers_query())
    yield file("header_errors", rules.header_statement(ERRORS.table), ERRORS)
    for table, row_rules in rules.ROW_RULES:
        statement = rules.row_statement(table, row_rules, ERRORS.table)
        yield file("row_errors", statement, ERRORS, of=table)
    yield file("open_days", readiness.OPEN_DAYS)
    yield file("open_blockers", readiness.OPEN_BLOCKERS)
    yield file("freeze_statement", statement_states.FREEZE_STATEMENT)


# ------------------------------------------------------------------------- corrections


FAILED_ROWS = made("failed_row", "sale bigint, line_number integer, expected text")


def of_corrections() -> Iterator[ComposedStatement]:
    for kind in EVENT_KINDS:
        rows = incoming(kind)
        file = partial(listed_file, hq_events.__file__, of=kind.name)
        yield file("broken_rules", hq_events.broken_statement(kind, rows.table), rows)
        yield file("stage_event", hq_events.stage_statement(kind, rows.table), rows)
    before = made(
        "error_before", "transaction_id bigint, rule text, field text, line_number integer"
    )
    blockers = made_from("blocker", sale_customers.blockers_query())
    yield listed_file(
        revalidate.__file__,
        "still_failing",
        revalidate.failing_statement(ERRORS.table, blockers.table, before.table),
        ERRORS,
        blockers,
        before,
    )
    yield listed_file(
        bulk_corrections.__file__, "lock_sales_to_correct", bulk_corrections.LOCK_SALES
    )
    for name, part in bulk_corrections.PARTS.items():
        yield from of_replaced_values(name, CORRECTABLE_FIELDS[part.model][0])


def of_replaced_values(part: str, name: str) -> Iterator[ComposedStatement]:
    """One value for all, what the rule expects of each, and what stood there before."""
    rows = FAILED_ROWS.table
    for how, new_values, condition, reads in (
        (
            "corrected",
            sale_corrections.corrected_values(part, name, rows, is_expected=False),
            sale_corrections.HAS_NEW_VALUE,
            [FAILED_ROWS],
        ),
        (
            "expected",
            sale_corrections.corrected_values(part, name, rows, is_expected=True),
            sale_corrections.HAS_NEW_VALUE,
            [FAILED_ROWS],
        ),
        (
            "undone",
            undo.replaced_values(part, name),
            undo.is_unchanged(name),
            [],
        ),
    ):
        yield listed_file(
            bulk_corrections.__file__,
            "replace_values",
            bulk_corrections.replace_statement(part, name, new_values, condition),
            *reads,
            of=f"{part}.{how}",
        )


# --------------------------------------------------------------------------- integrity


CHANNELS = made("seen_channel", CHANNEL_COLUMNS)
HELD_ROWS = made("held_row", contents.HELD_ROW_COLUMNS)
HELD_BUCKETS = made("held_bucket", contents.HELD_BUCKET_COLUMNS)
COPIED = {
    copy.target: made(copy.target, copy_columns(copy))
    for copy in (
        *COMPARED_TABLES,
        *COMPARED_CONTENTS,
        *(part for parts in COMPARED_PARTS.values() for part in parts),
    )
}
COPIES = Copies(
    CHANNELS.table,
    {target: made.table for target, made in COPIED.items()},
    contents.HeldContents(CHANNELS.table, HELD_ROWS.table, HELD_BUCKETS.table),
)


def of_integrity() -> Iterator[ComposedStatement]:
    looked_at = made("looked_at", "customer_id bigint")
    shown = made("shown", shown_customers.SHOWN_COLUMNS)
    for kind in EVENT_KINDS:
        file = partial(listed_file, shown_customers.__file__, of=kind.name)
        history = history_of(kind, looked_at)
        statement = shown_customers.shown_statement(
            kind, looked_at.table, shown.table, history.table
        )
        yield file("shown_rows", statement, history, shown)
        changed = shown_customers.changed_fields(kind, looked_at.table, history.table)
        yield file("changed_fields", changed, history)
    file = partial(listed_file, upload_checks.__file__)
    for copy in COMPARED_EVENTS:
        copied = COPIED[copy.target]
        columns = sql.SQL(upload_checks.FALSE_RECEIPT).format(source=sql.Literal(copy.source))
        receipts = upload_checks.receipts(copy, COPIES, columns)
        yield file("receipts", receipts, CHANNELS, copied, of=copy.source)
        gone = upload_checks.vanished(copy, COPIES)
        yield file("vanished", gone, CHANNELS, copied, of=copy.source)
    yield file("miscounted_uploads", upload_checks.miscounted_uploads())
    yield file("miscounted_batches", upload_checks.miscounted_batches())
    yield file("lost_or_doubled", upload_checks.lost_or_doubled_query())
    changed_events = upload_checks.changed(COPIES)
    for content in COMPARED_CONTENTS:
        name = "changed_documents" if content.source == HEADER.event else "changed_events"
        reads = [COPIED[part.target] for part in COMPARED_PARTS.get(content.source, ())]
        statement = changed_events[content.source]
        reads = [CHANNELS, COPIED[content.target], *reads]
        yield file(name, statement, *reads, of=content.source)
    for table in identity.NAMING:
        statement = identity.never_given(table, COPIES)
        yield listed_file(
            identity.__file__, "never_given", statement, COPIED[COMPARED_MAP.target], of=table
        )
    for word in runs.CARRIED:
        yield listed_file(runs.__file__, "miscounted_runs", runs.miscounted(word), of=word)
    yield listed_file(sale_checks.__file__, "changed_statements", sale_checks.CHANGED_STATEMENTS)
    yield from of_contents()


def of_contents() -> Iterator[ComposedStatement]:
    file = partial(listed_file, contents.__file__)
    query = contents.SENT.format(channels=CHANNELS.table)
    sent = made_from("sent", query, CHANNELS)
    for table in contents.CONTENT_TABLES:
        name = table.target.table
        ours = contents.fingerprint_query(table.target, contents.rows_of_hq(table, sent.table))
        yield file("fingerprints", ours, sent, of=name)
        wrong = contents.wrong_statement(table, COPIES.held, sent.table)
        yield file("wrong_rows", wrong, sent, HELD_ROWS, HELD_BUCKETS, of=name)
        held = contents.rows_in_buckets(table.target, 1, [0])
        yield file("rows_in_buckets", held, of=name, is_for_channel=True)
