"""Print the composed statements whole, to read or to have the server explain them."""

from itertools import groupby
from operator import attrgetter
from typing import Any

from django.core.management.base import CommandError, CommandParser

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
        statements, name = composed_statements(), options["name"]
        if name is None:
            self.stdout.write(listing(statements))
            return
        chosen = [each for each in statements if name in (each.name, each.file_name)]
        if not chosen:
            raise CommandError(
                f"There is no statement {name!r}; print_sql without a name lists them.",
                returncode=2,
            )
        self.stdout.write("\n".join(statement.script() for statement in chosen))


def listing(statements: list[ComposedStatement]) -> str:
    """Each file with its first sentence, and what its statement is run for."""
    lines = []
    in_order = sorted(statements, key=attrgetter("file_name"))
    for file_name, group in groupby(in_order, key=attrgetter("file_name")):
        runs = list(group)
        lines.append(f"{file_name}  {runs[0].summary}")
        names = [run.name.partition(":")[2] for run in runs]
        if any(names):
            lines.append(f"    :{' :'.join(names)}")
    return "\n".join(lines)
