"""Decide whether a channel database is still as headquarters (HQ) left it.

A *visit* is one connection of HQ to the database of a channel. A visit that writes leaves a *token*
in both databases: an *epoch*, which is one higher than that of the visit before, and a random
*nonce*, which tells apart two visits with the same epoch. HQ notes the token that it *intends* to
leave, writes it into the channel, and *confirms* it. The next visit compares what both databases
have. If they do not agree, one of them was restored from a backup, copied or exchanged:

    HQ_BEHIND           the channel knows a later visit, or a number that HQ has not issued
    CHANNEL_RESTORED    the channel is at an earlier visit, or lacks events that it had
    CHANNEL_FORKED      a visit of the same epoch was another one: HQ or the channel exists twice
    WRONG_DATABASE      it is not the database that HQ has visited before

The functions only compare values; their callers read these, and open the incident.
"""

from dataclasses import dataclass
from uuid import UUID

from stores.channeldb.exchange.protocol import ChannelState, VisitToken
from stores.channeldb.schema.drift import printable
from stores.messages.message import Message
from stores.models.incident import IncidentKind

# The message that names a number of a series. A channel may say what it likes of others.
NUMBERS_SEEN = {
    "account": "account_number_seen",
    "order": "order_number_seen",
    "invoice": "invoice_number_seen",
    "change": "change_seen",
}


@dataclass(frozen=True)
class KnownState:
    """What HQ knows of a channel database. ChannelState is what the database says of itself.

    The fields account_high, issued, counters and positions are compared with those of ChannelState
    that have the same name.
    """

    database_id: UUID
    # Begins with 1, and is raised when HQ accepts a database that was restored.
    generation: int
    # The token of the latest visit. The nonce is None if HQ has never visited the database.
    confirmed_epoch: int
    confirmed_nonce: UUID | None
    # The token that a visit was about to leave when it died. None: the latest visit has ended.
    intended_epoch: int | None
    intended_nonce: UUID | None
    # The last account number of each company that HQ has issued.
    account_high: dict[str, int]
    # The highest counter of the rows that HQ has received from each table of this generation.
    counters: dict[str, int]
    # The last number of each series of orders and invoices, by "COMPANY/series".
    issued: dict[str, int]
    # The incident that forbids visits, if there is one.
    blocked_by: int | None
    # Whether the database has not been compared since HQ was restarted or moved.
    is_unrecognised: bool
    # The number of the latest change of each company's customers.
    positions: dict[str, int]

    @property
    def is_known(self) -> bool:
        """Whether HQ has visited the database before."""
        return self.confirmed_nonce is not None

    @property
    def expected_tokens(self) -> list[VisitToken]:
        """The tokens that the channel may have: a visit can die before or after it writes there."""
        tokens = []
        if self.confirmed_nonce is not None:
            tokens.append(VisitToken(self.confirmed_epoch, self.confirmed_nonce))
        if self.intended_epoch is not None and self.intended_nonce is not None:
            tokens.append(VisitToken(self.intended_epoch, self.intended_nonce))
        return tokens


def find_mismatch(known: KnownState, state: ChannelState) -> IncidentKind | None:
    """Return what is wrong with a database that HQ has visited before, or None.

    `known.is_known` is true, so that HQ expects a token. For other databases there is
    find_mismatch_at_first_visit().
    """
    if state.database_id != known.database_id:
        return IncidentKind.WRONG_DATABASE
    # A restored HQ may have made visits again, so that the tokens alone would not show it.
    if numbers_ahead(known, state):
        return IncidentKind.HQ_BEHIND
    if state.token in known.expected_tokens:
        # Events may be missing all the same: tills write them without a visit.
        return IncidentKind.CHANNEL_RESTORED if lacks_events(known, state) else None
    latest_epoch = max(token.epoch for token in known.expected_tokens)
    if state.token.epoch > latest_epoch:
        return IncidentKind.HQ_BEHIND
    if state.token.epoch < known.confirmed_epoch:
        return IncidentKind.CHANNEL_RESTORED
    # HQ knows the epoch, but not the nonce.
    return IncidentKind.CHANNEL_FORKED


def find_mismatch_at_first_visit(
    known: KnownState, state: ChannelState, *, is_registered_twice: bool
) -> IncidentKind | None:
    """Return what is wrong with a database that HQ has never visited, or None.

    `is_registered_twice` says that another channel, or register, has a database with this id.
    """
    if is_registered_twice:
        return IncidentKind.WRONG_DATABASE
    # Somebody has visited it: this HQ, before it was restored, or another one.
    if state.token.epoch > 0 or numbers_ahead(known, state):
        return IncidentKind.HQ_BEHIND
    return None


def numbers_ahead(known: KnownState, state: ChannelState) -> list[Message]:
    """Describe each number that the channel knows and HQ has not issued, with HQ's last number."""
    return [
        *accounts_ahead(known, state),
        *documents_ahead(known, state),
        *changes_ahead(known, state),
    ]


def accounts_ahead(known: KnownState, state: ChannelState) -> list[Message]:
    ahead = []
    for company, number in state.account_high.items():
        latest = known.account_high.get(company)
        # HQ is behind a channel that has any number, even 0, of a company that HQ does not have.
        if latest is None or number > latest:
            ahead.append(number_seen("account", number, company, latest or 0))
    return ahead


def documents_ahead(known: KnownState, state: ChannelState) -> list[Message]:
    ahead = []
    for key, number in state.issued.items():
        company, _, series = key.rpartition("/")
        latest = known.issued.get(key, 0)
        if number > latest:
            ahead.append(number_seen(series, number, company, latest))
    return ahead


def changes_ahead(known: KnownState, state: ChannelState) -> list[Message]:
    ahead = []
    for company, number in state.positions.items():
        latest = known.positions.get(company)
        # None: HQ does not have the company, and accounts_ahead() says so.
        if latest is not None and number > latest:
            ahead.append(number_seen("change", number, company, latest))
    return ahead


def number_seen(series: str, number: int, company: str, known: int) -> Message:
    """Name a number that the channel knows of, with HQ's own.

    Series and company are what the channel says, so they may be of any length and kind.
    """
    numbers = {"number": str(number), "company": printable(company), "known": str(known)}
    if code := NUMBERS_SEEN.get(series):
        return Message(code, **numbers)
    return Message("number_seen", series=printable(series), **numbers)


def lacks_events(known: KnownState, state: ChannelState) -> bool:
    """Return whether the channel has lost events that HQ has received from it.

    A channel counts the rows of each table, and never counts down. It may not be able to tell the
    counter of a table; such a table is not compared.
    """
    for table, received in known.counters.items():
        counter = state.counters.get(table)
        if counter is not None and counter < received:
            return True
    return False
