"""Correct transactions by hand: under a lease, with both values, who and why.

While a person holds the lease no job touches the transaction. What is corrected is validated again,
and an order that comes of it goes on hold. Source: domain 2.10, features E.6 and E.12.
"""

from stores.mending.alike import (
    Expected,
    Mended,
    Scope,
    fields_of,
    has_expected,
    mend_alike,
    model_of,
    try_again,
    undo_alike,
)
from stores.mending.one import (
    HEADER_FIELDS,
    LINE_FIELDS,
    PAYMENT_FIELDS,
    PREPAID_FIELDS,
    MendingRefused,
    lease,
    let_go,
    mend,
    outcome,
)

__all__ = [
    "HEADER_FIELDS",
    "LINE_FIELDS",
    "PAYMENT_FIELDS",
    "PREPAID_FIELDS",
    "Expected",
    "Mended",
    "MendingRefused",
    "Scope",
    "fields_of",
    "has_expected",
    "lease",
    "let_go",
    "mend",
    "mend_alike",
    "model_of",
    "outcome",
    "try_again",
    "undo_alike",
]
