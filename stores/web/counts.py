"""How many rows a list has, counted no further than a page needs."""

import json
from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet

# Counting further would read much of a large table for one number on a page.
MAX_COUNTED = 10_000
# What counting may cost in units of PostgreSQL's planner: about a twentieth of a second.
MAX_COST = 25_000


def capped_count(rows: QuerySet[Any]) -> int:
    """How many rows there are; one more than MAX_COUNTED stands for any number beyond it."""
    return rows.order_by().values("pk")[: MAX_COUNTED + 1].count()


@dataclass(frozen=True)
class Length:
    """How long a list is: counted like `capped_count`, or the planner's guess."""

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
