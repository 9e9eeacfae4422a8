"""List statements that are not posted, and cancel one."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from stores.management.arguments import WrongArgument, chosen_reason
from stores.management.base import SynclineCommand
from stores.models import Statement
from stores.models.reason import explain
from stores.pipeline.sales.statement_sales import NotCancelled, cancel_open_statement

ROW_FORMAT = "{statement:<24} {state:<16} {sales:>7}  {message}"


class Command(SynclineCommand):
    help = (
        "Lists the statements that are not posted, with what blocks them, or cancels one: its "
        "sales can then be corrected and are calculated again. "
        "Exit status: 0 done, 1 not possible, 2 wrong arguments."
    )
    example = 'statements cancel houston-20260301 --reason "Wrong date."'

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("action", choices=["list", "cancel"], help="What to do.")
        parser.add_argument(
            "number", nargs="?", metavar="NUMBER", help="cancel: the statement, as printed by list."
        )
        parser.add_argument("--reason", metavar="TEXT", help="cancel: why; it is recorded.")
        parser.add_argument(
            "--all", action="store_true", help="list: posted and cancelled statements, too."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["action"] == "list":
            rows = Statement.objects.select_related("channel").order_by("business_date", "pk")
            rows = rows if options["all"] else rows.open()
            self.answer_rows("statement", [described(row) for row in rows], ROW_FORMAT)
            return
        reason = chosen_reason(options["reason"])
        statement = chosen_statement(options["number"])
        try:
            released = cancel_open_statement(statement, reason)
        except NotCancelled as error:
            raise CommandError(str(error)) from None
        self.answer(
            {"statement": statement.number, "sales": released},
            f"{statement} is cancelled, {released:,} sales are released.",
        )


def chosen_statement(number: str | None) -> Statement:
    if number is None:
        raise WrongArgument("Enter the number of the statement, as printed by list.")
    statement = Statement.objects.numbered(number)
    if statement is None:
        raise WrongArgument(f"There is no statement {number!r}.")
    return statement


def described(statement: Statement) -> dict[str, Any]:
    message = statement.message or explain(statement.reason, None)
    return {
        "statement": statement.number,
        "state": statement.state,
        "sales": statement.transactions.count(),
        "reason": statement.reason or None,
        "message": message if statement.is_open else "",
        "attempts": statement.attempts,
    }
