"""Recover a headquarters that was restored from an older backup.

What HQ has forgotten is known to its channels and its number journal: the accounts of customers,
the highest numbers, and the versions that channels have. All channels are read first, each in one
snapshot. Then one transaction of HQ imports everything. If two sources contradict each other,
nothing is imported, and a person decides. A repetition finds nothing left to do. Source:
reliability 3.7.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from typing import Any

from django.db import transaction
from django.db.models import TextField
from django.db.models.functions import Cast
from psycopg2 import sql

from stores.channeldb import models as channeldb
from stores.channeldb.connect.connection import connect
from stores.channeldb.exchange.open import visit
from stores.hqdb.retry import bisect_keys
from stores.hqdb.sql import batched, fetch, fetch_values, run_sql
from stores.hqdb.work_table import WorkTable, session_table
from stores.messages.message import Message
from stores.models import (
    ChannelDatabase,
    Customer,
    DistributedSettings,
    Headquarters,
    Incident,
    OrderSequence,
)
from stores.models.incident import BLOCKS_CONVERSION, IncidentKind
from stores.models.package import ExceptionReason
from stores.models.staging import RTS_GENERATION
from stores.pipeline import number_journal
from stores.pipeline.changes import reserve_changes
from stores.pipeline.chunk_sizes import EVENTS_PER_CHUNK as ROWS
from stores.pipeline.download.exceptions import add_exceptions
from stores.pipeline.events.kinds import CUSTOMER
from stores.pipeline.fence.visit import FencedChannel, highest_issued
from stores.pipeline.integrity.contents import NOT_ARRIVED
from stores.pipeline.integrity.snapshot import Copies, channels_snapshot
from stores.pipeline.integrity.tables import COMPARED_CONTENTS, COMPARED_EVENTS
from stores.pipeline.integrity.upload import receipts
from stores.pipeline.integrity.versions import raise_versions_above

ACCOUNT_COLUMNS = """company text, account text, guid uuid, channel_id bigint, number bigint,
    is_creator boolean, is_home boolean"""
SEEN_HEIGHT_COLUMNS = "database_id bigint, label text, company text, series text, number bigint"
MAX_REPORTED_CONFLICTS = 100
# How many accounts a statement names in a channel.
MAX_NAMED_ACCOUNTS = 500
# How far beyond all others the highest number of one channel is believed. It leaves void accounts.
MAX_VOID = 100
# The message that names the numbers of a series that were issued.
NUMBERS_ISSUED = {"order": "orders_issued", "invoice": "invoices_issued"}
# The columns of the next number and of the format of each series of documents.
NUMBERED = {"order": ("next_order", "order_format"), "invoice": ("next_invoice", "invoice_format")}
SETTLED_BY_RECOVERY = (*BLOCKS_CONVERSION, IncidentKind.FORGOTTEN_ACCOUNT)


@dataclass
class Recovery:
    """What was imported, or would be in a dry run, and what makes that impossible."""

    accounts: int = 0
    guids: int = 0
    void: int = 0
    versions: int = 0
    # Customers that are sent again, because channels lack them.
    owed_again: int = 0
    # The next account numbers that were raised, by company.
    counters: dict[str, int] = field(default_factory=dict)
    # Orders and invoices that HQ had issued and does not know.
    documents: list[dict[str, Any]] = field(default_factory=list)
    # Databases whose highest numbers a person does not believe.
    distrusted: list[ChannelDatabase] = field(default_factory=list)
    # The replication counters of events that HQ does not have, by database and table.
    unknown: dict[int, dict[str, list[int]]] = field(default_factory=dict)
    unreachable: list[dict[str, Any]] = field(default_factory=list)
    conflicts: list[dict[str, Any]] = field(default_factory=list)

    @property
    def is_possible(self) -> bool:
        return not self.unreachable and not self.conflicts

    @property
    def events(self) -> int:
        return sum(len(rows) for tables in self.unknown.values() for rows in tables.values())

    @property
    def has_effect(self) -> bool:
        imported = (self.accounts, self.guids, self.void, self.versions)
        return any([*imported, self.owed_again, self.events, self.documents, self.distrusted])


def import_everything(
    *, dry_run: bool, most_void: int = MAX_VOID, distrusted: Sequence[str] = ()
) -> Recovery:
    """Import what HQ has forgotten from channels and journal, in one transaction.

    A highest number that only one channel has seen is believed up to `most_void` beyond all others,
    unless the code of the channel is in `distrusted`. Nothing is imported in a dry run, if a
    channel cannot be read, or if two sources contradict each other.
    """
    databases = ChannelDatabase.objects.enabled().with_channel()
    recovery = Recovery(distrusted=list(databases.filter(channel__code__in=distrusted)))
    with (
        channels_snapshot(full=True) as seen,
        number_journal.loaded() as journal,
        what_others_know(seen.copies, journal, recovery.distrusted) as sources,
    ):
        recovery.unreachable = [*seen.unreachable, *unregistered_databases(sources)]
        recovery.conflicts = [*conflicts(sources), *lone_heights(sources, most_void)]
        if not recovery.is_possible:
            return recovery
        with transaction.atomic():
            recovery.documents = raise_documents(sources)
            if recovery.documents:
                report_documents(recovery.documents)
            recovery.counters = raise_counters(sources)
            raise_change_numbers(sources, recovery.distrusted)
            recovery.accounts, recovery.guids = import_accounts(sources)
            import_values(sources)
            recovery.void = fill_gaps()
            recovery.versions = raise_versions(sources)
            recovery.owed_again = send_lacking_again(sources)
            confirm_visits(sources)
            recovery.unknown = unknown_events(sources)
            transaction.set_rollback(dry_run)
    return recovery


def correct_heights(recovery: Recovery) -> None:
    """Write HQ's highest numbers into the channels that a person distrusts.

    Raise ChannelError if one cannot be reached. A repetition continues.
    """
    for database in recovery.distrusted:
        issued = fetch(
            """SELECT company || '/' || series, number FROM issued_document
                WHERE number > 0 AND company = %s""",
            [database.channel.company_id],
        )
        with visit(database) as channel:
            # Not by way of the fence, which refuses a channel with higher numbers than HQ's.
            if state := channel.state():
                channel.correct_heights(
                    highest_issued(database), dict(issued), nonce=state.token.nonce
                )


def reopen_events(recovery: Recovery) -> None:
    """Withdraw the acknowledgements of events that HQ does not have, so that they are sent again.

    Raise ChannelError if a channel cannot be reached. A repetition continues.
    """
    databases = ChannelDatabase.objects.with_channel().in_bulk(list(recovery.unknown))
    for database_id, tables in recovery.unknown.items():
        with visit(databases[database_id]) as channel:
            entered = FencedChannel(channel, databases[database_id], transaction.atomic)
            for table, counters in tables.items():
                for batch in batched(counters, ROWS):
                    entered.reopen(table, batch)


def close_incidents() -> int:
    """Close the incidents that stopped conversion. Return how many."""
    Headquarters.objects.filter(pk=1).update(identity=number_journal.server_identity())
    settled = Incident.objects.filter(kind__in=SETTLED_BY_RECOVERY)
    return settled.close("Headquarters was recovered from its channels and the number journal.")


# -------------------------------------------------------------------- what others know


@dataclass(frozen=True)
class Sources:
    """Work tables of what channels and journal know.

    `accounts` has each account of a GUID that a source knows: `is_home` says that the channel made
    the GUID, `is_creator` that the account was created for it. `heights` has the highest numbers of
    accounts, orders and invoices that each channel has seen.
    """

    copies: Copies
    journal: number_journal.LoadedJournal
    accounts: WorkTable
    heights: WorkTable

    @property
    def names(self) -> dict[str, sql.Identifier]:
        return {
            **self.copies.names,
            **self.journal.names,
            "known": self.accounts,
            "seen_heights": self.heights,
        }


@contextmanager
def what_others_know(
    copies: Copies,
    journal: number_journal.LoadedJournal,
    distrusted: Sequence[ChannelDatabase] = (),
) -> Iterator[Sources]:
    """Fill the work tables. The highest numbers of distrusted databases are left out."""
    with (
        session_table("known_account", ACCOUNT_COLUMNS) as accounts,
        session_table("seen_height", SEEN_HEIGHT_COLUMNS) as heights,
    ):
        sources = Sources(copies, journal, accounts, heights)
        run_sql(
            """INSERT INTO {seen_heights}
               SELECT database_id, label, high.key, 'account', high.value::bigint
                 FROM {channels}, jsonb_each_text(account_high) high
                WHERE database_id <> ALL(%(distrusted)s::bigint[])
                UNION ALL
               SELECT database_id, label, split_part(high.key, '/', 1),
                      split_part(high.key, '/', 2), high.value::bigint
                 FROM {channels}, jsonb_each_text(issued) high
                WHERE database_id <> ALL(%(distrusted)s::bigint[])""",
            {"distrusted": [database.pk for database in distrusted]},
            **sources.names,
        )
        (created,) = (copy for copy in COMPARED_CONTENTS if copy.source == CUSTOMER.event)
        run_sql(
            # Others may have edited the customer by the GUID, and its own channel may not know
            # the account.
            """INSERT INTO {known}
               WITH maker AS MATERIALIZED (
                 SELECT DISTINCT ON (event.async_account) event.async_account,
                        channel_database.channel_id
                   FROM {customer_events} event
                   JOIN channel_database ON channel_database.id = event.database_id
                  WHERE event.operation = 'create' AND event.async_account IS NOT NULL
                  ORDER BY event.async_account, event.occurred_at, channel_database.channel_id)
               SELECT mapped.company, mapped.account_number, mapped.async_account,
                      coalesce(maker.channel_id, channel_database.channel_id),
                      parse_number(sequence.format, mapped.account_number),
                      bool_or(shown.async_account = mapped.async_account),
                      bool_or(maker.channel_id IS NOT NULL)
                 FROM {map} mapped
                 JOIN channel_database ON channel_database.id = mapped.database_id
                 LEFT JOIN number_sequence sequence ON sequence.company_id = mapped.company
                 LEFT JOIN {customers} shown
                        ON shown.database_id = mapped.database_id
                       AND shown.company = mapped.company
                       AND shown.account_number = mapped.account_number
                 LEFT JOIN maker ON maker.async_account = mapped.async_account
                GROUP BY 1, 2, 3, 4, 5
               UNION ALL
               SELECT issued.company, issued.account, issued.guid, channel.id, issued.number,
                      issued.guid IS NOT NULL, true
                 FROM {numbers} issued
                 LEFT JOIN channel
                        ON channel.code = issued.channel AND channel.company_id = issued.company""",
            customer_events=copies.of(created),
            **sources.names,
        )
        accounts.analyze()
        yield sources


def unregistered_databases(sources: Sources) -> list[dict[str, Any]]:
    """Return the databases that are not the registered ones, so that they know nothing of use."""
    labels = fetch_values(
        """SELECT seen.label
             FROM {channels} seen JOIN channel_database ON channel_database.id = seen.database_id
            WHERE seen.identity IS DISTINCT FROM channel_database.database_id::text
              AND channel_database.confirmed_nonce IS NOT NULL
            ORDER BY 1""",
        **sources.names,
    )
    return [{"channel": label, "error": "another database"} for label in labels]


CONFLICTS = {
    "a GUID has two accounts": """
        SELECT guid::text, string_agg(DISTINCT account, ', ' ORDER BY account)
          FROM (SELECT guid, company, account FROM {known} WHERE guid IS NOT NULL
                UNION SELECT guid.async_account, guid.company_id, customer.account_number
                        FROM guid_map guid JOIN customer ON customer.id = guid.customer_id) named
         GROUP BY guid HAVING count(DISTINCT (company, account)) > 1""",
    "an account was created by two GUIDs": """
        SELECT company || ' ' || account, string_agg(DISTINCT guid::text, ', ')
          FROM (SELECT company, account, guid FROM {known} WHERE is_creator
                UNION SELECT guid.company_id, customer.account_number, guid.async_account
                        FROM guid_map guid JOIN customer ON customer.id = guid.customer_id
                       WHERE guid.origin = 'created') created
         GROUP BY company, account HAVING count(DISTINCT guid) > 1""",
    "an account does not fit the number sequence of its company": """
        SELECT DISTINCT known.company || ' ' || known.account, ''
          FROM {known} known
          LEFT JOIN number_sequence sequence ON sequence.company_id = known.company
         WHERE (sequence.company_id IS NULL OR known.number IS NULL
                OR NOT known.number BETWEEN sequence.start AND sequence.largest)
           AND NOT EXISTS (SELECT FROM customer
                            WHERE customer.company_id = known.company
                              AND customer.account_number = known.account)""",
    "a channel has seen a number that its company cannot have issued": """
        SELECT seen.label, seen.company || ' ' || seen.number
          FROM {seen_heights} seen
          LEFT JOIN number_sequence sequence ON sequence.company_id = seen.company
         WHERE seen.series = 'account'
           AND (sequence.company_id IS NULL OR seen.number > sequence.largest)
        UNION ALL
        SELECT seen.label, seen.company || ' ' || seen.series || ' ' || seen.number
          FROM {seen_heights} seen LEFT JOIN company ON company.code = seen.company
         WHERE seen.series <> 'account' AND company.code IS NULL""",
    "the channel that created a customer is not registered": """
        SELECT DISTINCT company || ' ' || account, coalesce(guid::text, '')
          FROM {known} known
         WHERE guid IS NOT NULL
           AND NOT EXISTS (SELECT FROM {known} other
                            WHERE other.guid = known.guid AND other.channel_id IS NOT NULL)
           AND NOT EXISTS (SELECT FROM guid_map WHERE async_account = known.guid)""",
}


def conflicts(sources: Sources) -> list[dict[str, Any]]:
    """Return where two sources contradict each other: the first of each kind."""
    return [
        {"what": what, "about": about, "between": between}
        for what, statement in CONFLICTS.items()
        for about, between in fetch(
            f"{statement} ORDER BY 1 LIMIT {MAX_REPORTED_CONFLICTS}", **sources.names
        )
    ]


# Numbers too far above all that HQ, the journal, customers' accounts or a second channel know.
LONE_HEIGHTS = """
    WITH vouched AS (
      SELECT company, series, max(number) AS number
        FROM (SELECT company_id AS company, 'account' AS series, next - 1 AS number
                FROM number_sequence
              UNION ALL SELECT company, series, number FROM issued_document
              UNION ALL SELECT company, series, number FROM {heights}
              UNION ALL SELECT company, 'account', number FROM {known}
              UNION ALL
              SELECT shown.company, 'account', parse_number(format, shown.account_number)
                FROM {customers} shown JOIN number_sequence ON company_id = shown.company
               WHERE parse_number(format, shown.account_number) BETWEEN start AND largest
              UNION ALL
              SELECT company, series, number
                FROM (SELECT *, row_number() OVER (PARTITION BY company, series
                                                   ORDER BY number DESC) AS place
                        FROM {seen_heights}) ranked WHERE place = 2) sources
       GROUP BY 1, 2)
    SELECT seen.label, split_part(seen.label, '/', 1), company, series, seen.number,
           seen.number - coalesce(vouched.number, 0)
      FROM {seen_heights} seen LEFT JOIN vouched USING (company, series)
     WHERE seen.number - coalesce(vouched.number, 0) > %s ORDER BY 1, 3, 4 LIMIT %s"""


def lone_heights(sources: Sources, most_void: int) -> list[dict[str, Any]]:
    """Return the highest numbers that one channel alone has seen, too far beyond all others."""
    return [
        {
            "what": "one channel alone has seen a number far beyond all others",
            "about": f"{label}: {series} number {number} of {company}",
            "between": f"--distrust {code} sets it right there; --void {beyond} believes it",
        }
        for label, code, company, series, number, beyond in fetch(
            LONE_HEIGHTS, [most_void, MAX_REPORTED_CONFLICTS], **sources.names
        )
    ]


# ------------------------------------------------------------------------ the import


def raise_counters(sources: Sources) -> dict[str, int]:
    """Raise each company's next number above every known number. Return those raised."""
    return dict(
        fetch(
            """UPDATE number_sequence SET next = highest.number + 1
                 FROM (SELECT company, max(number) AS number
                         FROM (SELECT company, number FROM {known}
                               UNION ALL
                               SELECT shown.company, parse_number(format, shown.account_number)
                                 FROM {customers} shown
                                 JOIN number_sequence ON company_id = shown.company
                                WHERE parse_number(format, shown.account_number)
                                      BETWEEN start AND largest
                               UNION ALL
                               SELECT company, number FROM {seen_heights}
                                WHERE series = 'account') sources
                        GROUP BY company) highest
                WHERE highest.company = number_sequence.company_id
                  AND highest.number >= number_sequence.next
               RETURNING number_sequence.company_id, number_sequence.next""",
            **sources.names,
        )
    )


