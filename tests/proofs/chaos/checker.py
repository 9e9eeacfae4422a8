"""The judge: which promises do the databases break? (reliability, section 2)

`safety` may be asked at any moment, also while everything runs or is dead; `convergence` once the
trouble is over and the ring had its time. An answer names what is wrong; nothing is proof.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.proofs.chaos.journal import Journal, Promises
from tests.proofs.chaos.observer import (
    ChannelObservation,
    Event,
    HQObservation,
    observe_channel,
    observe_hq,
)
from tests.proofs.chaos.places import Place

GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class Breach:
    """One kind of damage, where it is, and the first rows that show it."""

    kind: str
    place: str
    rows: tuple[Any, ...]

    def __str__(self) -> str:
        return f"{self.kind} at {self.place}: {', '.join(map(str, self.rows[:5]))}"


@dataclass
class Checker:
    """Looks at one ring again and again; remembers the map, which may only grow."""

    hq: str
    places: Sequence[Place]
    journal: Journal | None = None
    remembered: dict[str, tuple[str, str]] = field(default_factory=dict)
    # Databases that were set back: until HQ has noticed, it believes what it noted as delivered.
    set_back: set[int] = field(default_factory=set)

    def safety(self) -> list[Breach]:
        """What is wrong at this moment.

        Channels are read between two looks at headquarters: what HQ says was delivered must be
        there later, and what a channel says is held must be at HQ later.
        """
        earlier = observe_hq(self.hq)
        channels = [observe_channel(place) for place in self.places]
        later = observe_hq(self.hq)
        found = [*self.numbers(later), *self.map(later), *self.runs(later)]
        for channel in channels:
            found += [*receipts(channel, later), *knowledge(channel, later)]
            found += contents(channel, later)
            if channel.place.pk not in self.set_back - earlier.noticed:
                found += delivered(earlier, channel)
        if self.journal:
            found += strangers(earlier, self.journal.read())
        return found

    def convergence(self) -> list[Breach]:
        """What is still missing or unequal; everything must be at rest."""
        hq = observe_hq(self.hq)
        channels = [observe_channel(place) for place in self.places]
        found = [*self.safety(), *unfinished(hq), *stale(hq)]
        for channel in channels:
            found += [*unfetched(channel), *unequal(channel, hq), *shown_twice(channel)]
        if self.journal:
            promises = self.journal.read()
            found += [*lost(hq, promises), *set_aside(hq, promises)]
        return found

    def rest(self) -> tuple[HQObservation, list[ChannelObservation]]:
        """Everything there is, to be compared with another moment."""
        return observe_hq(self.hq), [observe_channel(place) for place in self.places]

    def numbers(self, hq: HQObservation) -> Iterator[Breach]:
        for company, (start, after) in hq.sequences.items():
            issued = sorted(hq.numbers.get(company, []))
            expected = list(range(start, after))
            if issued != expected:
                wrong = sorted(set(issued) ^ set(expected)) or issued
                yield Breach("I3 numbers have gaps or doubles", company, tuple(wrong))
        yield from breach(
            "I2 account without exactly one GUID that created it",
            "hq",
            [account for account, guids in hq.creators.items() if guids != 1],
        )

    def map(self, hq: HQObservation) -> Iterator[Breach]:
        """I5: what was once promised stays; I13: what is applied has its account."""
        yield from breach(
            "I5 map was rewritten",
            "hq",
            [guid for guid, account in self.remembered.items() if hq.guid_map.get(guid) != account],
        )
        # A number that is not in the journal yet has not left HQ; a restore may take it back.
        self.remembered |= {guid: hq.guid_map[guid] for guid in hq.journaled}
        yield from breach(
            "I13 applied without an account",
            "hq",
            [
                event_id
                for event_id, event in hq.events.items()
                if event.table == "async_customer"
                and event.status == "applied"
                and event.guid
                and event.guid not in hq.guid_map
            ],
        )

    def runs(self, hq: HQObservation) -> Iterator[Breach]:
        scopes = [(job, scope) for job, scope, _ in hq.live_runs]
        yield from breach(
            "I28 two live runs of one scope",
            "hq",
            sorted(scope for scope, times in Counter(scopes).items() if times > 1),
        )


def breach(kind: str, place: str, found: Sequence[Any]) -> Iterator[Breach]:
    """The breach, if anything was found."""
    if found:
        yield Breach(kind, place, tuple(found))


def receipts(channel: ChannelObservation, hq: HQObservation) -> Iterator[Breach]:
    """I7: what the channel may forget, headquarters holds."""
    yield from breach(
        "I7 false receipt",
        channel.place.label,
        [
            event_id
            for event_id, event in channel.events.items()
            if event.status == "held" and not is_held(event_id, event, hq)
        ],
    )
    yield from breach(
        "I7 false receipt of a sale",
        channel.place.label,
        [
            event_id
            for event_id, is_acknowledged in channel.sales.items()
            if is_acknowledged and event_id not in hq.sales and event_id not in hq.kept_ids
        ],
    )


def is_held(event_id: str, event: Event, hq: HQObservation) -> bool:
    key = (event.place, event.table, str(event.counter))
    return event_id in hq.events or event_id in hq.kept_ids or key in hq.kept


def contents(channel: ChannelObservation, hq: HQObservation) -> Iterator[Breach]:
    """I10: headquarters holds an event as the till wrote it."""
    yield from breach(
        "I10 event differs from the till's",
        channel.place.label,
        [
            event_id
            for event_id, event in channel.events.items()
            if (copy := hq.events.get(event_id))
            and copy.status != "erased"
            and (copy.table, copy.guid, copy.name) != (event.table, event.guid, event.name)
        ],
    )


def knowledge(channel: ChannelObservation, hq: HQObservation) -> Iterator[Breach]:
    """I17: a channel knows no account that headquarters does not."""
    company = channel.place.company
    yield from breach(
        "I17 channel knows another account than HQ",
        channel.place.label,
        [
            (guid, account)
            for guid, account in channel.account_map.items()
            if hq.guid_map.get(guid) != (company, account)
        ],
    )


def delivered(hq: HQObservation, channel: ChannelObservation) -> Iterator[Breach]:
    """I19: what is noted as delivered is there."""
    yield from breach(
        "I19 noted as delivered, but not there",
        channel.place.label,
        [
            account
            for (place, account), (version, _) in hq.deliveries.items()
            if place == channel.place.pk and channel.versions.get(account, 0) < version
        ],
    )


def strangers(hq: HQObservation, promises: Promises) -> Iterator[Breach]:
    """I9: headquarters holds nothing that no till wrote, and nothing that a till took back."""
    from_tills = (set(hq.events) | set(hq.sales)) - hq.hq_made
    yield from breach("I9 event that no till wrote", "hq", sorted(from_tills - promises.tried))
    yield from breach("I9 event that was undone", "hq", sorted(from_tills & promises.undone))


def lost(hq: HQObservation, promises: Promises) -> Iterator[Breach]:
    """I9: what was confirmed to a till arrived, or is kept with its reason."""
    missing = promises.confirmed - set(hq.events) - set(hq.sales) - hq.kept_ids
    yield from breach("I9 confirmed to a till and lost", "hq", sorted(missing))


def set_aside(hq: HQObservation, promises: Promises) -> Iterator[Breach]:
    """What no till wrote wrong has no reason to be in quarantine."""
    good = (promises.tried & hq.kept_ids) - promises.bad
    yield from breach("good row in quarantine", "hq", sorted(good))
    yield from breach(
        "good event failed",
        "hq",
        [
            f"{event_id} {event.table} {event.reason}"
            for event_id, event in hq.events.items()
            if event.status == "failed" and event_id not in promises.bad | hq.hq_made
        ],
    )


def unfinished(hq: HQObservation) -> Iterator[Breach]:
    """I14, I29: nothing waits without a reason, no run is left."""
    open_events = [
        event_id
        for event_id, event in hq.events.items()
        if event.status in ("pending", "failed") and not event.reason
    ]
    yield from breach("I14 open without a reason", "hq", open_events)
    yield from breach(
        "I14 waits though nothing is missing",
        "hq",
        [
            event_id
            for event_id, event in hq.events.items()
            if event.status == "pending"
            and event.guid
            and (event.table == "async_customer" or event.guid in hq.guid_map)
        ],
    )
    yield from breach(
        "I18 owed and not delivered",
        "hq",
        [key for key, (version, owed) in hq.deliveries.items() if version < owed],
    )
    yield from breach("I29 run has not ended", "hq", hq.live_runs)


def unfetched(channel: ChannelObservation) -> Iterator[Breach]:
    """I8: nothing is left in the channel that HQ does not hold."""
    yield from breach(
        "I8 not fetched",
        channel.place.label,
        [event_id for event_id, event in channel.events.items() if event.status != "held"]
        + [event_id for event_id, is_acknowledged in channel.sales.items() if not is_acknowledged],
    )


def unequal(channel: ChannelObservation, hq: HQObservation) -> Iterator[Breach]:
    """I16, I18: every channel knows every account, and each row as HQ has it."""
    place = channel.place
    expected = {
        (guid, account)
        for guid, (company, account) in hq.guid_map.items()
        if company == place.company
    }
    missing = sorted(expected ^ set(channel.account_map.items()))
    yield from breach("I18 map differs from HQ's", place.label, missing)
    for table, mine in channel.shared.items():
        theirs = {row[1:] for row in hq.shared[table] if row[0] == place.pk}
        for where, rows in (("is not at HQ", mine - theirs), ("is not there", theirs - mine)):
            yield from breach(f"I18 {table} {where}", place.label, sorted(rows, key=str))


def stale(hq: HQObservation) -> Iterator[Breach]:
    """I10: a customer whom only one database edited has the name that its last event gave."""
    histories: dict[str, list[Event]] = {}
    for event in hq.events.values():
        if event.table == "async_customer" and event.account:
            histories.setdefault(event.account, []).append(event)
    present = {row[1]: row[2] for row in hq.shared["customer"]}
    yield from breach(
        "I10 not the last event's content",
        "hq",
        [
            account
            for account, history in histories.items()
            if account in present
            and len({event.place for event in history}) == 1
            and (name := last_name_given(history)) is not None
            and present[account] != name
        ],
    )


def last_name_given(history: Sequence[Event]) -> str | None:
    """The first name after all events of one database; a deactivation gives none."""
    naming = [event for event in history if event.operation != "deactivate"]
    last = max(naming, key=lambda event: (event.generation, event.counter), default=None)
    return last.name if last else None


def shown_twice(channel: ChannelObservation) -> Iterator[Breach]:
    """I20: a till shows each account once and never a GUID."""
    accounts = [account for account in channel.shown if account in channel.versions]
    yield from breach(
        "I20 shown twice",
        channel.place.label,
        sorted(account for account, times in Counter(accounts).items() if times > 1),
    )
    yield from breach(
        "I20 shows a GUID",
        channel.place.label,
        [account for account in channel.shown if GUID.fullmatch(account)],
    )
