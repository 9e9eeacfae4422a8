"""Execute runs that wait in the queue."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from stores.jobs import worker
from stores.jobs.stalled import is_hung, run_maintenance
from stores.management.base import SynclineCommand


class Command(SynclineCommand):
    help = "Executes runs as they are enqueued. Stops on SIGTERM after the current run."
    example = "worker --burst"
    takes_json = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--burst", action="store_true", help="Stops when the queue is empty.")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            worker.run_worker(
                burst=options["burst"], run_maintenance=run_maintenance, is_hung=is_hung
            )
        except worker.EvictingQueue as error:
            raise CommandError(str(error)) from None
