"""What all commands share: a wrong argument is told in one line."""

import sys
from functools import partial
from typing import Any, NoReturn, TextIO, cast

from django.core.management.base import BaseCommand, CommandParser, OutputWrapper

from stores.management.output import EscapingOutput, escaped


class SynclineCommand(BaseCommand):
    """A command whose argument errors are one sentence on stderr, with exit status 2.

    What it prints may hold a till's texts, so its output escapes control characters.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        # Django sets both anew for each call.
        if name in ("stdout", "stderr") and type(value) is OutputWrapper:
            value = EscapingOutput(cast(TextIO, value._out), ending=value.ending)
        super().__setattr__(name, value)

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        parser.error = partial(refuse, parser.prog)  # type: ignore[method-assign]
        return parser

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Run the command; what it printed comes before the sentence about its failure."""
        try:
            return super().execute(*args, **options)
        finally:
            self.stdout.flush()


def refuse(program: str, message: str) -> NoReturn:
    """End with the sentence alone: the usage is what --help is for."""
    sys.stderr.write(f"{program}: {escaped(message)}\n")
    sys.exit(2)
