"""Start what is due by itself, and take care of runs that nobody executes."""

from typing import Any

from stores.jobs import scheduler, worker
from stores.management.base import SynclineCommand


class Command(SynclineCommand):
    help = (
        "Starts jobs on their schedules, gives back lost steps, and enqueues waiting steps again. "
        "Stops on SIGTERM."
    )
    example = "scheduler"
    failures = (worker.EvictingQueue,)
    takes_json = False

    def handle(self, *args: Any, **options: Any) -> None:
        scheduler.run_scheduler(log=self.stdout.write)
