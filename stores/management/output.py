"""How commands print documents."""

import json
from typing import Any

from django.core.management.base import BaseCommand


def print_json(command: BaseCommand, found: Any) -> None:
    """One JSON document on stdout."""
    command.stdout.write(json.dumps(found, default=str))
