"""How commands print documents, and what never reaches a terminal as it is."""

import json
import unicodedata
from typing import Any

from django.core.management.base import BaseCommand, OutputWrapper

# Controls, and what changes the direction or the meaning of the letters around it: a terminal
# would obey. Lone surrogates cannot be printed at all.
UNPRINTED = {"Cc", "Cf", "Cs", "Zl", "Zp"}
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
        if unicodedata.category(letter) in UNPRINTED and letter not in keep + JOINERS
        else letter
        for letter in text
    )


def in_line(value: str) -> str:
    """A value in one line, which cannot begin another."""
    return escaped(value, keep="")


def print_json(command: BaseCommand, found: Any) -> None:
    """One JSON document on stdout, in ASCII."""
    command.stdout.write(json.dumps(found, default=str))
