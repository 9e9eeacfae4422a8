"""The books: what the tills took is what headquarters has posted, to the cent."""

from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal

from tests.proofs.chaos.checker import Breach, breach
from tests.proofs.chaos.journal import Promises
from tests.proofs.chaos.observer import HQObservation

# Channel, business date, tender and currency.
Drawer = tuple[str, str, str, str]


def compare_books(promises: Promises, hq: HQObservation) -> Iterator[Breach]:
    """What is wrong with the books after every end of day."""
    expected = drawers(promises, hq)
    for name, found in (("statements", hq.tenders), ("posted payments", hq.payments)):
        wrong = [
            (*drawer, f"tills {expected.get(drawer, 0)}, {name} {found.get(drawer, 0)}")
            for drawer in sorted(expected.keys() | found.keys())
            if expected.get(drawer, Decimal(0)) != found.get(drawer, Decimal(0))
        ]
        yield from breach(f"I25 {name} differ from the tills", "hq", wrong)
    yield from breach("I24 not posted", "hq", sorted(not_posted(promises, hq)))
    yield from breach(
        "I24 posted though it is wrong",
        "hq",
        [
            event_id
            for event_id, sale in hq.sales.items()
            if event_id in promises.bad and (sale.statement or sale.order)
        ],
    )


def drawers(promises: Promises, hq: HQObservation) -> dict[Drawer, Decimal]:
    """What went into each drawer, by the tills' own journal.

    Of documents that headquarters holds; those that it lacks are told as lost, and those that are
    wrong on purpose are not posted.
    """
    found: dict[Drawer, Decimal] = defaultdict(Decimal)
    for event_id, document in promises.documents.items():
        if event_id not in hq.sales or event_id in promises.bad or document.is_voided:
            continue
        for tender, currency, amount in document.payments:
            found[document.channel, document.business_date, tender, currency] += Decimal(amount)
    return dict(found)


def not_posted(promises: Promises, hq: HQObservation) -> Iterator[str]:
    """Good sales in no posted statement, and good orders without a sales order, with the reason."""
    for event_id, document in promises.documents.items():
        sale = hq.sales.get(event_id)
        if sale is None or event_id in promises.bad or document.is_voided:
            continue
        is_done = sale.order if document.kind == "customer_order" else sale.statement == "posted"
        if not is_done:
            yield f"{sale.transaction_id} {document.kind} {sale.status} {sale.rules or sale.waits}"
