"""Totals of sales as the channels have them and as HQ has posted them, read with plain SQL.

This shares no code with the product. Both sides return rows in the same form and order, with
amounts in hundredths, so that tests can compare them directly.
"""
# ruff: noqa: S608 - only names of our own are put into SQL

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import psycopg2
from django.apps import apps
from django.db import connection

from stores.channeldb.connect.url import till_url
from stores.models import ChannelDatabase

Rows = list[tuple[Any, ...]]
# Everything that a broken till writes comes from this terminal.
BROKEN_TILL = "T99"
CENTS = "CAST(sum(round(100 * CAST({} AS numeric))) AS bigint)"
AMOUNTS = ", ".join(
    CENTS.format(f"t.{column}")
    for column in ("net_amount", "tax_amount", "gross_amount", "discount_amount")
)
# Where HQ must post a transaction: in a statement, as an order, or not at all.
BOOK = f"""CASE WHEN t.entry_status = 'voided' THEN 'voided'
                WHEN t.terminal_id = '{BROKEN_TILL}' THEN 'excluded'
                WHEN t.transaction_type = 'customer_order' THEN 'order' ELSE 'statement' END"""
DAY = "CAST(t.business_date AS text)"

# Statements for a channel's database.
UNACKNOWLEDGED = "SELECT count(*) FROM retail_transaction WHERE acknowledged_at IS NULL"
TRANSACTIONS = f"SELECT t.transaction_id, {BOOK}, t.async_account FROM retail_transaction t"
TOTALS = f"""SELECT {BOOK} AS book, {DAY}, t.currency, count(*), {AMOUNTS}
               FROM retail_transaction t WHERE {BOOK} IN ('statement', 'order')
              GROUP BY 1, 2, 3"""
TENDERS = f"""SELECT {BOOK} AS book, {DAY}, p.currency, p.tender_type, count(*),
                     {CENTS.format("p.amount")}
                FROM retail_transaction t
                JOIN retail_transaction_payment p ON p.transaction_id = t.transaction_id
               WHERE {BOOK} <> 'voided' GROUP BY 1, 2, 3, 4"""
# The payments of a day, of sales and orders together.
DAY_TENDERS = f"""SELECT {DAY}, p.currency, p.tender_type, count(*), {CENTS.format("p.amount")}
                    FROM retail_transaction t
                    JOIN retail_transaction_payment p ON p.transaction_id = t.transaction_id
                   WHERE {BOOK} IN ('statement', 'order') GROUP BY 1, 2, 3"""

# Statements for HQ's database.
POSTED_TOTALS = f"""
    SELECT h.code, 'statement', CAST(s.business_date AS text), t.currency,
           CAST(sum(t.transactions) AS bigint), {AMOUNTS}
      FROM statement_total t JOIN statement s ON s.id = t.statement_id AND s.state = 'posted'
      JOIN channel h ON h.id = s.channel_id GROUP BY 1, 2, 3, 4
    UNION ALL
    SELECT h.code, 'order', {DAY}, t.currency, count(*), {AMOUNTS}
      FROM sales_order t JOIN channel h ON h.id = t.channel_id
     WHERE t.confirmation_number IS NOT NULL GROUP BY 1, 2, 3, 4"""
POSTED_TENDERS = f"""
    SELECT h.code, CAST(s.business_date AS text), p.currency, p.tender_type,
           CAST(sum(p.count) AS bigint), {CENTS.format("p.amount")}
      FROM statement_tender p JOIN statement s ON s.id = p.statement_id AND s.state = 'posted'
      JOIN channel h ON h.id = s.channel_id GROUP BY 1, 2, 3, 4"""
# Payments of sales and orders as posted, and payments that are excluded from posting.
POSTED_PAYMENTS = f"""
    SELECT h.code, CASE p.kind WHEN 'payment' THEN 'statement' WHEN 'prepayment' THEN 'order'
           ELSE p.kind END, CAST(s.business_date AS text), p.currency, p.tender_type,
           CAST(sum(p.count) AS bigint), {CENTS.format("p.amount")}
      FROM posted_payment p JOIN statement s ON s.id = p.statement_id AND s.state = 'posted'
      JOIN channel h ON h.id = s.channel_id GROUP BY 1, 2, 3, 4, 5
    UNION ALL
    SELECT code, 'excluded', day, currency, tender_type, count(*), {CENTS.format("amount")}
      FROM (SELECT h.code, {DAY} AS day, p.currency, p.tender_type, p.amount
              FROM retail_transaction t JOIN channel h ON h.id = t.channel_id
              JOIN retail_transaction_payment p ON p.transaction_id = t.id
             WHERE t.sales_order_id IS NULL AND t.prepayment_statement_id IS NULL
               AND t.entry_status = 'concluded'
            UNION ALL
            SELECT h.code, r.row ->> 'business_date', coalesce(p ->> 'currency', p ->> 4),
                   coalesce(p ->> 'tender_type', p ->> 2),
                   CAST(coalesce(p ->> 'amount', p ->> 3) AS numeric)
              FROM quarantine q JOIN channel_database d ON d.id = q.database_id
              JOIN channel h ON h.id = d.channel_id
             CROSS JOIN LATERAL (SELECT CAST(convert_from(q.raw, 'UTF8') AS jsonb) AS row) r
             -- A document without payments has a null here.
             CROSS JOIN LATERAL jsonb_array_elements(
                   nullif(r.row -> 'retail_transaction_payment', 'null')) p
             WHERE q."table" = 'retail_transaction') excluded_payment GROUP BY 1, 2, 3, 4, 5"""