def raise_change_numbers(sources: Sources, distrusted: Sequence[ChannelDatabase]) -> None:
    """Raise each company's change number above the position of every channel.

    What HQ imports is then a later change for every channel. A distrusted channel is sent
    everything again instead.
    """
    run_sql(
        """UPDATE company SET change_no = highest.position
             FROM (SELECT held.key AS company, max(held.value::bigint) AS position
                     FROM {channels} seen, jsonb_each_text(seen.positions) held
                    WHERE seen.database_id <> ALL(%s) GROUP BY 1) highest
            WHERE company.code = highest.company AND highest.position > company.change_no""",
        [[database.pk for database in distrusted]],
        **sources.names,
    )
    ChannelDatabase.objects.filter(pk__in=[database.pk for database in distrusted]).update(
        position=0, received_no=0, starts_over=True
    )


def raise_documents(sources: Sources) -> list[dict[str, Any]]:
    """Raise each company's next order and invoice above every known number.

    Return the numbers that were issued and HQ does not know, as first and last.
    """
    forgotten = fetch(
        """SELECT company, series, coalesce(max(issued.number), 0), max(known.number)
             FROM (SELECT company, series, number FROM {heights}
                   UNION ALL
                   SELECT company, series, number FROM {seen_heights}
                    WHERE series <> 'account') known
             LEFT JOIN issued_document issued USING (company, series)
            GROUP BY 1, 2 HAVING max(known.number) > coalesce(max(issued.number), 0)
            ORDER BY 1, 2 DESC""",
        **sources.names,
    )
    raised = []
    for company, series, known, number in forgotten:
        sequence, _ = OrderSequence.objects.get_or_create(company_id=company)
        column, form = NUMBERED[series]
        OrderSequence.objects.filter(pk=sequence.pk).update(**{column: number + 1})
        [(first, last)] = fetch(
            "SELECT format_number(%(form)s, %(first)s), format_number(%(form)s, %(last)s)",
            {"form": getattr(sequence, form), "first": known + 1, "last": number},
        )
        raised.append({"company": company, "series": series, "first": first, "last": last})
    return raised


