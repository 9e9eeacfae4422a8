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


def amounts(table: str) -> str:
    """The sums of the four amounts of a table, in hundredths."""
    columns = ("net_amount", "tax_amount", "gross_amount", "discount_amount")
    return ", ".join(CENTS.format(f"{table}.{column}") for column in columns)


def day(table: str) -> str:
    return f"CAST({table}.business_date AS text)"


# Where HQ must post a transaction: in a statement, as an order, or not at all.
BOOK = f"""CASE WHEN sale.entry_status = 'voided' THEN 'voided'
                WHEN sale.terminal_id = '{BROKEN_TILL}' THEN 'excluded'
                WHEN sale.transaction_type = 'customer_order' THEN 'order'
                ELSE 'statement' END"""

# Statements for a channel's database.
UNACKNOWLEDGED = "SELECT count(*) FROM retail_transaction WHERE acknowledged_at IS NULL"
TRANSACTIONS = f"""
    SELECT sale.transaction_id, {BOOK}, sale.async_account FROM retail_transaction sale"""
# Book, day, currency, number of transactions and the four amounts.
TOTALS = f"""
    SELECT {BOOK} AS book, {day("sale")}, sale.currency, count(*), {amounts("sale")}
      FROM retail_transaction sale
     WHERE {BOOK} IN ('statement', 'order')
     GROUP BY 1, 2, 3"""
# Book, day, currency, tender, number of payments and their sum.
TENDERS = f"""
    SELECT {BOOK} AS book, {day("sale")}, payment.currency, payment.tender_type, count(*),
           {CENTS.format("payment.amount")}
      FROM retail_transaction sale
      JOIN retail_transaction_payment payment ON payment.transaction_id = sale.transaction_id
     WHERE {BOOK} <> 'voided'
     GROUP BY 1, 2, 3, 4"""
# The payments of a day, of sales and orders together.
DAY_TENDERS = f"""
    SELECT {day("sale")}, payment.currency, payment.tender_type, count(*),
           {CENTS.format("payment.amount")}
      FROM retail_transaction sale
      JOIN retail_transaction_payment payment ON payment.transaction_id = sale.transaction_id
     WHERE {BOOK} IN ('statement', 'order')
     GROUP BY 1, 2, 3"""

# Statements for HQ's database. Their rows are those of the channels, after the channel's code.
POSTED_TOTALS = f"""
    SELECT channel.code, 'statement', {day("statement")}, total.currency,
           CAST(sum(total.transactions) AS bigint), {amounts("total")}
      FROM statement_total total
      JOIN statement ON statement.id = total.statement_id AND statement.state = 'posted'
      JOIN channel ON channel.id = statement.channel_id
     GROUP BY 1, 2, 3, 4
    UNION ALL
    SELECT channel.code, 'order', {day("sales_order")}, sales_order.currency, count(*),
           {amounts("sales_order")}
      FROM sales_order
      JOIN channel ON channel.id = sales_order.channel_id
     WHERE sales_order.confirmation_number IS NOT NULL
     GROUP BY 1, 2, 3, 4"""
POSTED_TENDERS = f"""
    SELECT channel.code, {day("statement")}, tender.currency, tender.tender_type,
           CAST(sum(tender.count) AS bigint), {CENTS.format("tender.amount")}
      FROM statement_tender tender
      JOIN statement ON statement.id = tender.statement_id AND statement.state = 'posted'
      JOIN channel ON channel.id = statement.channel_id
     GROUP BY 1, 2, 3, 4"""
