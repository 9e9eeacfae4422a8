#!/usr/bin/env python3
"""The yardstick: the pipeline's logical work done with nothing but COPY and set-based SQL, timed per step.

Divide the product's time by the time printed here: same server, same rows, same hour. README.md beside this
file explains the steps. Works in schema limit_yardstick of each database, which is dropped and made anew;
outside of it public.async_* of the channels is read, and nothing is written. Needs psycopg2 only.
"""

import argparse
import io
import json
import statistics
import sys
import time
from functools import partial

import psycopg2

SCHEMA, COMPANY = "limit_yardstick", "YARD"
STEPS = ["pull", "acknowledge", "convert", "push", "delivered", "total"]

# The tables, as the contract names them.
EVENT = "event_id uuid, replication_counter bigint, occurred_at timestamptz, operation text, async_account uuid, "
EVENT += "account_number text, staff_id text, terminal_id text, created_offline boolean"
OWN = {
    "customer": "customer_type text, first_name text, middle_name text, last_name text, name text, title text, "
    "language text, currency text, customer_group text, email text, phone text, receipt_email text, "
    "vat_number text, birth_date date",
    "address": "address_id uuid, purpose text, description text, street text, street_number text, building text, "
    "city text, county text, state text, postal_code text, country text, is_primary boolean",
    "contact": "contact_id uuid, kind text, locator text, description text, is_primary boolean, "
    "marketing_opt_in boolean",
    "affiliation": "affiliation text",
    "attribute": "attribute text, value text",
}
KINDS = list(OWN)
COLUMNS = {kind: ", ".join(column.split()[0] for column in spec.split(", ")) for kind, spec in OWN.items()}
ROW = {kind: ", ".join(column.split()[0] for column in EVENT.split(", ")) + ", " + COLUMNS[kind] for kind in KINDS}
# Addresses and contacts have ids; an affiliation or attribute is one row per owner and name.
KEY = {"address": "address_id", "contact": "contact_id"} | {k: f"{{owner}}, {k}" for k in ("affiliation", "attribute")}


def customer_tables(key: str, owner: str, owner_type: str) -> str:
    ddl = f"""CREATE TABLE customer ({key} PRIMARY KEY, company text NOT NULL, {OWN["customer"]},
                  is_blocked boolean NOT NULL, hq_version bigint NOT NULL);"""
    for kind in KEY:
        ddl += f"""CREATE TABLE customer_{kind} ({owner} {owner_type}, {OWN[kind]}, hq_version bigint NOT NULL,
                       PRIMARY KEY ({KEY[kind].format(owner=owner)}));"""
    return ddl + f"CREATE INDEX ON customer_address ({owner}); CREATE INDEX ON customer_contact ({owner});"


HQ_TABLES = customer_tables("async_account uuid", "async_account", "uuid NOT NULL REFERENCES customer") + f"""
    CREATE TABLE counter (company text PRIMARY KEY, next bigint NOT NULL);
    INSERT INTO counter VALUES ('{COMPANY}', 1);
    CREATE TABLE guid_map (async_account uuid PRIMARY KEY REFERENCES customer, company text NOT NULL,
        number bigint NOT NULL, account_number text NOT NULL, UNIQUE (company, number));
    CREATE TABLE delivery (channel int, async_account uuid, version bigint NOT NULL,
        delivered_version bigint NOT NULL DEFAULT 0, PRIMARY KEY (channel, async_account));
    CREATE INDEX ON delivery (async_account) WHERE delivered_version < version;"""
CHANNEL_TABLES = customer_tables("async_account uuid, account_number text", "account_number", "text NOT NULL") + """
    CREATE TABLE account_map (async_account uuid PRIMARY KEY, account_number text NOT NULL,
        received_at timestamptz NOT NULL DEFAULT now());"""
for _kind in KINDS:
    HQ_TABLES += f"""
    CREATE TABLE staged_{_kind} ({EVENT}, {OWN[_kind]}, channel int NOT NULL, status text NOT NULL DEFAULT 'pending',
        staged_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (event_id));
    CREATE INDEX ON staged_{_kind} (async_account) WHERE status = 'pending';"""
    CHANNEL_TABLES += f"""
    CREATE TABLE async_{_kind} ({EVENT}, {OWN[_kind]}, acknowledged_at timestamptz,
        PRIMARY KEY (event_id), UNIQUE (replication_counter));
    CREATE INDEX ON async_{_kind} (replication_counter) WHERE acknowledged_at IS NULL;"""

