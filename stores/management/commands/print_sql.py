"""Print composed SQL statements as scripts, to read or to EXPLAIN them."""

from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import attrgetter
from typing import Any

from django.core.management.base import CommandParser

from stores.management.arguments import wrong_argument
from stores.management.base import SynclineCommand
from stores.pipeline.sql_catalog import ComposedStatement, composed_statements


class Command(SynclineCommand):
    help = (
        "Without NAME, lists the composed SQL statements. With NAME, prints the statement as a "
        "script for psql: it creates the work tables, explains the statement and rolls back."
    )
    example = "print_sql convert/replay:address | python3 manage.py dbshell"
    takes_json = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "name",
            nargs="?",
            metavar="NAME",
            help="The name of a file (convert/replay), or of one of its statements "
            "(convert/replay:address).",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        statements = composed_statements()
        if options["name"] is None:
            lines = list_lines(statements)
        else:
            lines = (statement.script() for statement in named(options["name"], statements))
        self.stdout.write("\n".join(lines))


def named(name: str, statements: Iterable[ComposedStatement]) -> list[ComposedStatement]:
    """The statements of a file, or the one with this name. Errors: CommandError if none has it."""
    matches = [
        statement for statement in statements if name in (statement.name, statement.file_name)
    ]
    if not matches:
        raise wrong_argument(
            f"There is no statement {name!r}; print_sql without a name lists them."
        )
    return matches


def list_lines(statements: Iterable[ComposedStatement]) -> Iterator[str]:
    in_order = sorted(statements, key=attrgetter("file_name"))
    for file_name, group in groupby(in_order, key=attrgetter("file_name")):
        statements_of_file = list(group)
        yield f"{file_name}  {statements_of_file[0].summary}"
        names = [statement.name.partition(":")[2] for statement in statements_of_file]
        if any(names):
            yield f"    :{' :'.join(names)}"
