"""Change numbers: each change of a customer takes the next one of its company.

Whoever takes one keeps the company's row locked until commit. So numbers become visible in their
order, and "everything up to 4711" is a true sentence. Source: ADR 0013.
"""

from stores.hqdb.sql import fetch_one


def reserve_changes(company: str, count: int) -> int:
    """Take so many change numbers of a company, in the caller's transaction. Returns the first."""
    (latest,) = fetch_one(
        "UPDATE company SET change_no = change_no + %s WHERE code = %s RETURNING change_no",
        [count, company],
    )
    return int(latest) - count + 1
