"""Make a token for the tills of a channel, list the tokens, or revoke one."""

from typing import Any

from django.core.management.base import CommandParser

from stores.management.arguments import (
    add_user,
    get_channel,
    get_named,
    get_user,
    whole_number,
    wrong_argument,
)
from stores.management.base import SynclineCommand
from stores.models import Channel, RtsToken
from stores.models.rts import MAX_CALLS_PER_MINUTE
from stores.rts.tokens import (
    DEFAULT_CALLS_PER_MINUTE,
    DEFAULT_DAYS,
    MAX_DAYS,
    TokenRefused,
    make_token,
    parse_networks,
    revoke_token,
)

LINE_FORMAT = "{id:<18} {status:<8} {made:%Y-%m-%d} {expires:%Y-%m-%d}  {used}"


class Command(SynclineCommand):
    help = (
        "Makes a token with which the tills of a channel call the real-time service, and prints it "
        "once. With --list it lists the channel's tokens, with --revoke it revokes one. "
        "Exit status: 0 done, 1 already revoked, 2 wrong arguments."
    )
    example = "rts_token houston --days 90 --network 10.1.0.0/16"
    failures = (TokenRefused,)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("channel", metavar="CODE", help="The channel of the tills.")
        action = parser.add_mutually_exclusive_group()
        action.add_argument("--list", action="store_true", help="Lists the tokens, newest first.")
        action.add_argument("--revoke", metavar="ID", help="Revokes the token with this id.")
        parser.add_argument(
            "--days",
            type=whole_number(1, MAX_DAYS),
            default=DEFAULT_DAYS,
            metavar="N",
            help=f"How long the token is valid; {DEFAULT_DAYS} days by default.",
        )
        parser.add_argument(
            "--network",
            nargs="+",
            action="extend",
            default=[],
            dest="networks",
            metavar="NETWORK",
            help="Where tills may call from, such as 10.1.0.0/16; anywhere by default.",
        )
        parser.add_argument(
            "--calls-per-minute",
            type=whole_number(1, MAX_CALLS_PER_MINUTE),
            default=DEFAULT_CALLS_PER_MINUTE,
            metavar="N",
            help=f"How often it may be used; {DEFAULT_CALLS_PER_MINUTE} by default.",
        )
        add_user(parser, required=False)

    def handle(self, *args: Any, **options: Any) -> None:
        channel = get_channel(options["channel"])
        by = get_user(options["user"]) if options["user"] is not None else None
        if options["list"]:
            tokens = channel.rts_tokens.with_people().newest_first()
            self.print_rows("token", map(token_as_dict, tokens), LINE_FORMAT)
        elif options["revoke"] is not None:
            token = get_token(channel, options["revoke"])
            revoke_token(token, by=by)
            self.print_json_or_text(token_as_dict(token), f"Token {token.pk} is revoked.")
        else:
            token, text = make_token(
                channel,
                days=options["days"],
                networks=known_networks(options["networks"]),
                calls_per_minute=options["calls_per_minute"],
                by=by,
            )
            until = f"It is valid until {token.expires_at:%Y-%m-%d}, and cannot be shown again."
            self.print_json_or_text({"token": text}, text, until)


def get_token(channel: Channel, token_id: str) -> RtsToken:
    return get_named("token", token_id, channel.rts_tokens.filter(pk=token_id).with_people())


def known_networks(texts: list[str]) -> list[str]:
    try:
        return parse_networks(texts)
    except TokenRefused as refusal:
        raise wrong_argument(str(refusal)) from None


def token_as_dict(token: RtsToken) -> dict[str, Any]:
    last_used = token.last_used_at
    return {
        "id": token.pk,
        "channel": token.channel.code,
        "status": token.status,
        "made": token.made_at,
        "made_by": token.made_by and token.made_by.get_username(),
        "expires": token.expires_at,
        "networks": token.networks,
        "calls_per_minute": token.calls_per_minute,
        "last_used": last_used,
        "last_used_from": token.last_used_from,
        "last_refused": token.last_refused_at,
        "last_refusal": token.last_refusal or None,
        "revoked": token.revoked_at,
        "revoked_by": token.revoked_by and token.revoked_by.get_username(),
        "used": f"used {last_used:%Y-%m-%d %H:%M}" if last_used else "never used",
    }
