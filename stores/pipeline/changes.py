"""Change numbers: each change of a customer takes the next number of its company.

A transaction that takes a number keeps the company's row locked until it commits. So numbers become
visible in ascending order: who has read number 4711 has read all before it. Source: ADR 0013.
"""

from stores.hqdb.sql import fetch_value


def reserve_changes(company: str, count: int) -> int:
    """Take `count` change numbers of a company, in the caller's transaction. Return the first."""
    latest = fetch_value(
        "UPDATE company SET change_no = change_no + %s WHERE code = %s RETURNING change_no",
        [count, company],
    )
    return int(latest) - count + 1
