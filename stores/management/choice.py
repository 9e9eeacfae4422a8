"""What people name on the command line, checked before anything is done."""

from argparse import ArgumentTypeError
from collections.abc import Sequence
from datetime import date

from django.core.management.base import CommandError

from stores.models import Channel, Company, RetailTransaction
from stores.pipeline.dates import NoBusinessDate, business_date


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


def typed_date(text: str) -> date:
    """A business date, for argparse. Errors: ArgumentTypeError."""
    try:
        return business_date(text)
    except NoBusinessDate as error:
        raise ArgumentTypeError(str(error)) from None