# Each transaction with the place where it is posted; a correct HQ has one row for each.
PLACES = """
    SELECT h.code, t.transaction_id, 'statement' FROM retail_transaction t
      JOIN channel h ON h.id = t.channel_id
      JOIN statement s ON s.id = t.statement_id AND s.state = 'posted'
      JOIN sales_order o ON o.id = t.sales_order_id AND o.statement_id = s.id
    UNION ALL
    SELECT h.code, t.transaction_id, 'order' FROM retail_transaction t
      JOIN channel h ON h.id = t.channel_id
      JOIN sales_order o ON o.id = t.sales_order_id
                        AND o.confirmation_number = t.confirmation_number
    UNION ALL
    SELECT h.code, t.transaction_id,
           CASE e.reason WHEN 'voided' THEN 'voided' ELSE 'excluded' END
      FROM excluded_sale e JOIN retail_transaction t ON t.id = e.transaction_id
      JOIN channel h ON h.id = e.channel_id
     WHERE e.reason NOT IN ('', 'not_validated', 'not_calculated', 'statement_open')
       AND t.transaction_type <> 'customer_order'
    UNION ALL
    SELECT h.code, t.transaction_id,
           CASE t.entry_status WHEN 'voided' THEN 'voided' ELSE 'excluded' END
      FROM retail_transaction t JOIN channel h ON h.id = t.channel_id
     WHERE t.transaction_type = 'customer_order' AND t.sales_order_id IS NULL
       AND (t.entry_status = 'voided'
            OR t.order_reason NOT IN ('', 'not_ordered', 'nothing_ordered'))
    UNION ALL
    SELECT h.code, CAST(convert_from(q.raw, 'UTF8') AS jsonb) ->> 'transaction_id', 'excluded'
      FROM quarantine q JOIN channel_database d ON d.id = q.database_id
      JOIN channel h ON h.id = d.channel_id
     WHERE q."table" = 'retail_transaction' AND q.reason <> ''"""
# The account of each posted transaction, reached through the GUID that the till knew.
BUYERS = """
    SELECT t.transaction_id, k.account_number FROM retail_transaction t
      JOIN sales_order o ON o.id = t.sales_order_id JOIN customer k ON k.id = o.customer_id
      JOIN guid_map m ON m.async_account = t.async_account AND m.customer_id = k.id"""
# These may change even when there is nothing to do: times and counts of attempts and visits, and
# the fence of a channel that was told what was posted.
IGNORED_COLUMNS = (
    "confirmed_epoch",
    "confirmed_nonce",
    "fenced_at",
    "validated_at",
    "order_tried_at",
    "order_attempts",
    "last_visited_at",
    "last_duration_s",
)
IGNORED_TABLES = {"job_run", "run_step"}


def channel_rows(database: ChannelDatabase, statement: str) -> Rows:
    """Query a channel's database through its driver."""
    url = till_url(database)
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as raw:
            return raw.execute(statement).fetchall()
    with closing(psycopg2.connect(url)) as raw, raw.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()


def channels_rows(databases: Sequence[ChannelDatabase], statement: str) -> Rows:
    """Query several channels. Returns sorted rows that begin with the channel's code."""
    return sorted(
        (database.channel.code, *row)
        for database in databases
        for row in channel_rows(database, statement)
    )


def hq_rows(statement: str) -> Rows:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return sorted(cursor.fetchall())


def hq_hashes() -> Iterator[tuple[str, str]]:
    """Each table of HQ with a hash of its rows, except those about runs."""
    for model in apps.get_app_config("stores").get_models():
        table = model._meta.db_table
        if model._meta.managed and table not in IGNORED_TABLES:
            removed = "".join(f" - '{column}'" for column in IGNORED_COLUMNS)
            yield from hq_rows(
                f"""SELECT '{table}', md5(string_agg(row, '' ORDER BY row))
                      FROM (SELECT CAST(to_jsonb(t) {removed} AS text) AS row FROM {table} t) r"""
            )
