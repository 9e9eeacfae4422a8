"""Counts of rows that stop where a page does not need more."""

import json
from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet

# Counting further would read much of a large table for one number on a page.
MAX_COUNTED = 10_000
# What counting may cost in units of PostgreSQL's planner: about a twentieth of a second.
MAX_COST = 25_000


def capped_count(rows: QuerySet[Any]) -> int:
    """The number of rows; MAX_COUNTED + 1 stands for any larger number."""
    return rows.order_by().values("pk")[: MAX_COUNTED + 1].count()


@dataclass(frozen=True)
class Length:
    """The length of a list: counted like `capped_count`, or estimated by PostgreSQL's planner."""

    count: int
    is_exact: bool = True


def length(rows: QuerySet[Any]) -> Length:
    """Count the rows of a list, but guess where counting would read a big table."""
    capped = rows.order_by().values("pk")[: MAX_COUNTED + 1]
    # There is no plan if Django knows that the rows are none.
    plan = json.loads(capped.explain(format="json") or "[{}]")[0].get("Plan")
    if plan is None or plan["Total Cost"] <= MAX_COST:
        return Length(capped.count())
    return Length(plan["Plans"][0]["Plan Rows"], is_exact=False)
