"""What every command shares: how it prints, and what never reaches a terminal as it is."""

import json
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NoReturn, TextIO, cast

from django.core.management.base import BaseCommand, CommandParser, OutputWrapper

from stores.models.labels import counted, plural

# Controls, and what changes the direction or the meaning of the letters around it: a terminal
# would obey. Lone surrogates cannot be printed at all.
UNPRINTABLE = {"Cc", "Cf", "Cs", "Zl", "Zp"}
# Joins letters of some scripts and parts of an emoji; it does nothing else.
JOINERS = "\u200c\u200d"


class EscapingOutput(OutputWrapper):
    """What a command prints: control characters of data are shown, not obeyed."""

    def write(self, msg: str = "", *args: Any, **options: Any) -> None:  # type: ignore[override]
        super().write(escaped(msg), *args, **options)


def escaped(text: str, keep: str = "\n\t") -> str:
    """A text with its control characters written out."""
    if text.isprintable():
        return text
    return "".join(
        letter.encode("unicode_escape").decode()
        if unicodedata.category(letter) in UNPRINTABLE and letter not in keep + JOINERS
        else letter
        for letter in text
    )


def single_line(value: str) -> str:
    return escaped(value, keep="")


class SynclineCommand(BaseCommand):
    """A command whose argument errors are one sentence on stderr, with exit status 2.

    What it prints may hold a till's texts, so its output escapes control characters. With --json it
    prints one document instead of sentences.
    """

    # A call to learn from, as --help shows it.
    example = ""
    takes_json = True
    as_json = False

    def __setattr__(self, name: str, value: Any) -> None:
        # Django sets both anew for each call.
        if name in ("stdout", "stderr") and type(value) is OutputWrapper:
            value = EscapingOutput(cast(TextIO, value._out), ending=value.ending)
        super().__setattr__(name, value)

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        if self.example:
            kwargs["epilog"] = f"Example: python3 manage.py {self.example}"
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        if self.takes_json:
            parser.add_argument("--json", action="store_true", help="Print one JSON document.")
        parser.error = partial(exit_with_error, parser.prog)  # type: ignore[method-assign]
        return parser

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Run the command; what it printed comes before the sentence about its failure."""
        self.as_json = options.get("json", False)
        try:
            return super().execute(*args, **options)
        finally:
            self.stdout.flush()

    def answer(self, document: Any, *sentences: str) -> None:
        """Print a document with --json, else sentences, one a line."""
        for line in [json.dumps(document, default=str)] if self.as_json else sentences:
            self.stdout.write(line)

    def answer_rows(self, noun: str, rows: Sequence[Any], row_format: str) -> None:
        """Print rows and how many they are; with --json a document that is named after them."""
        lines = (row_format.format_map(row) for row in rows)
        self.answer({plural(noun, 2): rows}, *lines, f"{counted(len(rows), noun)}.")

    def answer_fields(self, document: Any, fields: Mapping[str, Any]) -> None:
        """Print fields with their values; with --json within a document."""
        lines = (f"{name:<30} {'-' if value is None else value}" for name, value in fields.items())
        self.answer(document | {"fields": fields}, *lines)


def exit_with_error(program: str, message: str) -> NoReturn:
    """End with the sentence alone: the usage is what --help is for."""
    sys.stderr.write(f"{program}: {escaped(message)}\n")
    sys.exit(2)
