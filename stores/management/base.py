"""The base of every command: its arguments, its JSON, and output that is safe for a terminal."""

import json
import sys
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, NoReturn, TextIO, cast

from django.core.management.base import BaseCommand, CommandError, CommandParser, OutputWrapper

from stores.apps import StoresConfig
from stores.messages.labels import counted, plural

# Exit statuses besides 0, which docs/commands.md lists; 75 is EX_TEMPFAIL of sysexits.h.
FAILED, WRONG_ARGUMENTS, BUSY = 1, 2, 75
GOOD_OUTCOMES = ("succeeded", "nothing_to_do", "queued", "recovered", "planned")
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
        add_json(self)

    def error(self, message: str) -> NoReturn:
        refuse_arguments(self, message)


class SynclineCommand(BaseCommand):
    """A command that answers in sentences, or in one JSON document with --json.

    Wrong arguments are one sentence on stderr with exit status 2. The output can contain text from
    tills, so control characters are escaped.
    """

    # A call that --help shows.
    example = ""
    takes_json = True
    as_json = False
    # Ours alone: Django's own load every page, which takes a quarter of a short command's time.
    requires_system_checks = [StoresConfig.name]
    # The exceptions that end the command with their message and exit status 1.
    failures: tuple[type[Exception], ...] = ()

    def __setattr__(self, name: str, value: Any) -> None:
        # Django sets both attributes at each call.
        if name in ("stdout", "stderr") and type(value) is OutputWrapper:
            value = EscapingOutput(cast(TextIO, value._out), ending=value.ending)
        super().__setattr__(name, value)

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        if self.example:
            kwargs["epilog"] = f"Example: python3 manage.py {self.example}"
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        # Where a command has actions, each of them has the option.
        if self.takes_json and parser._subparsers is None:
            add_json(parser)
        parser.error = partial(refuse_arguments, parser)  # type: ignore[method-assign]
        return parser

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Run the command; its output comes before the sentence about its failure."""
        self.as_json = options.get("json", False)
        try:
            return super().execute(*args, **options)
        except self.failures as error:
            raise CommandError(str(error)) from error
        finally:
            self.stdout.flush()

    def handle(self, *args: Any, **options: Any) -> None:
        """Carry out the action that was chosen. Commands without actions override this."""
        options["method"](options)

    def print_json_or_text(self, document: Any, *sentences: str, status: int = 0) -> None:
        """With --json print the document, else the sentences, one a line.

        Errors: SystemExit with the exit status, unless it is 0.
        """
        if self.as_json:
            self.print_json(document)
        else:
            for sentence in sentences:
                self.stdout.write(sentence)
        if status:
            raise SystemExit(status)

    def print_json(self, document: Any) -> None:
        self.stdout.write(json.dumps(document, default=str))

    def print_rows(self, noun: str, rows: Iterable[Mapping[str, Any]], row_format: str) -> None:
        """Print a line for each row, and how many they are; with --json a document of the rows."""
        rows = list(rows)
        lines = [row_format.format_map(row) for row in rows]
        self.print_json_or_text({plural(noun, 2): rows}, *lines, f"{counted(len(rows), noun)}.")

    def print_fields(self, document: Any, fields: Mapping[str, Any]) -> None:
        """Print a line for each field; with --json the document with the fields in it."""
        lines = [f"{name:<30} {'-' if value is None else value}" for name, value in fields.items()]
        self.print_json_or_text(document | {"fields": fields}, *lines)


def exit_status(outcome: str) -> int:
    """The exit status for the outcome of a run or a recovery."""
    if outcome in GOOD_OUTCOMES:
        return 0
    return BUSY if outcome == "busy" else FAILED


def add_actions(parser: CommandParser, *, required: bool = True) -> Any:
    """Give a command actions, which `add_action` adds to the result."""
    return parser.add_subparsers(
        dest="action", required=required, parser_class=ActionParser, help="What to do."
    )


def add_action(
    actions: Any, name: str, method: Callable[[dict[str, Any]], None], help_text: str = ""
) -> ActionParser:
    """Add an action, and the method that carries it out. Returns the parser of its arguments.

    The help is the first line of the method's docstring, unless it is given.
    """
    help_text = help_text or (method.__doc__ or "").partition("\n")[0]
    parser: ActionParser = actions.add_parser(name, help=help_text)
    parser.set_defaults(method=method)
    return parser


def add_json(parser: CommandParser) -> None:
    parser.add_argument("--json", action="store_true", help="Print one JSON document.")


def refuse_arguments(parser: CommandParser, message: str) -> NoReturn:
    """Refuse the arguments in one sentence; the usage is what --help is for."""
    if message == "the following arguments are required: action":
        # argparse names the argument, and people need to know what it can be.
        choices = next(action.choices for action in parser._actions if action.dest == "action")
        message += f" ({', '.join(choices or ())})"
    if not parser.called_from_command_line:
        raise CommandError(message, returncode=WRONG_ARGUMENTS)
    sys.stderr.write(f"{parser.prog}: {escaped(message)}\n")
    sys.exit(WRONG_ARGUMENTS)