# What a channel receives: table -> (columns, key, HQ's join for the customers in `sending`).
SENDING = "sending JOIN guid_map USING (async_account)"
_columns = f"account_number, company, async_account, {COLUMNS['customer']}, is_blocked, hq_version"
PUSHED = {
    "account_map": ("async_account, account_number", "async_account", SENDING),
    "customer": (_columns, "account_number", f"{SENDING} JOIN customer USING (async_account, company)"),
}
for _kind, _key in KEY.items():
    _columns, _join = f"account_number, {COLUMNS[_kind]}, hq_version", f"JOIN customer_{_kind} USING (async_account)"
    PUSHED[f"customer_{_kind}"] = (_columns, _key.format(owner="account_number"), f"{SENDING} {_join}")


def source_rows(kind: str, number: int, channels: int, customers: int | None) -> str:
    """The till's rows, or made ones: customer i is the same in every run; the channels get them in turn."""
    if customers is None:
        return f"SELECT {ROW[kind]} FROM public.async_{kind}"
    own = {
        "customer": """'person', 'First' || i % 997, NULL, 'Last' || i % 7919, 'First' || i % 997 || ' Last' || i,
            NULL, 'en-US', 'USD', (10 + i % 4)::text, 'c' || i || '@example.com', '+1555' || lpad(i::text, 7, '0'),
            NULL, NULL, date '1950-01-01' + (i % 18000)::int""",
        "address": """md5('address ' || i || ' ' || copy)::uuid, CASE copy WHEN 1 THEN 'home' ELSE 'delivery' END,
            NULL, 'Street ' || i % 4999, (i % 300)::text, NULL, 'City ' || i % 499, NULL, 'WA',
            lpad((i % 99999)::text, 5, '0'), 'USA', copy = 1""",
        "contact": "md5('contact ' || i)::uuid, 'email', 'c' || i || '@example.com', NULL, true, i % 3 = 0",
        "affiliation": "'AFF-' || i % 7",
        "attribute": "'shoe_size', (35 + i % 14)::text",
    }
    kept = {"address": "copy = 1 OR i % 10 < 3", "affiliation": "copy = 1 AND i % 2 = 0"}.get(kind, "copy = 1")
    return f"""SELECT md5('{kind} event ' || i || ' ' || copy)::uuid, row_number() OVER (ORDER BY i, copy),
                      timestamptz '2025-01-01 08:00+00' + i * interval '1 second', 'create',
                      md5('customer ' || i)::uuid, NULL, 'S-' || i % 50, 'T-' || i % 9, i % 20 = 0, {own[kind]}
                 FROM generate_series({number}::bigint, {customers}, {channels}) i, generate_series(1, 2) copy
                WHERE {kept}"""


def prepare(connection, repetition: str, ddl: str, source=None) -> None:
    """An empty schema; in a channel the till's rows lie in it, all of one moment and none acknowledged."""
    with connection, connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        cursor.execute("SELECT obj_description(to_regnamespace(%s), 'pg_namespace')", [SCHEMA])
        if cursor.fetchone()[0] == repetition:
            sys.exit("limit.py: one database was given twice; HQ and each channel need one of their own")
        cursor.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE; CREATE SCHEMA {SCHEMA}; SET search_path = {SCHEMA}")
        cursor.execute(f"COMMENT ON SCHEMA {SCHEMA} IS %s; {ddl}", [repetition])
        for kind in KINDS if source else []:
            cursor.execute(f"INSERT INTO async_{kind} ({ROW[kind]}) {source(kind)} ORDER BY 2; ANALYZE async_{kind}")
        cursor.execute("SET work_mem = '64MB'; SET temp_buffers = '64MB'")  # memory only: durability is the server's


class Figures:
    """Seconds, rows written and bytes copied, per step."""

    def __init__(self) -> None:
        self.seconds, self.rows, self.bytes = (dict.fromkeys(STEPS, 0) for _ in range(3))

    def timed(self, step: str, function, *args):
        start = time.perf_counter()
        result = function(*args)
        for key in (step, "total"):
            self.seconds[key] += time.perf_counter() - start
        return result

    def write(self, step: str, cursor, statement: str, *values, copied: io.BytesIO | None = None) -> None:
        cursor.execute(statement, values or None)
        for key in (step, "total"):
            self.rows[key] += cursor.rowcount
            self.bytes[key] += copied.tell() if copied else 0


