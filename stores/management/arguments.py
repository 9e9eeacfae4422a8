"""What people name and type on the command line, checked before anything is done.

Where it is wrong, CommandError with status 2 says so; argparse has exceptions of its own.
"""

import re
from argparse import ArgumentTypeError
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any, TypeVar

from django import forms
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, CommandParser
from django.db.models import Model, QuerySet

from stores.models import Channel, Company, RetailTransaction
from stores.pipeline.dates import NoBusinessDate, business_date
from stores.web.forms.reason import ReasonField

Row = TypeVar("Row", bound=Model)


class WrongArgument(CommandError):
    """The sentence for an argument that cannot be used; the exit status is 2."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence, returncode=2)


def chosen_channels(codes: Sequence[str]) -> list[str]:
    return known_codes("channel", codes, Channel.objects.all())


def chosen_companies(codes: Sequence[str]) -> list[str]:
    return known_codes("company", codes, Company.objects.all())


def known_codes(what: str, codes: Sequence[str], rows: QuerySet[Any]) -> list[str]:
    known = set(rows.values_list("code", flat=True))
    for code in codes:
        if code not in known:
            raise WrongArgument(f"There is no {what} {code!r}.")
    return list(codes)


def chosen_order(number: str, channels: Sequence[str]) -> str:
    """The confirmation number of a customer order of these channels, or of any."""
    orders = RetailTransaction.objects.orders_numbered(number, channels)
    # What cannot be printed may be no UTF-8, and no database could look for it.
    if not number.isprintable() or not orders.exists():
        where = f" in {', '.join(channels)}" if channels else ""
        raise WrongArgument(f"There is no customer order {number!r}{where}.")
    return number


def chosen_row(what: str, number: str | None, rows: QuerySet[Row]) -> Row:
    """The row with this id, as the action list prints it."""
    if number is None:
        raise WrongArgument(f"Enter the ID of the {what}, as printed by list.")
    pk = int(number) if re.fullmatch(r"\d{1,18}", number, re.ASCII) else 0
    row = rows.filter(pk=pk).first()
    if row is None:
        raise WrongArgument(f"There is no {what} {number!r}.")
    return row


def only_row(what: str, name: str | None, rows: QuerySet[Row], owner: str) -> Row:
    """The one row of that name; an option named like its owner tells several apart."""
    matching = list(rows.select_related(owner)) if name and is_text(name) else []
    if not matching:
        raise WrongArgument(f"There is no {what} {name or ''!r}.")
    if len(matching) > 1:
        codes = ", ".join(sorted(getattr(row, owner).code for row in matching))
        raise WrongArgument(f"Several have it ({codes}): choose one with --{owner}.")
    return matching[0]


def parse_date(text: str) -> date:
    """A business date, for argparse. Errors: ArgumentTypeError."""
    try:
        return business_date(text)
    except NoBusinessDate as error:
        raise ArgumentTypeError(str(error)) from None


def add_codes(parser: CommandParser, option: str, text: str) -> None:
    """An option that takes one or more codes, and may be repeated."""
    parser.add_argument(option, nargs="+", action="extend", default=[], metavar="CODE", help=text)


def add_set(parser: CommandParser) -> None:
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="Sets a field to a value, or empties it if nothing follows the =. Can be repeated.",
        dest="given",
    )


def add_user(parser: CommandParser, actions: str) -> None:
    parser.add_argument(
        "--user", metavar="NAME", help=f"{actions}: the portal user who is recorded as doing it."
    )


def chosen_user(name: str | None) -> User:
    if name is None:
        raise WrongArgument("--user is required: it is recorded who does this.")
    user = User.objects.filter(username=name, is_active=True).first() if is_text(name) else None
    if user is None:
        raise WrongArgument(f"There is no user {name!r}.")
    return user


def chosen_reason(reason: str | None) -> str:
    try:
        # What a shell passes may be no UTF-8, which no database could keep.
        (reason or "").encode()
        field = ReasonField(error_messages={"required": "--reason is required."})
        chosen: str = field.clean(reason)
    except UnicodeEncodeError:
        raise WrongArgument("--reason is not valid UTF-8.") from None
    except ValidationError as flaw:
        raise WrongArgument(" ".join(flaw.messages)) from None
    return chosen


def is_text(text: str) -> bool:
    """Whether a database could hold it: what a shell passes may be no UTF-8."""
    return text.isprintable()


def field_pairs(given: Iterable[str]) -> dict[str, str]:
    values = {}
    for text in given:
        name, sign, value = text.partition("=")
        if not sign:
            raise WrongArgument(f"--set must be FIELD=VALUE, not {text!r}.")
        values[name] = value
    return values


def shown_values(bound_forms: Sequence[forms.Form]) -> dict[str, str]:
    """Every field of forms with what it shows, as a browser would send it back."""
    return {
        field.html_name: "" if field.value() is None else str(field.value())
        for form in bound_forms
        for field in form
        if field.value() is not False
    }


def filled_values(bound_forms: Sequence[forms.Form], given: Mapping[str, str]) -> dict[str, str]:
    """What to send of forms: what they show, and the given values in their fields."""
    require_fields(given, [field.html_name for form in bound_forms for field in form])
    return shown_values(bound_forms) | dict(given)


def require_fields(given: Iterable[str], known: Sequence[str]) -> None:
    for name in given:
        if name not in known:
            raise WrongArgument(
                f"There is no field {name!r}. Fields: {', '.join(known) or 'none'}."
            )


def refuse_flaws(bound_forms: Sequence[forms.Form]) -> None:
    """Tell all flaws of bound forms in one line."""
    flaws = [
        f"{form.add_prefix(name)}: {text}" if name != "__all__" else str(text)
        for form in bound_forms
        for name, texts in form.errors.items()
        for text in texts
    ]
    if flaws:
        raise WrongArgument(" ".join(flaws))


def form_fields(bound_forms: Sequence[forms.Form]) -> dict[str, Any]:
    """Each field with what it holds, for people and programs to choose from."""
    return {name: value or None for name, value in shown_values(bound_forms).items()}
