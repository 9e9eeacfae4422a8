"""Bring a headquarters that was set back in time up to what its channels and its journal know.

Everything is read first, each channel in one snapshot. Then one transaction of HQ imports what it
forgot: who has which account, how far the numbers went, which versions channels hold. Where two
sources contradict each other nothing is imported at all; a person decides. A repetition finds
nothing left to do. Source: reliability 3.7.
"""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction
from psycopg2 import sql

from stores.channeldb.visit import visit
from stores.models import ChannelDatabase, Headquarters, Incident
from stores.models.incident import BLOCKS_CONVERSION, IncidentKind
from stores.pipeline import journal
from stores.pipeline.bulk import EVENTS as ROWS
from stores.pipeline.bulk import batched, fetch, run_sql
from stores.pipeline.fence import Entered
from stores.pipeline.kinds import CHILDREN
from stores.pipeline.verify.copies import EVENTS
from stores.pipeline.verify.intake import receipts
from stores.pipeline.verify.reading import channels_read

NAMED = 100
SETTLED = (*BLOCKS_CONVERSION, IncidentKind.FORGOTTEN_ACCOUNT)


@dataclass
class Recovery:
    """What HQ had forgotten, and what stands in the way of bringing it back."""

    accounts: int = 0
    guids: int = 0
    void: int = 0
    versions: int = 0
    counters: dict[str, int] = field(default_factory=dict)
    # Database -> table -> counters of events that HQ does not hold.
    unknown: dict[int, dict[str, list[int]]] = field(default_factory=dict)
    unreachable: list[dict[str, Any]] = field(default_factory=list)
    conflicts: list[dict[str, Any]] = field(default_factory=list)

    @property
    def is_possible(self) -> bool:
        return not self.unreachable and not self.conflicts

    @property
    def events(self) -> int:
        """How many events the channels are to send again."""
        return sum(len(rows) for tables in self.unknown.values() for rows in tables.values())

    @property
    def has_effect(self) -> bool:
        return bool(self.accounts or self.guids or self.void or self.versions or self.events)


def import_everything(*, dry_run: bool) -> Recovery:
    """Read channels and journal and import what HQ forgot, unless something contradicts.

    Effects: customers, GUID map, deliveries, number sequences and the fence's pairs of HQ, in one
    transaction; none in a dry run, or when a channel is away or two sources contradict each other.
    """
    found = Recovery()
    with channels_read(full=True) as seen, journal.told(), sources():
        found.unreachable = [*seen.unreachable, *strangers()]
        found.conflicts = conflicts()
        if not found.is_possible:
            return found
        with transaction.atomic():
            found.counters = raise_counters()
            found.accounts, found.guids = import_accounts()
            found.void = fill_gaps()
            found.versions = raise_versions()
            take_pairs()
            found.unknown = unknown_events()
            transaction.set_rollback(dry_run)
    return found


def reopen(found: Recovery) -> None:
    """Let the channels send again what HQ does not hold any more.

    Effects: acknowledged_at in the channels, a few thousand rows a transaction, under the fence.
    Errors: ChannelError; what was done stays, and a repetition goes on.
    """
    databases = ChannelDatabase.objects.with_channel().in_bulk(list(found.unknown))
    for database_id, tables in found.unknown.items():
        with visit(databases[database_id]) as channel:
            entered = Entered(channel, databases[database_id], transaction.atomic)
            for table, counters in tables.items():
                for some in batched(counters, ROWS):
                    entered.reopen(table, some)


def release() -> int:
    """Close what stopped conversion. Returns how many incidents."""
    Headquarters.objects.filter(pk=1).update(identity=journal.identity())
    return sum(
        incident.close("Headquarters was recovered from its channels and the number journal.")
        for incident in Incident.objects.open().filter(kind__in=SETTLED)
    )


# -------------------------------------------------------------------- what others know


@contextmanager
def sources() -> Iterator[None]:
    """Table known: every account of a GUID, by whoever knows it. Needs table told.

    `is_home` says that the channel made the GUID, `is_creator` that the account began with it.
    """
    run_sql(
        """CREATE TEMP TABLE known AS
           SELECT m.company, m.account_number AS account, m.async_account AS guid,
                  b.channel_id, account_place(q.format, m.account_number) AS number,
                  bool_or(k.async_account = m.async_account) AS is_creator,
                  bool_or(e.async_account IS NOT NULL) AS is_home
             FROM seen_map m JOIN channel_database b ON b.id = m.database_id
             LEFT JOIN number_sequence q ON q.company_id = m.company
             LEFT JOIN seen_customer k ON k.database_id = m.database_id
                   AND k.company = m.company AND k.account_number = m.account_number
             LEFT JOIN (SELECT DISTINCT database_id, async_account
                          FROM content_async_customer) e
                    ON e.database_id = m.database_id AND e.async_account = m.async_account
            GROUP BY 1, 2, 3, 4, 5
           UNION ALL
           SELECT t.company, t.account, t.guid, h.id, t.number, t.guid IS NOT NULL, true
             FROM told t LEFT JOIN channel h ON h.code = t.channel AND h.company_id = t.company"""
    )
    run_sql("ANALYZE known")
    try:
        yield
    finally:
        run_sql("DROP TABLE known")


