"""List statements that are not posted, and cancel one."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from stores.management.arguments import chosen_reason
from stores.management.base import SynclineCommand, print_json
from stores.models import Statement
from stores.models.reason import explain
from stores.pipeline.sales.statement_sales import NotCancelled, cancel_open_statement

ROW_FORMAT = "{statement:<24} {state:<16} {sales:>7}  {message}"


class Command(SynclineCommand):
    help = (
        "Statements that are not posted, with what stands in the way. cancel gives the sales of "
        "one back, to be corrected and calculated anew. "
        "Exit status: 0 done, 1 not possible, 2 wrong arguments."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("action", choices=["list", "cancel"])
        parser.add_argument(
            "number",
            nargs="?",
            metavar="NUMBER",
            help="cancel: the statement, as list names it: houston-20260301",
        )
        parser.add_argument("--reason", metavar="R", help="cancel: why; kept with the statement")
        parser.add_argument("--all", action="store_true", help="list: those that ended too")
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["action"] == "list":
            self.list(options)
            return
        reason = chosen_reason(options["reason"])
        statement = chosen_statement(options["number"] or "")
        try:
            released = cancel_open_statement(statement, reason)
        except NotCancelled as error:
            raise CommandError(str(error)) from None
        if options["json"]:
            print_json(self, {"statement": statement.number, "sales": released})
        else:
            self.stdout.write(f"{statement} is cancelled, {released:,} sales are released.")

    def list(self, options: dict[str, Any]) -> None:
        """Statements that are not posted, oldest first; with --all every one."""
        rows = Statement.objects.select_related("channel").order_by("business_date", "pk")
        documents = [described(row) for row in (rows if options["all"] else rows.open())]
        if options["json"]:
            print_json(self, {"statements": documents})
            return
        for row in documents:
            self.stdout.write(ROW_FORMAT.format_map(row))
        self.stdout.write(
            f"{len(documents)} statements." if len(documents) != 1 else "1 statement."
        )


def chosen_statement(number: str) -> Statement:
    """The statement with this number. Errors: CommandError with status 2."""
    statement = Statement.objects.numbered(number)
    if statement is None:
        raise CommandError(f"There is no statement {number!r}; list shows them.", returncode=2)
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