# Payments of sales and orders as posted, and payments that are excluded from posting: of
# transactions in no book, and of quarantined ones.
POSTED_PAYMENTS = f"""
    SELECT channel.code,
           CASE posted.kind WHEN 'payment' THEN 'statement' WHEN 'prepayment' THEN 'order'
                ELSE posted.kind END,
           {day("statement")}, posted.currency, posted.tender_type,
           CAST(sum(posted.count) AS bigint), {CENTS.format("posted.amount")}
      FROM posted_payment posted
      JOIN statement ON statement.id = posted.statement_id AND statement.state = 'posted'
      JOIN channel ON channel.id = statement.channel_id
     GROUP BY 1, 2, 3, 4, 5
    UNION ALL
    SELECT code, 'excluded', day, currency, tender_type, count(*), {CENTS.format("amount")}
      FROM (SELECT channel.code, {day("sale")} AS day, payment.currency, payment.tender_type,
                   payment.amount
              FROM retail_transaction sale
              JOIN channel ON channel.id = sale.channel_id
              JOIN retail_transaction_payment payment ON payment.transaction_id = sale.id
             WHERE sale.sales_order_id IS NULL
               AND sale.prepayment_statement_id IS NULL
               AND sale.entry_status = 'concluded'
            UNION ALL
            SELECT channel.code, raw.document ->> 'business_date',
                   coalesce(payment ->> 'currency', payment ->> 4),
                   coalesce(payment ->> 'tender_type', payment ->> 2),
                   CAST(coalesce(payment ->> 'amount', payment ->> 3) AS numeric)
              FROM quarantine
              JOIN channel_database ON channel_database.id = quarantine.database_id
              JOIN channel ON channel.id = channel_database.channel_id
             CROSS JOIN LATERAL (
                   SELECT CAST(convert_from(quarantine.raw, 'UTF8') AS jsonb) AS document) raw
             -- A document without payments has a null here.
             CROSS JOIN LATERAL jsonb_array_elements(
                   nullif(raw.document -> 'retail_transaction_payment', 'null')) payment
             WHERE quarantine."table" = 'retail_transaction') excluded_payment
     GROUP BY 1, 2, 3, 4, 5"""
# Each transaction with the place where it is posted; a correct HQ has one row for each.
PLACES = """
    SELECT channel.code, sale.transaction_id, 'statement'
      FROM retail_transaction sale
      JOIN channel ON channel.id = sale.channel_id
      JOIN statement ON statement.id = sale.statement_id AND statement.state = 'posted'
      JOIN sales_order ON sales_order.id = sale.sales_order_id
                      AND sales_order.statement_id = statement.id
    UNION ALL
    SELECT channel.code, sale.transaction_id, 'order'
      FROM retail_transaction sale
      JOIN channel ON channel.id = sale.channel_id
      JOIN sales_order ON sales_order.id = sale.sales_order_id
                      AND sales_order.confirmation_number = sale.confirmation_number
    UNION ALL
    SELECT channel.code, sale.transaction_id,
           CASE excluded.reason WHEN 'voided' THEN 'voided' ELSE 'excluded' END
      FROM excluded_sale excluded
      JOIN retail_transaction sale ON sale.id = excluded.transaction_id
      JOIN channel ON channel.id = excluded.channel_id
     WHERE excluded.reason NOT IN ('', 'not_validated', 'not_calculated', 'statement_open')
       AND sale.transaction_type <> 'customer_order'
    UNION ALL
    SELECT channel.code, sale.transaction_id,
           CASE sale.entry_status WHEN 'voided' THEN 'voided' ELSE 'excluded' END
      FROM retail_transaction sale
      JOIN channel ON channel.id = sale.channel_id
     WHERE sale.transaction_type = 'customer_order'
       AND sale.sales_order_id IS NULL
       AND (sale.entry_status = 'voided'
            OR sale.order_reason NOT IN ('', 'not_ordered', 'nothing_ordered'))
    UNION ALL
    SELECT channel.code,
           CAST(convert_from(quarantine.raw, 'UTF8') AS jsonb) ->> 'transaction_id', 'excluded'
      FROM quarantine
      JOIN channel_database ON channel_database.id = quarantine.database_id
      JOIN channel ON channel.id = channel_database.channel_id
     WHERE quarantine."table" = 'retail_transaction' AND quarantine.reason <> ''"""
# The account of each posted transaction, reached through the GUID that the till knew.
BUYERS = """
    SELECT sale.transaction_id, customer.account_number
      FROM retail_transaction sale
      JOIN sales_order ON sales_order.id = sale.sales_order_id
      JOIN customer ON customer.id = sales_order.customer_id
      JOIN guid_map ON guid_map.async_account = sale.async_account
                   AND guid_map.customer_id = customer.id"""
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
                      FROM (SELECT CAST(to_jsonb(held) {removed} AS text) AS row
                              FROM {table} held) cleaned"""
            )
