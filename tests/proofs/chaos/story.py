"""One chaos: trouble for a while, then peace, then the verdict."""

import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from stores.jobs.inline import run_inline
from stores.models import JobRun
from stores.pipeline.integrity.verify import verify
from tests.proofs.chaos.checker import Breach, Checker
from tests.proofs.chaos.disruptor import Disruptor
from tests.proofs.chaos.door import Door
from tests.proofs.chaos.evidence import evidence_of_failed_sales
from tests.proofs.chaos.expected_totals import compare_books, drawers
from tests.proofs.chaos.journal import Journal
from tests.proofs.chaos.register import OfflineRegister
from tests.proofs.chaos.ring import Services, open_shops, second_journal
from tests.proofs.chaos.set_back import Restorer, settle_incidents
from tests.proofs.chaos.tills import open_tills
from tests.support.processes import hq_url
from tests.support.proxy import Proxy

PATIENCE_S = 300
LOOK_EVERY_S = 1.5
ENDS_OF_DAY = 8


@dataclass
class Report:
    """What happened and what came of it."""

    seed: int
    seconds: float
    events: int = 0
    confirmed: int = 0
    ambiguous: int = 0
    quarantined: int = 0
    documents: int = 0
    posted: int = 0
    cents: int = 0
    customers: int = 0
    runs: int = 0
    done: dict[str, int] = field(default_factory=dict)
    cuts: int = 0
    looks: int = 0
    convergence_s: float | None = None
    lost: int = 0
    doubled: int = 0
    breaches: list[str] = field(default_factory=list)
    # Of sales that could not be posted although nothing is wrong with them.
    evidence: list[dict[str, Any]] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Nothing broken, and at rest in time."""
        return not self.breaches and self.convergence_s is not None


def run_chaos(seed: int, seconds: float, folder: Path, *, sets_back: bool = False) -> Report:
    """Trouble for so long, then peace, then the verdict."""
    report = Report(seed, seconds)
    with ExitStack() as stack:
        lines = [stack.enter_context(Proxy()) for _ in range(2)]
        places = open_shops(lines)
        journal = stack.enter_context(Journal(folder / "tills.journal"))
        watched = [*places]
        checker = Checker(hq_url(), watched, journal)
        clocks = Random(f"clocks {seed}") if sets_back else None  # noqa: S311 - no secret
        services = Services(folder / "services.log", clocks)
        stack.callback(services.close)
        doors = {place.label: Door() for place in places}
        looking = Door()
        restorer = Restorer(seed, places, doors, checker, journal, looking)
        appointments = restorer.appointments() if sets_back else []
        mayhem = Disruptor(seed, services, places, lines, hq_url(), appointments)
        tills = restorer.tills = open_tills(seed, places, lines, journal, doors)
        restorer.mayhem = mayhem
        # Nothing is restarted for it. What a restored shop has lost, it would bring back.
        register = None if sets_back else OfflineRegister(seed, journal)
        if register:
            watched.append(register.place)
            register.start()
        watch = Watch(checker, report, looking)
        watch.start()
        mayhem.rage(seconds)
        for till in tills:
            till.closing_time.set()
        for till in tills:
            till.join()
        if register:
            register.close()
        watch.end()
        converge(checker, report)
        mayhem.remove_marks(of_new=True)
        # Nobody starts a run that the end of the workers would leave behind.
        services.retire("scheduler")
        if report.convergence_s is not None:
            converge(checker, report)
        services.close()
        post_everything(report)
        judge(checker, journal, report)
        if report.breaches:
            report.evidence = evidence_of_failed_sales(places, journal.read().bad)
        report.done, report.cuts = dict(mayhem.done), mayhem.cuts
        report.done |= register.done if register else {}
        report.done["wrong clocks of processes"] = services.wrong_clocks
        report.done["lines of the second journal"] = count_lines(second_journal())
        report.done["events lost by shops"] = restorer.lost
    return report


def count_lines(path: Path) -> int:
    """The lines of a number journal but its title."""
    return max(len(path.read_bytes().splitlines()) - 1, 0) if path.exists() else 0


class Watch(threading.Thread):
    """Looks all the time whether a promise is broken that holds at every moment."""

    def __init__(self, checker: Checker, report: Report, looking: Door) -> None:
        super().__init__(daemon=True)
        self.checker, self.report, self.looking = checker, report, looking
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(LOOK_EVERY_S):
            with self.looking.open():
                note(self.report, "while it ran", self.checker.safety())
            self.report.looks += 1

    def end(self) -> None:
        self.over.set()
        self.join()
        if not self.report.looks:
            self.report.breaches.append("nobody looked while it ran")


def note(report: Report, when: str, found: list[Breach]) -> None:
    """Keep each kind of breach once."""
    for breach in found:
        if not any(breach.kind in known for known in report.breaches):
            report.breaches.append(f"{when}: {breach}")


def converge(checker: Checker, report: Report) -> None:
    """Wait until the ring is at rest and equal everywhere, by its schedule alone.

    A person settles what a person must: a shop that was set back twice, what was posted before.
    """
    began = time.monotonic()
    while found := checker.convergence():
        settle_incidents()
        if time.monotonic() - began > PATIENCE_S:
            note(report, f"after {PATIENCE_S} s of peace", found)
            return
        time.sleep(0.5)
    if report.convergence_s is None:
        report.convergence_s = round(time.monotonic() - began, 1)


def post_everything(report: Report) -> None:
    """Make orders and ends of days until there is nothing to do."""
    for _ in range(ENDS_OF_DAY):
        settle_incidents()
        outcomes = {job: run_inline(job)["outcome"] for job in ("eod", "sync-orders")}
        if set(outcomes.values()) == {"nothing_to_do"}:
            return
    report.breaches.append(f"the end of day does not come to its end: {outcomes}")


def judge(checker: Checker, journal: Journal, report: Report) -> None:
    """Everything at rest: count, ask `verify` too, and see that nothing moves any more."""
    note(report, "at rest", checker.convergence())
    broken = [
        f"verify: {check.id} {check.title}: {check.offending[:3]}"
        for check in verify()
        # What was taken over while the server's clock was a day ahead stays so for that day.
        if not check.ok and check.id != "I34"
    ]
    report.breaches += broken
    before = checker.rest()
    outcomes = [run_inline("pipeline")["outcome"] for _ in range(2)]
    if checker.rest() != before or outcomes[-1] != "nothing_to_do":
        report.breaches.append(f"I32 not at rest: {outcomes}")
    promises, hq = journal.read(), before[0]
    books = compare_books(promises, hq)
    report.breaches += [str(breach) for breach in books]
    report.posted = sum(bool(sale.order) for sale in hq.sales.values())
    report.documents = len(hq.sales)
    report.cents = sum(abs(int(amount * 100)) for amount in drawers(promises, hq).values())
    report.events, report.confirmed = len(promises.tried), len(promises.confirmed)
    report.ambiguous = len(promises.tried - promises.confirmed - promises.undone)
    report.lost = len(promises.confirmed - set(hq.events) - set(hq.sales) - hq.kept_ids)
    report.quarantined = len(promises.confirmed & hq.kept_ids)
    report.customers = sum(map(len, hq.numbers.values()))
    report.doubled = sum(guids != 1 for guids in hq.creators.values())
    report.runs = JobRun.objects.count()