def copy_out(cursor, query: str) -> io.BytesIO:
    data = io.BytesIO()
    cursor.copy_expert(f"COPY ({query}) TO STDOUT (FORMAT binary)", data)
    return data


def copy_in(cursor, data: io.BytesIO, table: str, columns: str) -> int:
    """Into temporary table in_TABLE, which has these columns of TABLE and goes with the commit; returns its rows."""
    cursor.execute(f"CREATE TEMP TABLE in_{table} ON COMMIT DROP AS SELECT {columns} FROM {table} WITH NO DATA")
    data.seek(0)
    cursor.copy_expert(f"COPY in_{table} FROM STDIN (FORMAT binary)", data, size=1 << 18)
    return cursor.rowcount


def pull(figures: Figures, hq, channel, number: int, limit: str) -> dict[str, io.BytesIO]:
    """One snapshot of the channel into staging; returns the event ids that HQ holds now, per table."""
    waiting, held = f"WHERE acknowledged_at IS NULL ORDER BY replication_counter {limit}", {}
    with channel, channel.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        read = {kind: copy_out(cursor, f"SELECT {ROW[kind]} FROM async_{kind} {waiting}") for kind in KINDS}
    with hq, hq.cursor() as cursor:
        for kind, data in read.items():
            if copy_in(cursor, data, f"staged_{kind}", ROW[kind]):
                held[kind] = copy_out(cursor, f"SELECT event_id FROM in_staged_{kind}")
                insert = f"INSERT INTO staged_{kind} ({ROW[kind]}, channel) SELECT *, %s FROM in_staged_{kind}"
                figures.write("pull", cursor, f"{insert} ON CONFLICT (event_id) DO NOTHING", number, copied=data)
    return held


def acknowledge(figures: Figures, channel, held: dict[str, io.BytesIO]) -> None:
    """Exactly the rows that HQ holds, and no others."""
    with channel, channel.cursor() as cursor:
        for kind, data in held.items():
            copy_in(cursor, data, f"async_{kind}", "event_id")
            update = f"""UPDATE async_{kind} e SET acknowledged_at = now() FROM in_async_{kind} held
                          WHERE e.event_id = held.event_id AND acknowledged_at IS NULL"""
            figures.write("acknowledge", cursor, update, copied=data)


def convert(figures: Figures, hq, channels: int, limit: str) -> int:
    """One transaction: customers and children, the counter as last lock, map, deliveries, staging marked."""
    with hq, hq.cursor() as cursor:
        write = partial(figures.write, "convert", cursor)
        cursor.execute(f"""CREATE TEMP TABLE claimed ON COMMIT DROP AS
            WITH locked AS (SELECT async_account FROM staged_customer WHERE status = 'pending'
                               AND async_account IS NOT NULL ORDER BY 1 {limit} FOR UPDATE SKIP LOCKED)
            SELECT async_account, row_number() OVER (ORDER BY async_account) AS nth
              FROM (SELECT DISTINCT async_account FROM locked) customers""")
        if (count := cursor.rowcount) == 0:
            return 0
        cursor.execute("ANALYZE claimed")
        pending = "FROM claimed JOIN staged_{} USING (async_account) WHERE status = 'pending'"
        write(f"""INSERT INTO customer (async_account, company, {COLUMNS["customer"]}, is_blocked, hq_version)
            SELECT DISTINCT ON (async_account) async_account, %s, {COLUMNS["customer"]}, operation = 'deactivate', 1
              {pending.format("customer")} ORDER BY async_account, replication_counter DESC""", COMPANY)
        for kind in KEY:
            columns, key = f"async_account, {COLUMNS[kind]}", KEY[kind].format(owner="async_account")
            write(f"""INSERT INTO customer_{kind} ({columns}, hq_version) SELECT {columns}, 1
                  FROM (SELECT DISTINCT ON ({key}) operation, {columns} {pending.format(kind)}
                           AND ({key}) IS NOT NULL ORDER BY {key}, replication_counter DESC) newest
                 WHERE operation <> 'deactivate' ON CONFLICT ({key}) DO NOTHING""")
        cursor.execute("UPDATE counter SET next = next + %s WHERE company = %s RETURNING next", [count, COMPANY])
        before = cursor.fetchone()[0] - count - 1
        write("""INSERT INTO guid_map (async_account, company, number, account_number)
            SELECT async_account, %s, %s + nth, 'C-' || lpad((%s + nth)::text, 9, '0') FROM claimed""",
            COMPANY, before, before)
        write("""INSERT INTO delivery (channel, async_account, version)
            SELECT channel, async_account, 1 FROM claimed, generate_series(1, %s) channel ORDER BY 1, 2""", channels)
        for kind in KINDS:
            mark = f"UPDATE staged_{kind} s SET status = 'applied' FROM claimed c"
            cursor.execute(f"{mark} WHERE s.async_account = c.async_account AND status = 'pending'")
    return count


