"""Compare what HQ and a channel remember of the latest visit; nothing is read or written here."""

from dataclasses import dataclass
from uuid import UUID

from stores.channeldb.exchange.protocol import ChannelState
from stores.models.incident import IncidentKind


@dataclass(frozen=True)
class KnownState:
    """What HQ knows of a database.

    `next_numbers` is the next account number of each company, `issued` how far its orders and
    invoices are numbered; `staged` the highest counter of each event table that HQ has taken from
    this generation; `is_watched` says that HQ wants to know of every database that agrees with it.
    `changes` is the latest change of each company's customers.
    """

    database_id: UUID
    generation: int
    confirmed_epoch: int
    confirmed_nonce: UUID | None
    intended_epoch: int | None
    intended_nonce: UUID | None
    next_numbers: dict[str, int]
    staged: dict[str, int]
    issued: dict[str, int]
    blocked_by: int | None
    is_watched: bool
    changes: dict[str, int]

    @property
    def is_known(self) -> bool:
        return self.confirmed_nonce is not None

    @property
    def expected_tokens(self) -> tuple[tuple[int, UUID | None], ...]:
        """The pairs that the channel may show: a visit may have died between its steps."""
        confirmed = (self.confirmed_epoch, self.confirmed_nonce)
        if self.intended_epoch is None:
            return (confirmed,)
        return (confirmed, (self.intended_epoch, self.intended_nonce))


def compare_tokens(known: KnownState, state: ChannelState) -> IncidentKind | None:
    """What is wrong with a database that HQ has met, or None.

    The id comes first, because the epochs of two databases mean nothing to each other.
    """
    token = state.token
    if state.database_id != known.database_id:
        return IncidentKind.WRONG_DATABASE
    if numbers_ahead(known, state):
        return IncidentKind.HQ_BEHIND
    if (token.epoch, token.nonce) in known.expected_tokens:
        return IncidentKind.CHANNEL_RESTORED if lacks_events(known, state) else None
    if token.epoch > max(epoch for epoch, _ in known.expected_tokens):
        return IncidentKind.HQ_BEHIND
    if token.epoch < known.confirmed_epoch:
        return IncidentKind.CHANNEL_RESTORED
    return IncidentKind.CHANNEL_FORKED


def compare_first_contact(
    known: KnownState, state: ChannelState, *, is_taken: bool
) -> IncidentKind | None:
    """What is wrong with a database at first contact, or None.

    `is_taken` says that its id is that of another channel's database.
    """
    if is_taken:
        return IncidentKind.WRONG_DATABASE
    if state.token.epoch > 0 or numbers_ahead(known, state):
        return IncidentKind.HQ_BEHIND
    return None


def numbers_ahead(known: KnownState, state: ChannelState) -> list[str]:
    """The numbers that the channel has seen and HQ has still to issue, each with HQ's own."""
    accounts = [
        f"account number {number} of {company} (here: {known.next_numbers.get(company, 1) - 1})"
        for company, number in state.account_high.items()
        if number >= known.next_numbers.get(company, number)
    ]
    documents = [
        f"{series.rpartition('/')[2]} number {number} of {series.rpartition('/')[0]} "
        f"(here: {known.issued.get(series, 0)})"
        for series, number in state.issued.items()
        if number > known.issued.get(series, 0)
    ]
    changes = [
        f"change {number} of {company} (here: {known.changes[company]})"
        for company, number in state.positions.items()
        if number > known.changes.get(company, number)
    ]
    return accounts + documents + changes


def lacks_events(known: KnownState, state: ChannelState) -> bool:
    """Whether the channel counts lower than what HQ has taken from it: its tills count anew."""
    return any(
        state.counters[table] < counter
        for table, counter in known.staged.items()
        if table in state.counters
    )
