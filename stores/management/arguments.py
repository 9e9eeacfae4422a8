"""Converters, options and checks for the arguments that several commands take.

Functions named parse_ convert a text for argparse and read no database. Those named get_, known_
and check_ do, and refuse what is not there with CommandError, status 2.
"""

import sys
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from string import hexdigits
from typing import Any, TypeVar
from uuid import UUID

from django import forms
from django.contrib.auth.models import User
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.core.management.base import CommandError, CommandParser
from django.db.models import Model, QuerySet

from stores.management.base import WRONG_ARGUMENTS
from stores.models import Channel, ChannelDatabase, Company, RetailTransaction
from stores.pipeline.dates import InvalidBusinessDate, parse_business_date
from stores.web.forms.reason import ReasonField

Row = TypeVar("Row", bound=Model)


def wrong_argument(sentence: str) -> CommandError:
    """Return the error of an argument that cannot be used; the exit status is 2."""
    return CommandError(sentence, returncode=WRONG_ARGUMENTS)


def whole_number(minimum: int, maximum: int = sys.maxsize) -> Callable[[str], int]:
    """Return a converter to an integer in a range."""

    def parse(text: str) -> int:
        number = parse_whole_number(text)
        if number < minimum:
            raise ArgumentTypeError(f"{number} is less than {minimum:,}")
        if number > maximum:
            raise ArgumentTypeError(f"{number} is more than {maximum:,}")
        return number

    return parse


def parse_whole_number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not a whole number") from None


def parse_uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not an id such as {UUID(int=0)}") from None


def parse_id_start(text: str) -> str:
    """Convert an id, or its first eight digits or more, to digits: pages show only the first."""
    digits = text.replace("-", "").lower()
    if not 8 <= len(digits) <= 32 or not set(digits) <= set(hexdigits):
        raise ArgumentTypeError(f"{text!r} is not an id such as {UUID(int=0)}")
    return digits


def parse_date(text: str) -> date:
    try:
        return parse_business_date(text)
    except InvalidBusinessDate as error:
        raise ArgumentTypeError(str(error)) from None


def parse_reason(text: str) -> str:
    # A shell can pass bytes that are not UTF-8; no database would store them.
    if not is_utf8(text):
        raise ArgumentTypeError("not valid UTF-8")
    try:
        return str(ReasonField().clean(text))
    except ValidationError as error:
        raise ArgumentTypeError(" ".join(error.messages)) from None


