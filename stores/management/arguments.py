"""What people name and type on the command line, checked before anything is done."""

from argparse import ArgumentTypeError
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

from django import forms
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, CommandParser

from stores.models import Channel, Company, RetailTransaction
from stores.pipeline.dates import NoBusinessDate, business_date
from stores.web.forms.reason import ReasonField


def chosen_channels(codes: Sequence[str]) -> list[str]:
    """The codes, each of a known channel. Errors: CommandError with status 2."""
    known = set(Channel.objects.values_list("code", flat=True))
    for code in codes:
        if code not in known:
            raise CommandError(f"There is no channel {code!r}.", returncode=2)
    return list(codes)


def chosen_companies(codes: Sequence[str]) -> list[str]:
    """The codes, each of a known company. Errors: CommandError with status 2."""
    known = set(Company.objects.values_list("code", flat=True))
    for code in codes:
        if code not in known:
            raise CommandError(f"There is no company {code!r}.", returncode=2)
    return list(codes)


def chosen_order(number: str, channels: Sequence[str]) -> str:
    """The confirmation number of a customer order of these channels, or of any.

    Errors: CommandError with status 2.
    """
    orders = RetailTransaction.objects.orders_numbered(number, channels)
    # What cannot be printed may be no UTF-8, and no database could look for it.
    if not number.isprintable() or not orders.exists():
        where = f" in {', '.join(channels)}" if channels else ""
        raise CommandError(f"There is no customer order {number!r}{where}.", returncode=2)
    return number


def parse_date(text: str) -> date:
    """A business date, for argparse. Errors: ArgumentTypeError."""
    try:
        return business_date(text)
    except NoBusinessDate as error:
        raise ArgumentTypeError(str(error)) from None


SET_HELP = "a field and its new value; empty after = makes it empty; several times for several"


def add_set(parser: CommandParser) -> None:
    """The option that gives fields new values."""
    parser.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help=SET_HELP, dest="given"
    )


def add_user(parser: CommandParser, what: str) -> None:
    """The option that says in whose name it is done."""
    parser.add_argument("--user", metavar="NAME", help=f"{what}: the portal's user who does it")


def chosen_user(name: str | None) -> User:
    """The user in whose name something is done. Errors: CommandError with status 2."""
    if name is None:
        raise CommandError("Say with --user who does it: it is kept.", returncode=2)
    user = User.objects.filter(username=name, is_active=True).first() if is_text(name) else None
    if user is None:
        raise CommandError(f"There is no user {name!r}.", returncode=2)
    return user


def chosen_reason(reason: str | None, required: str = "Say why with --reason.") -> str:
    """Why something is done. Errors: CommandError with status 2."""
    try:
        # What a shell passes may be no UTF-8, which no database could keep.
        (reason or "").encode()
        chosen: str = ReasonField(error_messages={"required": required}).clean(reason)
    except UnicodeEncodeError:
        raise CommandError("--reason is not valid UTF-8.", returncode=2) from None
    except ValidationError as flaw:
        raise CommandError(" ".join(flaw.messages), returncode=2) from None
    return chosen


def is_text(text: str) -> bool:
    """Whether a database could hold it: what a shell passes may be no UTF-8."""
    return text.isprintable()


def field_pairs(given: Iterable[str]) -> dict[str, str]:
    """Fields with their values. Errors: CommandError with status 2."""
    values = {}
    for text in given:
        name, sign, value = text.partition("=")
        if not sign:
            raise CommandError(f"--set takes FIELD=VALUE, not {text!r}.", returncode=2)
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
    """What to send of forms: what they show, and the given values in their fields.

    Errors: CommandError with status 2 for a field that is not there.
    """
    known = [field.html_name for form in bound_forms for field in form]
    for name in given:
        if name not in known:
            raise CommandError(
                f"There is no field {name!r}; there are: {', '.join(known)}.", returncode=2
            )
    return shown_values(bound_forms) | dict(given)


def refuse_flaws(bound_forms: Sequence[forms.Form]) -> None:
    """Tell all flaws of bound forms in one line. Errors: CommandError with status 2."""
    flaws = [
        f"{form.add_prefix(name)}: {text}" if name != "__all__" else str(text)
        for form in bound_forms
        for name, texts in form.errors.items()
        for text in texts
    ]
    if flaws:
        raise CommandError(" ".join(flaws), returncode=2)


def form_fields(bound_forms: Sequence[forms.Form]) -> dict[str, Any]:
    """Each field with what it holds, for people and programs to choose from."""
    return {name: value or None for name, value in shown_values(bound_forms).items()}
