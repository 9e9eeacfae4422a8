"""What people name on the command line, checked before anything is done."""

from collections.abc import Sequence

from django.core.management.base import CommandError

from stores.models import Channel, Company


def chosen_channels(codes: Sequence[str]) -> list[str]:
    """The codes, each of a known channel. Errors: CommandError with status 2."""
    known = set(Channel.objects.values_list("code", flat=True))
    for code in codes:
        if code not in known:
            raise CommandError(f"No channel is called {code}.", returncode=2)
    return list(codes)


def chosen_companies(codes: Sequence[str]) -> list[str]:
    """The codes, each of a known company. Errors: CommandError with status 2."""
    known = set(Company.objects.values_list("code", flat=True))
    for code in codes:
        if code not in known:
            raise CommandError(f"No company is called {code}.", returncode=2)
    return list(codes)
