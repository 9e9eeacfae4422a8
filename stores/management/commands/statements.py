"""List statements that are not posted and cancel them."""

from typing import Any

from django.core.management.base import CommandParser

from stores.management.arguments import add_reason, wrong_argument
from stores.management.base import SynclineCommand, add_action, add_actions
from stores.messages.reasons import explain
from stores.models import Statement
from stores.pipeline.sales.statement_sales import CancellationRefused, cancel_open_statement

LINE_FORMAT = "{statement:<24} {state:<16} {sales:>7}  {message}"


class Command(SynclineCommand):
    help = (
        "Lists the statements that are not posted, with what blocks them, or cancels one: its "
        "sales can then be corrected and are calculated again. "
        "Exit status: 0 done, 1 not possible, 2 wrong arguments."
    )
    example = 'statements cancel houston-20260301 --reason "Wrong date."'
    failures = (CancellationRefused,)

    def add_arguments(self, parser: CommandParser) -> None:
        actions = add_actions(parser)
        list_parser = add_action(actions, "list", self.list_statements)
        list_parser.add_argument(
            "--all", action="store_true", help="Posted and cancelled statements, too."
        )
        cancel_parser = add_action(actions, "cancel", self.cancel_statement)
        cancel_parser.add_argument(
            "number", metavar="NUMBER", help="The statement, as printed by list."
        )
        add_reason(cancel_parser)

    def list_statements(self, options: dict[str, Any]) -> None:
        """Lists the statements that are not posted."""
        statements = Statement.objects.select_related("channel").order_by("business_date", "pk")
        if not options["all"]:
            statements = statements.open()
        self.print_rows("statement", map(statement_as_dict, statements), LINE_FORMAT)

    def cancel_statement(self, options: dict[str, Any]) -> None:
        """Cancels a statement."""
        statement = get_statement(options["number"])
        released = cancel_open_statement(statement, options["reason"])
        self.print_json_or_text(
            {"statement": statement.number, "sales": released},
            f"{statement} is cancelled, {released:,} sales are released.",
        )


def get_statement(number: str) -> Statement:
    """Return the statement with this number. Errors: CommandError with status 2."""
    statement = Statement.objects.numbered(number)
    if statement is None:
        raise wrong_argument(f"There is no statement {number!r}.")
    return statement


def statement_as_dict(statement: Statement) -> dict[str, Any]:
    """The statement as JSON output shows it; only an open one has a message."""
    message = ""
    if statement.is_open:
        message = str(statement.message) or explain(statement.reason)
    return {
        "statement": statement.number,
        "state": statement.state,
        "sales": statement.transactions.count(),
        "reason": statement.reason or None,
        "message": message,
        "attempts": statement.attempts,
    }