def report_documents(documents: list[dict[str, Any]]) -> None:
    """Open the incident that stops posting until a person has reviewed what HQ has forgotten."""
    issued = [
        Message(
            NUMBERS_ISSUED[document["series"]],
            first=document["first"],
            last=document["last"],
            company=document["company"],
        )
        for document in documents[:5]
    ]
    Incident.objects.report(
        IncidentKind.POSTED_BEFORE,
        Message("numbers_forgotten", documents=issued),
        detail={"documents": documents},
    )


def import_accounts(sources: Sources) -> tuple[int, int]:
    """Insert the customers and GUIDs that HQ does not know. Return how many of each.

    A customer starts with the values of its channel's default customer, like a converted one. Its
    events, which are sent again, must count as later, so that it starts in 1900.
    """
    accounts = run_sql(
        """INSERT INTO customer (company_id, account_number, number, hq_version, event_at,
                                 customer_type, language, currency, customer_group,
                                 receipt_preference, financial_dimensions)
           SELECT DISTINCT ON (known.company, known.number)
                  known.company, known.account, known.number, 1, '1900-01-01',
                  coalesce(inherited.customer_type, 'person'), inherited.language,
                  inherited.currency, inherited.customer_group, inherited.receipt_preference,
                  nullif(default_group.financial_dimensions, '')
             FROM {known} known LEFT JOIN channel ON channel.id = known.channel_id
             LEFT JOIN customer inherited ON inherited.id = channel.default_customer_id
             LEFT JOIN customer_group default_group
                    ON default_group.company_id = inherited.company_id
                   AND default_group.code = inherited.customer_group
            WHERE known.guid IS NOT NULL
              AND NOT EXISTS (SELECT FROM customer
                               WHERE customer.company_id = known.company
                                 AND customer.account_number = known.account)
            ORDER BY known.company, known.number, known.is_creator DESC NULLS LAST,
                     known.is_home DESC, known.channel_id""",
        **sources.names,
    )
    guids = run_sql(
        """INSERT INTO guid_map (async_account, company_id, customer_id, channel_id, origin)
           SELECT DISTINCT ON (known.guid) known.guid, known.company, customer.id,
                  known.channel_id, CASE WHEN known.is_creator THEN 'created' ELSE 'linked' END
             FROM {known} known
             JOIN customer ON customer.company_id = known.company
                          AND customer.account_number = known.account
            WHERE known.guid IS NOT NULL AND known.channel_id IS NOT NULL
              AND NOT EXISTS (SELECT FROM guid_map guid WHERE guid.async_account = known.guid)
            ORDER BY known.guid, known.is_home DESC, known.is_creator DESC NULLS LAST,
                     known.channel_id""",
        **sources.names,
    )
    number_imported()
    return accounts, guids


