"""One chaos: trouble for a while, then peace, then the verdict."""

import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from stores import jobs
from stores.models import JobRun
from stores.pipeline.verify import verify
from tests.chaos.checker import Breach, Checker
from tests.chaos.journal import Journal
from tests.chaos.mayhem import Mayhem
from tests.chaos.ring import Services, open_shops
from tests.chaos.tills import open_tills
from tests.processes import hq_url
from tests.proxy import Proxy

PATIENCE_S = 300
LOOK_EVERY_S = 1.5


@dataclass
class Report:
    """What happened and what came of it."""

    seed: int
    seconds: float
    events: int = 0
    confirmed: int = 0
    ambiguous: int = 0
    quarantined: int = 0
    customers: int = 0
    runs: int = 0
    done: dict[str, int] = field(default_factory=dict)
    cuts: int = 0
    looks: int = 0
    convergence_s: float | None = None
    lost: int = 0
    doubled: int = 0
    breaches: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Nothing broken, and at rest in time."""
        return not self.breaches and self.convergence_s is not None


def run_chaos(seed: int, seconds: float, folder: Path) -> Report:
    """Trouble for so long, then peace, then the verdict."""
    report = Report(seed, seconds)
    with ExitStack() as stack:
        lines = [stack.enter_context(Proxy()) for _ in range(2)]
        places = open_shops(lines)
        journal = stack.enter_context(Journal(folder / "tills.journal"))
        checker = Checker(hq_url(), places, journal)
        services = Services(folder / "services.log")
        stack.callback(services.close)
        mayhem = Mayhem(seed, services, places, lines, hq_url())
        tills = open_tills(seed, places, lines, journal)
        watch = Watch(checker, report)
        watch.start()
        mayhem.rage(seconds)
        for till in tills:
            till.closing_time.set()
        for till in tills:
            till.join()
        watch.end()
        converge(checker, report)
        services.close()
        judge(checker, journal, report)
        report.done, report.cuts = dict(mayhem.done), mayhem.cuts
    return report


class Watch(threading.Thread):
    """Looks all the time whether a promise is broken that holds at every moment."""

    def __init__(self, checker: Checker, report: Report) -> None:
        super().__init__(daemon=True)
        self.checker, self.report = checker, report
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(LOOK_EVERY_S):
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
    """Wait until the ring is at rest and equal everywhere, by its schedule alone."""
    began = time.monotonic()
    while found := checker.convergence():
        if time.monotonic() - began > PATIENCE_S:
            note(report, f"after {PATIENCE_S} s of peace", found)
            return
        time.sleep(0.5)
    report.convergence_s = round(time.monotonic() - began, 1)


def judge(checker: Checker, journal: Journal, report: Report) -> None:
    """Everything at rest: count, ask `verify` too, and see that nothing moves any more."""
    note(report, "at rest", checker.convergence())
    broken = [f"verify: {check.id} {check.title}" for check in verify() if not check.ok]
    report.breaches += broken
    before = checker.rest()
    outcomes = [jobs.run_here("pipeline")["outcome"] for _ in range(2)]
    if checker.rest() != before or outcomes[-1] != "nothing_to_do":
        report.breaches.append(f"I32 not at rest: {outcomes}")
    promises, hq = journal.read(), before[0]
    report.events, report.confirmed = len(promises.tried), len(promises.confirmed)
    report.ambiguous = len(promises.tried - promises.confirmed - promises.undone)
    report.lost = len(promises.confirmed - set(hq.events) - hq.kept_ids)
    report.quarantined = len(promises.confirmed & hq.kept_ids)
    report.customers = sum(map(len, hq.numbers.values()))
    report.doubled = sum(guids != 1 for guids in hq.creators.values())
    report.runs = JobRun.objects.count()