def strangers() -> list[dict[str, Any]]:
    """Databases that are not the registered ones: what they know is somebody else's."""
    rows = fetch(
        """SELECT c.label FROM seen_channel c JOIN channel_database b ON b.id = c.database_id
            WHERE c.identity IS DISTINCT FROM b.database_id::text AND b.confirmed_nonce IS NOT NULL
            ORDER BY 1"""
    )
    return [{"channel": label, "error": "another database"} for (label,) in rows]


CONFLICTS = {
    "a GUID has two accounts": """
        SELECT guid::text, string_agg(DISTINCT account, ', ' ORDER BY account)
          FROM (SELECT guid, company, account FROM known WHERE guid IS NOT NULL
                UNION SELECT m.async_account, m.company_id, c.account_number
                        FROM guid_map m JOIN customer c ON c.id = m.customer_id) a
         GROUP BY guid HAVING count(DISTINCT (company, account)) > 1""",
    "an account was created by two GUIDs": """
        SELECT company || ' ' || account, string_agg(DISTINCT guid::text, ', ')
          FROM (SELECT company, account, guid FROM known WHERE is_creator
                UNION SELECT m.company_id, c.account_number, m.async_account
                        FROM guid_map m JOIN customer c ON c.id = m.customer_id
                       WHERE m.origin = 'created') a
         GROUP BY company, account HAVING count(DISTINCT guid) > 1""",
    "an account does not fit the number sequence of its company": """
        SELECT DISTINCT k.company || ' ' || k.account, ''
          FROM known k LEFT JOIN number_sequence q ON q.company_id = k.company
         WHERE (q.company_id IS NULL OR k.number IS NULL
                OR NOT k.number BETWEEN q.start AND q.largest)
           AND NOT EXISTS (SELECT FROM customer c
                            WHERE c.company_id = k.company AND c.account_number = k.account)""",
    "a channel has seen a number that its company cannot have issued": """
        SELECT c.label, high.key || ' ' || high.value
          FROM seen_channel c, jsonb_each_text(c.account_high) high
          LEFT JOIN number_sequence q ON q.company_id = high.key
         WHERE q.company_id IS NULL OR high.value::bigint > q.largest""",
    "the channel that created a customer is not registered": """
        SELECT DISTINCT company || ' ' || account, coalesce(guid::text, '')
          FROM known k WHERE guid IS NOT NULL
           AND NOT EXISTS (SELECT FROM known o WHERE o.guid = k.guid AND o.channel_id IS NOT NULL)
           AND NOT EXISTS (SELECT FROM guid_map m WHERE m.async_account = k.guid)""",
}


def conflicts() -> list[dict[str, Any]]:
    """Where two sources contradict each other, up to a number of each kind."""
    return [
        {"what": what, "about": about, "between": between}
        for what, statement in CONFLICTS.items()
        for about, between in fetch(f"{statement} ORDER BY 1 LIMIT {NAMED}")
    ]


# ------------------------------------------------------------------------ the import


def raise_counters() -> dict[str, int]:
    """Put each company's next number above every number known anywhere. Returns those raised."""
    return dict(
        fetch(
            """UPDATE number_sequence q SET next = top.number + 1
                 FROM (SELECT company, max(number) AS number
                         FROM (SELECT company, number FROM known
                               UNION ALL
                               SELECT v.company, account_place(s.format, v.account_number)
                                 FROM seen_customer v
                                 JOIN number_sequence s ON s.company_id = v.company
                                WHERE account_place(s.format, v.account_number)
                                      BETWEEN s.start AND s.largest
                               UNION ALL
                               SELECT high.key, high.value::bigint
                                 FROM seen_channel c, jsonb_each_text(c.account_high) high) n
                        GROUP BY company) top
                WHERE top.company = q.company_id AND top.number >= q.next
            RETURNING q.company_id, q.next"""
        )
    )


