"""A statement that HQ's database must refuse."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Violation:
    """A statement that must fail because of a rule.

    `rule` is the name of a constraint or trigger; a trigger is recognised by its `message`.
    """

    description: str
    rule: str
    statement: str
    message: str = ""

    @property
    def id(self) -> str:
        return self.description.replace(" ", "-")
