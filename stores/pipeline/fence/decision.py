"""Compare what HQ and a channel remember of the latest visit.

A *visit* is one connection of HQ to a channel database. Before it writes, it leaves a *token* in
both: an epoch that only grows, and a random nonce. If a database shows another token than HQ
expects, or knows more than HQ does, one of the two was restored, copied or exchanged. Nothing is
read or written here.
"""

from dataclasses import dataclass
from uuid import UUID

from stores.channeldb.exchange.protocol import ChannelState
from stores.models.incident import IncidentKind


@dataclass(frozen=True)
class KnownState:
    """What HQ knows of a channel database, and of the numbers that it has issued itself."""

    database_id: UUID
    # Begins with 1. A restore that HQ has noticed, and a person who accepts the database, raise it.
    generation: int
    # The token of the latest visit, and the one that a visit was about to leave.
    confirmed_epoch: int
    confirmed_nonce: UUID | None
    intended_epoch: int | None
    intended_nonce: UUID | None
    # The next account number of each company.
    next_numbers: dict[str, int]
    # The highest counter of each event table that HQ has staged from this generation.
    staged: dict[str, int]
    # The last number of each series of orders and invoices, by "COMPANY/series".
    issued: dict[str, int]
    # The incident that forbids visits, if there is one.
    blocked_by: int | None
    # Whether HQ has to note that the database agrees with it.
    is_watched: bool
    # The number of the latest change of each company's customers.
    changes: dict[str, int]

    @property
    def is_known(self) -> bool:
        """Whether HQ has visited the database before."""
        return self.confirmed_nonce is not None

    @property
    def expected_tokens(self) -> tuple[tuple[int, UUID | None], ...]:
        """The tokens that the channel may show, since a visit may have died between its steps."""
        confirmed = (self.confirmed_epoch, self.confirmed_nonce)
        if self.intended_epoch is None:
            return (confirmed,)
        return (confirmed, (self.intended_epoch, self.intended_nonce))


def compare_tokens(known: KnownState, state: ChannelState) -> IncidentKind | None:
    """Return what is wrong with a database that HQ has visited before, or None."""
    token = state.token
    # The epochs of two databases cannot be compared.
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
    """Return what is wrong with a database that HQ visits for the first time, or None.

    `is_taken` says that another registered database has its id.
    """
    if is_taken:
        return IncidentKind.WRONG_DATABASE
    if state.token.epoch > 0 or numbers_ahead(known, state):
        return IncidentKind.HQ_BEHIND
    return None


def numbers_ahead(known: KnownState, state: ChannelState) -> list[str]:
    """Describe the numbers that the channel knows of and HQ has not issued yet, with HQ's own."""
    accounts = [
        f"account number {number} of {company} (here: {known.next_numbers.get(company, 1) - 1})"
        for company, number in state.account_high.items()
        if number >= known.next_numbers.get(company, number)
    ]
    documents = []
    for key, number in state.issued.items():
        company, _, series = key.rpartition("/")
        issued = known.issued.get(key, 0)
        if number > issued:
            documents.append(f"{series} number {number} of {company} (here: {issued})")
    changes = [
        f"change {number} of {company} (here: {known.changes[company]})"
        for company, number in state.positions.items()
        if number > known.changes.get(company, number)
    ]
    return accounts + documents + changes


def lacks_events(known: KnownState, state: ChannelState) -> bool:
    """Return whether the channel's counter of a table is lower than that of an event in HQ."""
    return any(
        state.counters[table] < counter
        for table, counter in known.staged.items()
        if table in state.counters
    )