def read_sending(hq, limit: str) -> dict[str, io.BytesIO]:
    """All that belongs to the customers which some channel still lacks, read once for every channel."""
    with hq, hq.cursor() as cursor:
        cursor.execute(f"""DROP TABLE IF EXISTS sending;
            CREATE TEMP TABLE sending AS SELECT async_account, max(version) AS version FROM delivery
             WHERE delivered_version < version GROUP BY 1 ORDER BY 1 {limit}""")
        if cursor.rowcount == 0:
            return {}
        cursor.execute("ANALYZE sending")
        return {table: copy_out(cursor, f"SELECT {what} FROM {join}") for table, (what, _, join) in PUSHED.items()}


def push(figures: Figures, channel, data: dict[str, io.BytesIO]) -> None:
    """One transaction; newer versions replace older ones, an account that the channel knows is never replaced."""
    with channel, channel.cursor() as cursor:
        for table, (columns, key, _) in PUSHED.items():
            copy_in(cursor, data[table], table, columns)
            changed = ", ".join(f"{c} = excluded.{c}" for c in columns.split(", ") if c not in key.split(", "))
            newer = f"UPDATE SET {changed} WHERE excluded.hq_version > old.hq_version"
            insert = f"INSERT INTO {table} AS old ({columns}) SELECT * FROM in_{table} ON CONFLICT ({key}) DO "
            insert += "NOTHING" if table == "account_map" else newer
            figures.write("push", cursor, insert, copied=data[table])


def mark_delivered(figures: Figures, hq, number: int) -> None:
    with hq, hq.cursor() as cursor:
        update = """UPDATE delivery d SET delivered_version = s.version FROM sending s WHERE channel = %s
                       AND d.async_account = s.async_account AND delivered_version < s.version"""
        figures.write("delivered", cursor, update, number)


def run(hq, channels: list, chunk: int) -> Figures:
    """All steps once. With a chunk size, each loop ends at its first empty chunk, as a crash-safe job's does."""
    figures, limit = Figures(), f"LIMIT {chunk}" if chunk else ""
    for number, channel in enumerate(channels, 1):
        while held := figures.timed("pull", pull, figures, hq, channel, number, limit):
            figures.timed("acknowledge", acknowledge, figures, channel, held)
            if not chunk:
                break
    figures.timed("pull", sql, hq, "ANALYZE " + ", ".join(f"staged_{kind}" for kind in KINDS))
    while figures.timed("convert", convert, figures, hq, len(channels), limit) and chunk:
        pass
    while data := figures.timed("push", read_sending, hq, limit):
        for number, channel in enumerate(channels, 1):
            figures.timed("push", push, figures, channel, data)
            figures.timed("delivered", mark_delivered, figures, hq, number)
        if not chunk:
            break
    return figures


def sql(connection, statement: str):
    with connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchone()[0] if cursor.description else None


