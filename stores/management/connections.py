"""The address of a channel database in arguments of commands, and how a test of it is printed."""

from django.core.management.base import CommandParser

from stores.channeldb.check import ConnectionTest
from stores.management.base import FAILED, SynclineCommand

ADDRESS_FORMS = (
    "postgresql://…, sqlite:///PATH below SYNCLINE_DATA_DIR, embedded, env:CHANNEL_DSN_X, or "
    "file:NAME in SYNCLINE_SECRETS_DIR."
)


def add_address(parser: CommandParser) -> None:
    parser.add_argument(
        "--database", metavar="URL", required=True, dest="address", help=ADDRESS_FORMS
    )
    add_secret(parser)


def add_secret(parser: CommandParser) -> None:
    parser.add_argument(
        "--secret",
        metavar="REFERENCE",
        default="",
        help="Where the password of a postgresql:// address is: env:CHANNEL_DSN_X, or file:NAME in "
        "SYNCLINE_SECRETS_DIR.",
    )
    parser.add_argument(
        "--test", action="store_true", help="Only tests the connection, and changes nothing."
    )


def print_test(command: SynclineCommand, test: ConnectionTest) -> None:
    """Print the steps to a database, and end the command with status 1 if one fails."""
    command.print_json_or_text(
        {
            "passed": test.is_passed,
            "steps": [
                {
                    "step": step.name,
                    "outcome": step.outcome,
                    "message": str(step.message) or None,
                }
                for step in test.steps.values()
            ],
        },
        *(f"{step.title:<20} {step.outcome:<8} {step.message}" for step in test.steps.values()),
        status=0 if test.is_passed else FAILED,
    )