# Imported customers of whom no channel has an event, because tills sent them to the real-time
# service; each with the database that was sent the latest version.
WITHOUT_EVENT = """
    SELECT DISTINCT ON (customer.id) held.database_id, customer.account_number, customer.id
      FROM customer
      JOIN {customers} held ON held.company = customer.company_id
                           AND held.account_number = customer.account_number
     WHERE customer.event_at = '1900-01-01' AND customer.event_counter IS NULL
       AND NOT EXISTS (SELECT FROM guid_map guid
                         JOIN {customer_events} event ON event.async_account = guid.async_account
                        WHERE guid.customer_id = customer.id)
       AND NOT EXISTS (SELECT FROM {customer_events} event
                         JOIN channel_database sent_by ON sent_by.id = event.database_id
                         JOIN channel ON channel.id = sent_by.channel_id
                        WHERE channel.company_id = customer.company_id
                          AND event.account_number = customer.account_number)
     ORDER BY customer.id, held.hq_version DESC, held.database_id"""


def import_values(sources: Sources) -> None:
    """Give imported customers without events the values that a channel was sent of them.

    They show an event of the real-time service that is gone: its generation, without a counter.
    A customer whose values HQ cannot hold keeps those of the default customer. Raise ChannelError
    if a channel cannot be reached any more.
    """
    lacking: dict[int, dict[str, int]] = defaultdict(dict)
    created, *_ = COMPARED_CONTENTS
    names = sources.names | {"customer_events": sources.copies.of(created)}
    for database_id, account, customer_id in fetch(WITHOUT_EVENT, **names):
        lacking[database_id][account] = customer_id
    for database in ChannelDatabase.objects.with_channel().filter(pk__in=lacking):
        with connect(database) as alias:
            for accounts in batched(lacking[database.pk], MAX_NAMED_ACCOUNTS):
                rows = held_customers(alias, database, accounts)
                shown = {"event_database": database.pk, "event_generation": RTS_GENERATION}
                customers = {
                    lacking[database.pk][account]: values | shown
                    for account, values in rows.items()
                }
                bisect_keys(partial(write_values, customers), list(customers))


