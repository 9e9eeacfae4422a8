"""The books: what the tills took is what headquarters has posted, to the cent."""

from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal

from tests.proofs.chaos.checker import Breach, breach
from tests.proofs.chaos.documents import Document
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
    yield from breach(
        "I24 posted without its customer",
        "hq",
        [
            event_id
            for event_id, document in promises.documents.items()
            if has_lost_customer(document, promises, hq)
            and (sale := hq.sales.get(event_id))
            and (sale.statement or sale.order)
        ],
    )


def has_lost_customer(document: Document, promises: Promises, hq: HQObservation) -> bool:
    """Whether the store has lost the customer whom it names, and HQ had not fetched him or her.

    Rows are fetched in batches; a store that is restored between two of them may lose the customer
    of a sale that HQ holds. Such a sale waits for a person.
    """
    guid = document.async_account
    return guid in promises.gone and guid not in hq.guid_map


def drawers(promises: Promises, hq: HQObservation) -> dict[Drawer, Decimal]:
    """What went into each drawer, by the tills' own journal.

    Of documents that headquarters holds; those that it lacks are told as lost. Those that are wrong
    on purpose, or whose customer is lost, are not posted.
    """
    found: dict[Drawer, Decimal] = defaultdict(Decimal)
    for event_id, document in promises.documents.items():
        if event_id not in hq.sales or event_id in promises.bad or document.is_voided:
            continue
        if has_lost_customer(document, promises, hq):
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
        if has_lost_customer(document, promises, hq):
            continue
        is_done = sale.order if document.kind == "customer_order" else sale.statement == "posted"
        if not is_done:
            yield f"{sale.transaction_id} {document.kind} {sale.status} {sale.rules or sale.waits}"
