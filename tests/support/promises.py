"""The promises of docs/reliability.md, as the command `verify` checks them."""

from stores.pipeline.integrity.verify import verify


def broken_promises() -> list[str]:
    """The ids of the promises that do not hold."""
    return [check.id for check in verify() if not check.ok]
