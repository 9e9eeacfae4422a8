"""Start what is due by itself, and take care of runs that nobody executes."""

from typing import Any

from django.core.management.base import CommandError

from stores.jobs import scheduler, worker
from stores.management.base import SynclineCommand


class Command(SynclineCommand):
    help = "Start the pipeline, the checks of the night, and what is lost anew. Ends on SIGTERM."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            scheduler.run_scheduler(log=self.stdout.write)
        except worker.EvictingQueue as error:
            raise CommandError(str(error)) from None