def import_accounts() -> tuple[int, int]:
    """Customers that others know and HQ does not, and their GUIDs. Returns how many of each.

    A customer begins with what its channel's default customer gives it, as one that is converted;
    its events, sent again, fill it. They must count as newer than this beginning.
    """
    inherited = ("language", "currency", "customer_group")
    accounts = run_sql(
        sql.SQL(
            """INSERT INTO customer (company_id, account_number, number, hq_version, event_at,
                                     customer_type, {inherited})
               SELECT DISTINCT ON (k.company, k.number)
                      k.company, k.account, k.number, 1, '1900-01-01',
                      coalesce(d.customer_type, 'person'), {defaults}
                 FROM known k LEFT JOIN channel h ON h.id = k.channel_id
                 LEFT JOIN customer d ON d.id = h.default_customer_id
                WHERE k.guid IS NOT NULL
                  AND NOT EXISTS (SELECT FROM customer c WHERE c.company_id = k.company
                                     AND c.account_number = k.account)
                ORDER BY k.company, k.number, k.is_creator DESC NULLS LAST, k.is_home DESC,
                         k.channel_id"""
        ).format(
            inherited=sql.SQL(", ").join(map(sql.Identifier, inherited)),
            defaults=sql.SQL(", ").join(sql.Identifier("d", column) for column in inherited),
        )
    )
    guids = run_sql(
        """INSERT INTO guid_map (async_account, company_id, customer_id, channel_id, origin)
           SELECT DISTINCT ON (k.guid) k.guid, k.company, c.id, k.channel_id,
                  CASE WHEN k.is_creator THEN 'created' ELSE 'linked' END
             FROM known k
             JOIN customer c ON c.company_id = k.company AND c.account_number = k.account
            WHERE k.guid IS NOT NULL AND k.channel_id IS NOT NULL
              AND NOT EXISTS (SELECT FROM guid_map m WHERE m.async_account = k.guid)
            ORDER BY k.guid, k.is_home DESC, k.is_creator DESC NULLS LAST, k.channel_id"""
    )
    run_sql(
        """INSERT INTO delivery (database_id, customer_id, version)
           SELECT b.id, c.id, c.hq_version FROM customer c
             JOIN channel h ON h.company_id = c.company_id AND h.is_enabled
             JOIN channel_database b ON b.channel_id = h.id AND b.is_enabled
            WHERE c.number IS NOT NULL AND c.state <> 'void'
               ON CONFLICT DO NOTHING"""
    )
    return accounts, guids


def fill_gaps() -> int:
    """Void accounts for numbers of which only the height is known, so that none is missing."""
    return run_sql(
        """INSERT INTO customer (company_id, account_number, number, state, is_active)
           SELECT q.company_id, account_text(q.format, n), n, 'void', false
             FROM number_sequence q, generate_series(q.start, q.next - 1) n
            WHERE NOT EXISTS (SELECT FROM customer c
                               WHERE c.company_id = q.company_id AND c.number = n)"""
    )


def raise_versions() -> int:
    """Put HQ's versions above those that channels hold, and owe them. Returns customers.

    A channel keeps the higher version, so what HQ learns anew would never reach it.
    """
    run_sql(
        """CREATE TEMP TABLE behind ON COMMIT DROP AS
           SELECT c.id, max(v.hq_version) + 1 AS version
             FROM seen_customer v
             JOIN customer c ON c.company_id = v.company AND c.account_number = v.account_number
            GROUP BY c.id, c.hq_version HAVING max(v.hq_version) > c.hq_version
                OR c.event_at = '1900-01-01' AND max(v.hq_version) >= c.hq_version"""
    )
    customers = run_sql(
        "UPDATE customer c SET hq_version = b.version FROM behind b WHERE b.id = c.id"
    )
    for kind in CHILDREN:
        run_sql(
            sql.SQL(
                "UPDATE {} c SET hq_version = b.version FROM behind b WHERE b.id = c.customer_id"
            ).format(sql.Identifier(kind.table))
        )
    run_sql("UPDATE delivery d SET version = b.version FROM behind b WHERE b.id = d.customer_id")
    return customers


def take_pairs() -> None:
    """Take the latest visit of each channel as confirmed where HQ has forgotten it."""
    run_sql(
        """UPDATE channel_database b
              SET confirmed_epoch = c.epoch, confirmed_nonce = c.nonce::uuid,
                  intended_epoch = c.epoch + 1, intended_nonce = gen_random_uuid()
             FROM seen_channel c
            WHERE c.database_id = b.id AND c.epoch > b.confirmed_epoch
              AND (c.epoch, c.nonce::uuid)
                  IS DISTINCT FROM (b.intended_epoch, b.intended_nonce)"""
    )


def unknown_events() -> dict[int, dict[str, list[int]]]:
    """Acknowledged events that HQ holds neither as used nor as set aside."""
    found: dict[int, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for copy in EVENTS:
        statement = receipts(copy, "v.database_id, v.replication_counter")
        for database_id, counter in fetch(f"{statement} ORDER BY 1, 2"):
            found[database_id][copy.source].append(counter)
    return found
