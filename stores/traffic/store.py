"""The store whose tills write: its place, its money, its opening hours."""

import secrets
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from random import Random
from typing import Self

from stores.models import ChannelDatabase

OPENS = time(9)
OPEN_FOR = timedelta(hours=12)
# The day of seeds that name none. Long past, so that no clock finds it in the future; too long for
# sales, which HQ takes only of days that are near.
USUAL_DAY = date(2025, 6, 2)
SEEDS_PER_DAY = 1_000_000


@dataclass(frozen=True)
class Store:
    """What of a channel database shows in the rows of its tills."""

    label: str
    country: str
    seed: int

    @classmethod
    def of(cls, database: ChannelDatabase, seed: int | None) -> Self:
        """The store of a channel database; without a seed it gets a fresh one."""
        country = database.channel.country
        return cls(database.label, country, fresh_seed(country) if seed is None else seed)

    @property
    def currency(self) -> str:
        return "USD" if self.country == "USA" else "EUR"

    @property
    def zone(self) -> timezone:
        """The store's zone; one offset the year round, as tills without a clock change have."""
        return zone_of(self.country)

    def opening(self, day: date | None = None) -> datetime:
        """When the store opens on a day; without one, on the day its seed stands for."""
        return datetime.combine(day or day_of(self.seed), OPENS, self.zone)

    def moment(self, share: float) -> str:
        """The time at which a share (0 to 1) of the store's day has passed."""
        return (self.opening() + share * OPEN_FOR).isoformat(timespec="seconds")

    def stream(self, *key: object) -> Random:
        """Random numbers for one purpose: the same for the same store, seed and key."""
        return Random("|".join(map(str, (self.label, self.seed, *key))))  # noqa: S311 not a secret


def zone_of(country: str) -> timezone:
    return timezone(timedelta(hours=-5 if country == "USA" else 2))


def fresh_seed(country: str) -> int:
    """A seed nobody has used. It begins with yesterday, so that a repeat has the same day."""
    return yesterday_seed(country, secrets.randbelow(SEEDS_PER_DAY))


def yesterday_seed(country: str, number: int) -> int:
    yesterday = (datetime.now(UTC).astimezone(zone_of(country)) - timedelta(days=1)).date()
    return int(f"{yesterday:%Y%m%d}") * SEEDS_PER_DAY + number % SEEDS_PER_DAY


def day_of(seed: int) -> date:
    return day_named_by(seed) or USUAL_DAY


def day_named_by(seed: int) -> date | None:
    """The day with which a seed begins, if it does."""
    try:
        return datetime.strptime(str(seed // SEEDS_PER_DAY), "%Y%m%d").replace(tzinfo=UTC).date()
    except ValueError:
        return None