def check(hq, channels: list) -> int:
    """Nothing lost or doubled, numbers without holes, the same rows in every channel; returns the customers."""
    customers = sql(hq, "SELECT count(DISTINCT async_account) FROM staged_customer")
    numbers = sql(hq, "SELECT ARRAY[count(*), count(DISTINCT number), coalesce(max(number), 0)] FROM guid_map")
    delivered = sql(hq, "SELECT count(*) FROM delivery WHERE delivered_version = version")
    facts = [("numbers", numbers, [customers] * 3), ("deliveries", delivered, customers * len(channels))]
    for kind in KINDS:
        pending = f"SELECT count(*) FROM staged_{kind} JOIN guid_map USING (async_account) WHERE status = 'pending'"
        sent = [sql(channel, f"SELECT count(*) FROM async_{kind}") for channel in channels]
        held = [sql(channel, f"SELECT count(acknowledged_at) FROM async_{kind}") for channel in channels]
        facts += [(f"{kind} pending", sql(hq, pending), 0), (f"{kind} acknowledged", held, sent)]
        facts += [(f"{kind} staged", sql(hq, f"SELECT count(*) FROM staged_{kind}"), sum(sent))]
    for table, (columns, _, join) in PUSHED.items():
        digest = "SELECT ARRAY[count(*), sum(hashtextextended(r::text, 0))] FROM (SELECT {} FROM {}) r"
        at_hq = sql(hq, digest.format(columns, join.replace(SENDING, "guid_map")))
        facts += [(f"{table} in a channel", sql(other, digest.format(columns, table)), at_hq) for other in channels]
    if wrong := [f"{what}: {found}, expected {expected}" for what, found, expected in facts if found != expected]:
        sys.exit("limit.py: wrong result, the times mean nothing\n" + "\n".join(wrong))
    return customers


def replay(hq, channels: list, chunk: int) -> None:
    """All again, as after lost acknowledgements and lost delivery marks: no row may be written a second time."""
    sql(hq, "UPDATE delivery SET delivered_version = 0")
    for channel in channels:
        sql(channel, "; ".join(f"UPDATE async_{kind} SET acknowledged_at = NULL" for kind in KINDS))
    rows = run(hq, channels, chunk).rows
    if rows["pull"] or rows["convert"] or rows["push"]:
        sys.exit(f"limit.py: a second pass over the same rows wrote rows: {rows}")
    check(hq, channels)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dsn", nargs="+", help="HQ first, then one per channel")
    parser.add_argument("--generate", type=int, metavar="N", help="make N customers instead of reading public.async_*")
    parser.add_argument("--reps", type=int, default=3)
    parser.add_argument("--chunk", type=int, default=0, metavar="K", help="crash-safe chunks of K; 0: none")
    parser.add_argument("--check", action="store_true", help="also move everything a second time: nothing may change")
    parser.add_argument("--keep", action="store_true", help="leave the schema behind")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if len(args.dsn) < 2 or args.reps < 1 or args.chunk < 0 or (args.generate is not None and args.generate < 1):
        parser.error("HQ and at least one channel; --reps and --generate from 1, --chunk from 0")
    connections, runs, customers = [], [], set()
    try:
        connections += [psycopg2.connect(dsn, application_name=SCHEMA, client_encoding="UTF8") for dsn in args.dsn]
        hq, *channels = connections
        for _ in range(args.reps):
            repetition = f"made by limit.py, {time.time_ns()}"
            prepare(hq, repetition, HQ_TABLES)
            for number, channel in enumerate(channels, 1):
                source = partial(source_rows, number=number, channels=len(channels), customers=args.generate)
                prepare(channel, repetition, CHANNEL_TABLES, source)
            runs.append(run(hq, channels, args.chunk))
            customers.add(check(hq, channels))
            if args.check:
                replay(hq, channels, args.chunk)
    except psycopg2.Error as error:
        sys.exit(f"limit.py: {error}")
    finally:
        for connection in [] if args.keep else connections:
            connection.rollback()
            sql(connection, f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
    if len(customers) > 1:
        sys.exit("limit.py: the source rows changed between repetitions; run it while no till is writing")
    head = {"n": customers.pop(), "channels": len(channels), "reps": args.reps, "chunk": args.chunk}
    seconds = {step: round(statistics.median(figures.seconds[step] for figures in runs), 4) for step in STEPS}
    rows, sizes = runs[-1].rows, runs[-1].bytes
    if args.json:
        return print(json.dumps(head | {"median_seconds": seconds, "rows": rows, "bytes": sizes}))
    print(", ".join(f"{word} {value:,}" for word, value in head.items()))
    for step in STEPS:
        print(f"{step:<12}{seconds[step]:>10.3f} s{rows[step]:>12,} rows{sizes[step] / 1e6:>10.1f} MB")


if __name__ == "__main__":
    main()
