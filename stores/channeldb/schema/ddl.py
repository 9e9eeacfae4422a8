"""The SQL that makes an empty database a channel, for PostgreSQL and for SQLite.

Names come from `schema` alone, so nothing here is ever built from what somebody typed.
Source: contract 3.1 and 3.2.
"""

from collections.abc import Iterator
from typing import Literal

from django.db.backends.base.base import BaseDatabaseWrapper

from stores.channeldb.schema import triggers
from stores.channeldb.schema.tables import (
    CHANNEL_TABLES,
    EVENT_TABLES,
    NO_COLUMNS,
    Column,
    ColumnType,
    Table,
)

Vendor = Literal["postgresql", "sqlite"]

COLUMN_TYPES: dict[Vendor, dict[ColumnType, str]] = {
    "postgresql": {
        "uuid": "uuid",
        "counter": "bigint GENERATED ALWAYS AS IDENTITY UNIQUE",
        "text": "text",
        "time": "timestamptz",
        "date": "date",
        "boolean": "boolean",
        "money": "numeric(18,4)",
        "integer": "integer",
        "bigint": "bigint",
        "json": "jsonb",
    },
    # AUTOINCREMENT: a number that was given away is never given again, even after a deletion.
    "sqlite": {
        "uuid": "TEXT",
        "counter": "INTEGER PRIMARY KEY AUTOINCREMENT",
        "text": "TEXT",
        "time": "TEXT",
        "date": "TEXT",
        "boolean": "INTEGER",
        "money": "TEXT",
        "integer": "INTEGER",
        "bigint": "INTEGER",
        "json": "TEXT",
    },
}
# What a column holds when the writer leaves it out; NULL where the schema says nothing.
DEFAULTS: dict[Vendor, dict[str, str]] = {
    "postgresql": {"no": "false", "yes": "true", "zero": "0", "empty": "'{}'", "now": "now()"},
    "sqlite": {
        "no": "0",
        "yes": "1",
        "zero": "0",
        "empty": "'{}'",
        "now": "(strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now'))",
    },
}
SPELLING: dict[Vendor, dict[str, str]] = {
    "postgresql": {
        "public": "public.",
        "true": "true",
        "false": "false",
        "setting_text": "s.value #>> '{}'",
    },
    # trim, not json_extract: a till's SQLite may be built without JSON.
    "sqlite": {"public": "", "true": "1", "false": "0", "setting_text": "trim(s.value, '\"')"},
}
# What can be made anew at any time, because it holds no rows.
OBJECT_KINDS = ("INDEX", "VIEW", "FUNCTION", "TRIGGER")

# What HQ has not fetched yet: a small index, so asking is cheap and no watermark is needed.
UNACKNOWLEDGED_INDEX = (
    "CREATE INDEX {table}_waiting ON {public}{table} (replication_counter)"
    " WHERE acknowledged_at IS NULL"
)
INDEXES = (
    # customer_lookup: which GUIDs lead to this account. HQ: the same question, for a merged person.
    "CREATE INDEX account_map_account ON {public}account_map (company, account_number)",
    # A till shows and edits the addresses and contacts of one customer. The other two children
    # begin their key with the account and need no index of their own.
    "CREATE INDEX customer_address_account ON {public}customer_address (company, account_number)",
    "CREATE INDEX customer_contact_account ON {public}customer_contact (company, account_number)",
    # customer_lookup: the newest event of a GUID, and whether this channel made it.
    "CREATE INDEX async_customer_account ON {public}async_customer (async_account)"
    " WHERE async_account IS NOT NULL",
    # HQ and channel agree by this one row; two would be two truths.
    "CREATE UNIQUE INDEX exchange_state_one_row ON {public}exchange_state (({true}))",
)

FULL_NAME = (
    "coalesce(nullif({row}.name, ''), trim(coalesce({row}.first_name || ' ', '')"
    " || coalesce({row}.middle_name || ' ', '') || coalesce({row}.last_name, '')))"
)
# Every person once. Known: active customers. Pending: the newest event of a GUID without account.
# Several GUIDs may lead to one account, so the GUID of a known person is looked up for each row
# that is shown (the one created here, else the one HQ names) and not joined. Which company a
# pending person belongs to is known here once HQ has written the setting "company".
LOOKUP_VIEW = """\
CREATE VIEW {public}customer_lookup AS
SELECT c.account_number AS display_account, c.company, c.account_number,
       coalesce((SELECT m.async_account
                   FROM {public}account_map m
                   JOIN {public}async_customer e ON e.async_account = m.async_account
                  WHERE m.company = c.company AND m.account_number = c.account_number
                    AND e.operation = 'create'
                  ORDER BY e.replication_counter LIMIT 1), c.async_account) AS async_account,
       {known_name} AS name, c.first_name, c.last_name, c.email, c.phone, {false} AS is_pending
  FROM {public}customer c
 WHERE c.is_active
UNION ALL
SELECT 'Pending sync', (SELECT {setting_text} FROM {public}channel_setting s
                         WHERE s.key = 'company'),
       NULL, e.async_account, {pending_name}, e.first_name, e.last_name, e.email, e.phone, {true}
  FROM {public}async_customer e
 WHERE e.async_account IS NOT NULL AND coalesce(e.operation, '') <> 'deactivate'
   AND NOT EXISTS (SELECT 1 FROM {public}account_map m WHERE m.async_account = e.async_account)
   AND NOT EXISTS (SELECT 1 FROM {public}async_customer newer
                    WHERE newer.async_account = e.async_account
                      AND newer.replication_counter > e.replication_counter)"""


