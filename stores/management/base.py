"""The base of every command: its arguments, its JSON, and output that is safe for a terminal."""

import json
import sys
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NoReturn, TextIO, cast

from django.core.management.base import BaseCommand, CommandError, CommandParser, OutputWrapper

from stores.models.labels import counted, plural

# Unicode categories that a terminal would obey: control characters, characters that change the
# direction of text, and line separators. Lone surrogates (Cs) cannot be printed at all.
ESCAPED_CATEGORIES = {"Cc", "Cf", "Cs", "Zl", "Zp"}
# Format characters that only join letters or the parts of an emoji.
JOINERS = "\u200c\u200d"


class EscapingOutput(OutputWrapper):
    """Output that shows control characters as escape sequences."""

    def write(self, msg: str = "", *args: Any, **options: Any) -> None:  # type: ignore[override]
        super().write(escaped(msg), *args, **options)


def escaped(text: str, keep: str = "\n\t") -> str:
    """Return the text with its control characters as escape sequences, except those to keep."""
    if text.isprintable():
        return text
    return "".join(escaped_character(character, keep + JOINERS) for character in text)


def escaped_character(character: str, keep: str) -> str:
    if character in keep or unicodedata.category(character) not in ESCAPED_CATEGORIES:
        return character
    return character.encode("unicode_escape").decode()


def single_line(value: str) -> str:
    return escaped(value, keep="")


class ActionParser(CommandParser):
    """The arguments of one action of a command, such as `list` or `close`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.add_argument("--json", action="store_true", help="print one JSON document")

    def error(self, message: str) -> NoReturn:
        refuse_arguments(self, message)


class SynclineCommand(BaseCommand):
    """A command whose argument errors are one sentence on stderr, with exit status 2.

    Its output can contain text from tills, so control characters are escaped.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        # Django sets both anew for each call.
        if name in ("stdout", "stderr") and type(value) is OutputWrapper:
            value = EscapingOutput(cast(TextIO, value._out), ending=value.ending)
        super().__setattr__(name, value)

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        parser.error = partial(refuse_arguments, parser)  # type: ignore[method-assign]
        return parser

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Run the command; its output comes before the sentence about its failure."""
        try:
            return super().execute(*args, **options)
        finally:
            self.stdout.flush()

    def print_json(self, document: Any) -> None:
        self.stdout.write(json.dumps(document, default=str))

    def print_list(
        self,
        noun: str,
        rows: Sequence[Mapping[str, Any]],
        line: Callable[[Mapping[str, Any]], str],
        *,
        as_json: bool,
    ) -> None:
        """Print the line of each row and the number of rows, or one JSON document of them."""
        if as_json:
            self.print_json({plural(noun, 2): rows})
            return
        for row in rows:
            self.stdout.write(line(row))
        self.stdout.write(f"{counted(len(rows), noun)}.")


def add_actions(parser: CommandParser) -> Any:
    """Give a command actions; each `add_parser` of the result declares one with its options."""
    return parser.add_subparsers(dest="action", required=True, parser_class=ActionParser)


def refuse_arguments(parser: CommandParser, message: str) -> NoReturn:
    """Refuse the arguments in one sentence; the usage is what --help is for."""
    if not parser.called_from_command_line:
        raise CommandError(message, returncode=2)
    sys.stderr.write(f"{parser.prog}: {escaped(message)}\n")
    sys.exit(2)
