"""Start the pipeline every minute, and take care of runs that nobody executes."""

from typing import Any

from stores import schedule
from stores.management.base import SynclineCommand


class Command(SynclineCommand):
    help = "Start the pipeline every minute and heal lost runs. Ends on SIGTERM."

    def handle(self, *args: Any, **options: Any) -> None:
        schedule.keep(say=self.stdout.write)
