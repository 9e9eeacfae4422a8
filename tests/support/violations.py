"""A statement that HQ's database must refuse."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Violation:
    """A statement that must fail, because of the rule with this name.

    A trigger is recognised by its message, a constraint by its name.
    """

    what: str
    rule: str
    statement: str
    message: str = ""