def vendor_of(connection: BaseDatabaseWrapper) -> Vendor:
    return "postgresql" if connection.vendor == "postgresql" else "sqlite"


def statements(vendor: Vendor, *, lacking: frozenset[str] = NO_COLUMNS) -> Iterator[str]:
    """Yield the SQL that makes an empty database a channel, in an order that runs.

    One of an older version was made without the `lacking` columns.
    """
    for table in CHANNEL_TABLES:
        yield create_table(table.without(lacking), vendor)
    for table in EVENT_TABLES:
        yield UNACKNOWLEDGED_INDEX.format(table=table.name, **SPELLING[vendor])
    for index in INDEXES:
        yield index.format(**SPELLING[vendor])
    yield LOOKUP_VIEW.format(
        known_name=FULL_NAME.format(row="c"),
        pending_name=FULL_NAME.format(row="e"),
        **SPELLING[vendor],
    )
    yield from (
        triggers.postgresql_triggers(lacking)
        if vendor == "postgresql"
        else triggers.sqlite_triggers(lacking)
    )


def object_statements(vendor: Vendor, *, lacking: frozenset[str] = NO_COLUMNS) -> dict[str, str]:
    """The statements that make what holds no rows, by the name of what each makes.

    Shape: "index account_map.account_map_account" -> CREATE INDEX …, in an order that runs.
    """
    made = {}
    for statement in statements(vendor, lacking=lacking):
        words = statement.replace("(", " (").replace("public.", "").split()
        kind = next((word for word in words[:3] if word in OBJECT_KINDS), "")
        if not kind:
            continue
        name = words[words.index(kind) + 1]
        if kind in ("INDEX", "TRIGGER"):
            name = f"{words[words.index('ON') + 1]}.{name}"
        made[f"{kind.lower()} {name}{'()' if kind == 'FUNCTION' else ''}"] = statement
    return made


def recreate_statements(thing: str, statement: str, vendor: Vendor) -> Iterator[str]:
    """Yield the SQL that makes one of `object_statements` anew, whether it is there or not."""
    public = SPELLING[vendor]["public"]
    kind, name = thing.split(" ", 1)
    table, _, inner = name.rpartition(".")
    if kind == "function":
        # Triggers hold on to it, so it is replaced and not dropped.
        yield statement.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION", 1)
        return
    on = f" ON {public}{table}" if kind == "trigger" and vendor == "postgresql" else ""
    place = "" if kind == "trigger" else public
    yield f"DROP {kind.upper()} IF EXISTS {place}{inner}{on}"
    yield statement


def drop_statements(vendor: Vendor) -> Iterator[str]:
    """Yield the SQL that takes everything away again; triggers go with their tables."""
    public = SPELLING[vendor]["public"]
    yield f"DROP VIEW {public}customer_lookup"
    for table in reversed(CHANNEL_TABLES):
        yield f"DROP TABLE {public}{table.name}"
    if vendor == "postgresql":
        for function in triggers.POSTGRESQL_FUNCTIONS:
            yield f"DROP FUNCTION public.{function}()"


def create_table(table: Table, vendor: Vendor) -> str:
    # On SQLite the counter is the key of the row, so an event's own key is one more unique column.
    is_numbered = vendor == "sqlite" and table.triggers == "event"
    unique = (*table.key, *table.unique) if is_numbered else table.unique
    rows = [column_line(column, vendor) for column in table.columns]
    rows += [] if is_numbered else [f"PRIMARY KEY ({', '.join(table.key)})"]
    rows += [f"UNIQUE ({column})" for column in unique]
    ending = " WITHOUT ROWID" if vendor == "sqlite" and is_without_rowid(table) else ""
    body = ",\n    ".join(rows)
    return f"CREATE TABLE {SPELLING[vendor]['public']}{table.name} (\n    {body}\n){ending}"


def column_line(column: Column, vendor: Vendor) -> str:
    default = f"DEFAULT {DEFAULTS[vendor][column.default]}" if column.default else ""
    required = "NOT NULL" if column.required else ""
    parts = (column.name, COLUMN_TYPES[vendor][column.kind], required, default)
    return " ".join(part for part in parts if part)


def is_without_rowid(table: Table) -> bool:
    """Whether SQLite keeps the rows within the key.

    That saves an index where rows are small, and the rows of a part table then have no rowid by
    which INSERT OR REPLACE could remove one behind the back of its guards.
    """
    slim = ("customer_affiliation", "customer_attribute", "account_map", "applied_session")
    return table.triggers == "part" or table.name in slim
