"""Do the steps of runs that wait in the queue."""

from typing import Any

from django.core.management.base import CommandParser

from stores.jobs import worker
from stores.management.arguments import whole_number
from stores.management.base import SynclineCommand

# Each takes some 100 MB and up to three connections to HQ.
MAX_PROCESSES = 64


class Command(SynclineCommand):
    help = "Does the steps of runs as they are enqueued. Stops on SIGTERM after the current steps."
    example = "worker --burst"
    failures = (worker.EvictingQueue,)
    takes_json = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--burst", action="store_true", help="Stops when the queue is empty.")
        parser.add_argument(
            "--processes",
            type=whole_number(1, MAX_PROCESSES),
            default=worker.default_processes(),
            metavar="N",
            help=f"How many steps are done at the same time, at most {MAX_PROCESSES}. "
            "The default here is %(default)s.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        worker.run_workers(burst=options["burst"], processes=options["processes"])