def parse_assignment(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign:
        raise ArgumentTypeError(f"{text!r} is not FIELD=VALUE")
    return name, value


def is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def add_codes(parser: CommandParser, option: str, help_text: str) -> None:
    """Add an option that takes one or more codes and can be repeated."""
    parser.add_argument(
        option, nargs="+", action="extend", default=[], metavar="CODE", help=help_text
    )


def add_id(parser: CommandParser, noun: str) -> None:
    help_text = f"The {noun}, as printed by list."
    parser.add_argument("id", type=parse_whole_number, metavar="ID", help=help_text)


def add_set(parser: CommandParser, *, required: bool = False) -> None:
    """Add the option --set, which gives fields new values."""
    parser.add_argument(
        "--set",
        required=required,
        action="append",
        type=parse_assignment,
        default=[],
        metavar="FIELD=VALUE",
        help="Sets a field to a value, or empties it if nothing follows the =. Can be repeated.",
        dest="assignments",
    )


def add_reason(parser: CommandParser, *, required: bool = True) -> None:
    """Add the option --reason, a free text. Some list actions have another: a reason code."""
    parser.add_argument(
        "--reason",
        type=parse_reason,
        required=required,
        metavar="TEXT",
        help="Why; it is recorded.",
    )


def add_user(parser: CommandParser, *, required: bool = True) -> None:
    parser.add_argument(
        "--user",
        required=required,
        metavar="NAME",
        help="The portal user who is recorded as doing it.",
    )


def add_database(parser: CommandParser) -> None:
    parser.add_argument("database", metavar="DATABASE", help="As printed by channels.")


def get_database(label: str) -> ChannelDatabase:
    """Return the channel database with this label. Errors: CommandError with status 2."""
    code, _, register = label.partition("/")
    databases = ChannelDatabase.objects.with_channel()
    database = databases.filter(channel__code=code, name=register).first()
    if database is None:
        raise wrong_argument(f"There is no channel database {label!r}.")
    return database


def known_channels(codes: Sequence[str]) -> list[str]:
    """Return the codes, if there is a channel for each."""
    return [get_channel(code).code for code in codes]


def known_companies(codes: Sequence[str]) -> list[str]:
    """Return the codes, if there is a company for each."""
    return [get_company(code).code for code in codes]


def get_channel(code: str) -> Channel:
    return get_named("channel", code, Channel.objects.filter(code=code))


def get_company(code: str) -> Company:
    return get_named("company", code, Company.objects.filter(code=code))


def get_named(noun: str, name: str, rows: QuerySet[Row]) -> Row:
    """Return the row with this name, by which the rows are already filtered."""
    row = rows.first() if is_searchable(name) else None
    if row is None:
        raise wrong_argument(f"There is no {noun} {name!r}.")
    return row


def known_order(number: str, channels: Sequence[str]) -> str:
    """Return the confirmation number, if the channels have a customer order with it."""
    orders = RetailTransaction.objects.orders_numbered(number, channels)
    if not is_searchable(number) or not orders.exists():
        where = f" in {', '.join(channels)}" if channels else ""
        raise wrong_argument(f"There is no customer order {number!r}{where}.")
    return number


def get_user(name: str) -> User:
    """Return the user of the portal who signs in with this name."""
    return get_named("user", name, User.objects.filter(is_active=True, username=name))


def get_row(noun: str, pk: Any, rows: QuerySet[Row]) -> Row:
    """Return the row with this id; `noun` is what the error calls it."""
    row = rows.filter(pk=pk).first()
    if row is None:
        raise wrong_argument(f"There is no {noun} {pk}.")
    return row


def get_row_starting(noun: str, digits: str, rows: QuerySet[Row]) -> Row:
    """Return the only row whose id starts with these digits; `noun` is what the error calls it."""
    first, last = UUID(digits.ljust(32, "0")), UUID(digits.ljust(32, "f"))
    matches = list(rows.filter(pk__range=(first, last))[:2])
    name = first if first == last else digits
    if not matches:
        raise wrong_argument(f"There is no {noun} {name}.")
    if len(matches) > 1:
        raise wrong_argument(f"Several {noun}s begin with {name}: give the whole id.")
    return matches[0]


def get_only_row(noun: str, name: str, rows: QuerySet[Row], owner: str, code: str | None) -> Row:
    """Return the only row with this name, by which the rows are already filtered.

    `owner` is the field by which several differ, channel or company, and the option that chooses
    one; `code` is what that option names, if it is given.
    """
    if code is not None:
        get_owner = {"channel": get_channel, "company": get_company}[owner]
        rows = rows.filter(**{owner: get_owner(code)})
    matches = list(rows.select_related(owner)) if is_searchable(name) else []
    if not matches:
        raise wrong_argument(f"There is no {noun} {name!r}.")
    if len(matches) > 1:
        codes = ", ".join(sorted(getattr(row, owner).code for row in matches))
        raise wrong_argument(f"Several have it ({codes}): choose one with --{owner}.")
    return matches[0]


def is_searchable(text: str) -> bool:
    """Whether PostgreSQL can compare the text; bytes that are not UTF-8 are not printable."""
    return text.isprintable()


def form_values(bound_forms: Sequence[forms.Form]) -> dict[str, str]:
    """Return the values of all fields as a browser would post them; unchecked boxes are absent."""
    values = {}
    for form in bound_forms:
        for field in form:
            value = field.value()
            if value is not False:
                values[field.html_name] = "" if value is None else str(value)
    return values


def form_data(
    bound_forms: Sequence[forms.Form], assignments: Iterable[tuple[str, str]]
) -> dict[str, str]:
    """The values of the forms, and the assigned ones. Errors: CommandError for unknown fields."""
    names = [field.html_name for form in bound_forms for field in form]
    values = dict(assignments)
    check_fields(values, names)
    return form_values(bound_forms) | values


def check_fields(values: Mapping[str, Any], names: Sequence[str]) -> None:
    """Refuse values for a field that is not among the names."""
    for name in values:
        if name not in names:
            raise wrong_argument(
                f"There is no field {name!r}. Fields: {', '.join(names) or 'none'}."
            )


def raise_form_errors(
    bound_forms: Sequence[forms.BaseForm], options: Mapping[str, str] | None = None
) -> None:
    """Refuse what was typed if a form has errors. Errors: CommandError with all of them.

    `options` are the options that give values of fields; the other fields are named in --set.
    """
    options = {NON_FIELD_ERRORS: ""} | dict(options or {})
    errors = []
    for form in bound_forms:
        for name, messages in form.errors.items():
            typed = options.get(name, form.add_prefix(name))
            prefix = f"{typed}: " if typed else ""
            errors += [f"{prefix}{message}" for message in messages]
    if errors:
        raise wrong_argument(" ".join(errors))