def held_customers(
    alias: str, database: ChannelDatabase, accounts: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Return the columns of some customers as a channel has them, by account."""
    rows = channeldb.Customer.objects.using(alias).filter(
        company=database.channel.company_id, account_number__in=accounts
    )
    # As texts, since a SQLite channel may have anything in a column.
    texts = {f"{column}_text": Cast(column, TextField()) for column in CUSTOMER.columns}
    found = rows.annotate(**texts).values_list("account_number", "is_active", *texts)
    return {
        account: {"is_active": bool(is_active)} | held_values(values)
        for account, is_active, *values in found
    }


def held_values(texts: Sequence[Any]) -> dict[str, Any]:
    """Return the columns of a customer, without values that cannot be one."""
    values: dict[str, Any] = {
        column: text if isinstance(text, str) and "\0" not in text else None
        for column, text in zip(CUSTOMER.columns, texts, strict=True)
    }
    try:
        values["birth_date"] = date.fromisoformat(values["birth_date"] or "")
    except ValueError:
        values["birth_date"] = None
    return values


def write_values(customers: Mapping[int, Mapping[str, Any]], ids: Sequence[int]) -> None:
    for customer_id in ids:
        Customer.objects.filter(pk=customer_id).update(**customers[customer_id])


def number_imported() -> None:
    """Give the imported customers the next change numbers of their companies."""
    for company, ids in fetch(
        """SELECT company_id, array_agg(id ORDER BY id) FROM customer
            WHERE number IS NOT NULL AND state <> 'void' AND change_no IS NULL
            GROUP BY 1 ORDER BY 1"""
    ):
        run_sql(
            """UPDATE customer SET change_no = %(first)s - 1 + imported.turn
                 FROM unnest(%(ids)s::bigint[]) WITH ORDINALITY imported (id, turn)
                WHERE customer.id = imported.id""",
            {"first": reserve_changes(company, len(ids)), "ids": ids},
        )


def fill_gaps() -> int:
    """Insert a void account for each number that no source knows. Return how many."""
    return run_sql(
        """INSERT INTO customer (company_id, account_number, number, state, is_active)
           SELECT sequence.company_id, format_number(sequence.format, issued.number),
                  issued.number, 'void', false
             FROM number_sequence sequence
            CROSS JOIN generate_series(sequence.start, sequence.next - 1) AS issued (number)
            WHERE NOT EXISTS (SELECT FROM customer
                               WHERE customer.company_id = sequence.company_id
                                 AND customer.number = issued.number)"""
    )


def raise_versions(sources: Sources) -> int:
    """Raise the versions of customers of which a channel has a higher one. Return how many.

    A channel keeps the higher version, so that it would never accept what HQ imports.
    """
    behind = fetch(
        """WITH behind AS (
             SELECT customer.company_id, customer.id, max(held.hq_version) AS version
               FROM {customers} held
               JOIN customer ON customer.company_id = held.company
                            AND customer.account_number = held.account_number
              GROUP BY customer.id HAVING max(held.hq_version) > customer.hq_version
                  OR (customer.event_at = '1900-01-01'
                      AND max(held.hq_version) >= customer.hq_version))
           SELECT company_id, json_object_agg(id, version ORDER BY id) FROM behind
            GROUP BY company_id ORDER BY company_id""",
        **sources.names,
    )
    return sum(
        len(raise_versions_above({int(pk): version for pk, version in versions.items()}, company))
        for company, versions in behind
    )


def send_lacking_again(sources: Sources) -> int:
    """Have customers sent again to the channels that have refused them. Return how many.

    The channels say that they have the change, and HQ has forgotten that they refused it.
    """
    lacking: dict[int, list[int]] = defaultdict(list)
    for database_id, _, customer in fetch(NOT_ARRIVED, **sources.names):
        lacking[database_id].append(customer)
    return sum(
        add_exceptions(database, lacking[database.pk], ExceptionReason.NOT_ARRIVED)
        for database in ChannelDatabase.objects.filter(pk__in=lacking)
    )


def confirm_visits(sources: Sources) -> None:
    """Save the last visit of each channel as confirmed, if HQ has forgotten it.

    Which settings such a channel has been sent since is not known.
    """
    confirmed = fetch_values(
        """UPDATE channel_database known
              SET confirmed_epoch = seen.epoch, confirmed_nonce = seen.nonce::uuid,
                  intended_epoch = seen.epoch + 1, intended_nonce = gen_random_uuid()
             FROM {channels} seen
            WHERE seen.database_id = known.id AND seen.epoch > known.confirmed_epoch
              AND (seen.epoch, seen.nonce::uuid)
                  IS DISTINCT FROM (known.intended_epoch, known.intended_nonce)
        RETURNING known.id""",
        **sources.names,
    )
    DistributedSettings.objects.filter(database__in=confirmed).delete()


def unknown_events(sources: Sources) -> dict[int, dict[str, list[int]]]:
    """Return the replication counters of acknowledged events that HQ does not have."""
    events: dict[int, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for copy in COMPARED_EVENTS:
        for database_id, _, _, _, counter in fetch(receipts(copy, sources.copies)):
            events[database_id][copy.source].append(counter)
    return events
