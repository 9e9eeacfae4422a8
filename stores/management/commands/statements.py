"""List statements that are not posted and cancel them."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from stores.management.arguments import add_reason
from stores.management.base import SynclineCommand, add_actions
from stores.models import Statement
from stores.models.reason import explain
from stores.pipeline.sales.statement_sales import NotCancelled, cancel_open_statement

LINE_FORMAT = "{statement:<24} {state:<16} {sales:>7}  {message}"


class Command(SynclineCommand):
    help = (
        "Statements that are not posted, with what stands in the way. cancel gives the sales of "
        "one back, to be corrected and calculated anew. "
        "Exit status: 0 done, 1 not possible, 2 wrong arguments."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        actions = add_actions(parser)
        list_parser = actions.add_parser("list", help="list the statements that are not posted")
        list_parser.add_argument(
            "--all", action="store_true", help="also posted and cancelled statements"
        )
        cancel_parser = actions.add_parser("cancel", help="cancel a statement, release its sales")
        cancel_parser.add_argument(
            "number",
            metavar="NUMBER",
            help="the statement, as list names it, for example houston-20260301",
        )
        add_reason(cancel_parser, help="why; kept with the statement")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["action"] == "list":
            self.list_statements(include_ended=options["all"], as_json=options["json"])
            return
        statement = get_statement(options["number"])
        try:
            sales = cancel_open_statement(statement, options["reason"])
        except NotCancelled as error:
            raise CommandError(str(error)) from error
        if options["json"]:
            self.print_json({"statement": statement.number, "sales": sales})
        else:
            self.stdout.write(f"{statement} is cancelled, {sales:,} sales are released.")

    def list_statements(self, *, include_ended: bool, as_json: bool) -> None:
        """List statements, those of the earliest business date first."""
        statements = Statement.objects.select_related("channel").order_by("business_date", "pk")
        if not include_ended:
            statements = statements.open()
        rows = [statement_as_dict(statement) for statement in statements]
        self.print_list("statement", rows, LINE_FORMAT.format_map, as_json=as_json)


def get_statement(number: str) -> Statement:
    """Return the statement with this number. Errors: CommandError with status 2."""
    statement = Statement.objects.numbered(number)
    if statement is None:
        raise CommandError(f"There is no statement {number!r}; list shows them.", returncode=2)
    return statement


def statement_as_dict(statement: Statement) -> dict[str, Any]:
    """The statement as JSON output shows it; only an open one has a message."""
    message = ""
    if statement.is_open:
        message = statement.message or explain(statement.reason, None)
    return {
        "statement": statement.number,
        "state": statement.state,
        "sales": statement.transactions.count(),
        "reason": statement.reason or None,
        "message": message,
        "attempts": statement.attempts,
    }
