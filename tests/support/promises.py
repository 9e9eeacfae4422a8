"""The promises of docs/reliability.md, as the checks of the command `verify` test them."""

from typing import Any

from stores.pipeline.integrity.checks import Check
from stores.pipeline.integrity.verify import verify


def broken_promises() -> list[str]:
    """The ids of the promises that do not hold."""
    return list(failed_checks())


def failed_checks(*, full: bool = False) -> dict[str, list[dict[str, Any]]]:
    """The offending rows of each failed check, by the id of its promise."""
    return {check.id: check.offending for check in verify(full=full) if not check.ok}


def get_check(promise_id: str) -> Check:
    return next(check for check in verify() if check.id == promise_id)
