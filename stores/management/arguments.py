"""Converters and checks for the arguments that several commands take.

Converters are for argparse and read no database. Checks look names up and raise CommandError with
status 2.
"""

import sys
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from typing import Any

from django import forms
from django.contrib.auth.models import User
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.core.management.base import CommandError, CommandParser
from django.db.models import QuerySet

from stores.models import Channel, Company, RetailTransaction
from stores.pipeline.dates import NoBusinessDate, business_date
from stores.web.forms.reason import ReasonField

# ------------------------------------------------------------------ converters


def whole_number(minimum: int, maximum: int = sys.maxsize) -> Callable[[str], int]:
    """Return a converter to an integer in a range."""

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise ArgumentTypeError(f"{text!r} is not a whole number") from None
        if not minimum <= number <= maximum:
            raise ArgumentTypeError(f"{number} is not from {minimum:,} to {maximum:,}")
        return number

    return parse


def parse_date(text: str) -> date:
    """Convert a text to a business date."""
    try:
        return business_date(text)
    except NoBusinessDate as error:
        raise ArgumentTypeError(str(error)) from None


def parse_reason(text: str) -> str:
    """Convert a text to a reason that people can read."""
    # A shell can pass bytes that are not UTF-8; no database would store them.
    if not is_utf8(text):
        raise ArgumentTypeError("not valid UTF-8")
    try:
        return str(ReasonField().clean(text))
    except ValidationError as error:
        raise ArgumentTypeError(" ".join(error.messages)) from None


def parse_assignment(text: str) -> tuple[str, str]:
    """Convert FIELD=VALUE to a pair."""
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


# --------------------------------------------------------------------- options


def add_set(parser: CommandParser) -> None:
    """Add the option --set, which gives fields new values."""
    parser.add_argument(
        "--set",
        action="append",
        type=parse_assignment,
        default=[],
        metavar="FIELD=VALUE",
        help="a field and its new value; empty after = makes it empty; several times for several",
        dest="assignments",
    )


def add_reason(parser: CommandParser, help: str) -> None:
    """Add the required option --reason."""
    parser.add_argument("--reason", type=parse_reason, required=True, metavar="R", help=help)


def add_user(parser: CommandParser, *, required: bool = True) -> None:
    """Add the option --user, which names the user who is recorded as the author."""
    parser.add_argument(
        "--user", required=required, metavar="NAME", help="the portal's user who does it"
    )


# ---------------------------------------------------------------------- checks


def check_channels(codes: Sequence[str]) -> list[str]:
    """Return the codes if each is the code of a channel."""
    for code in codes:
        check_channel(code)
    return list(codes)


def check_channel(code: str | None) -> None:
    """Refuse an unknown channel; None stands for all channels."""
    if code is not None and not has_row(Channel.objects.filter(code=code), code):
        raise CommandError(f"There is no channel {code!r}.", returncode=2)


def check_companies(codes: Sequence[str]) -> list[str]:
    """Return the codes if each is the code of a company."""
    for code in codes:
        check_company(code)
    return list(codes)


def check_company(code: str | None) -> None:
    """Refuse an unknown company; None stands for all companies."""
    if code is not None and not has_row(Company.objects.filter(code=code), code):
        raise CommandError(f"There is no company {code!r}.", returncode=2)


def check_order(number: str, channels: Sequence[str]) -> str:
    """Return the confirmation number if a customer order of these channels, or of any, has it."""
    orders = RetailTransaction.objects.orders_numbered(number, channels)
    if not has_row(orders, number):
        where = f" in {', '.join(channels)}" if channels else ""
        raise CommandError(f"There is no customer order {number!r}{where}.", returncode=2)
    return number


def get_user(name: str) -> User:
    """Return the active user with this name."""
    users = User.objects.filter(is_active=True)
    user = users.filter(username=name).first() if is_searchable(name) else None
    if user is None:
        raise CommandError(f"There is no user {name!r}.", returncode=2)
    return user


def has_row(rows: QuerySet[Any], text: str) -> bool:
    """Whether a search for the text finds a row."""
    return is_searchable(text) and rows.exists()


def is_searchable(text: str) -> bool:
    """Whether PostgreSQL can compare the text: a shell can pass bytes that are not UTF-8."""
    return text.isprintable()


# ----------------------------------------------------------------------- forms


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
    """Return the data to post: the values that the forms have, and the assigned ones.

    Errors: CommandError with status 2 for an unknown field.
    """
    names = [field.html_name for form in bound_forms for field in form]
    values = dict(assignments)
    check_fields(values, names)
    return form_values(bound_forms) | values


def check_fields(values: Mapping[str, Any], names: Sequence[str]) -> None:
    """Refuse values for a field that is not among the names."""
    for name in values:
        if name not in names:
            raise CommandError(
                f"There is no field {name!r}. The fields are: {', '.join(names) or 'none'}.",
                returncode=2,
            )


def raise_form_errors(bound_forms: Sequence[forms.Form]) -> None:
    """Raise all errors of the forms as one CommandError with status 2, if there are any."""
    errors = []
    for form in bound_forms:
        for name, messages in form.errors.items():
            prefix = "" if name == NON_FIELD_ERRORS else f"{form.add_prefix(name)}: "
            errors += [f"{prefix}{message}" for message in messages]
    if errors:
        raise CommandError(" ".join(errors), returncode=2)
