"""The tokens of the channels' tills: make one, revoke it, and let its holder in.

A token is `<id>.<secret>`: 16 hexadecimal digits, and 256 random bits in base64. Nobody can try out
secrets of this length, so SHA-256 is enough to store them.
"""

import logging
import re
import secrets
from collections.abc import Sequence
from datetime import timedelta
from hashlib import sha256
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from math import ceil
from typing import Any

from django.conf import settings
from django.db.models.functions import Now
from django.http import HttpRequest
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from stores.hqdb.sql import fetch
from stores.models import Channel, RtsToken
from stores.rts.errors import ServiceError

logger = logging.getLogger(__name__)
AUTHORIZATION = re.compile(r"(?i:bearer) ([0-9a-f]{16})\.([A-Za-z0-9_-]{43})")
DEFAULT_DAYS, MAX_DAYS = 365, 3650
DEFAULT_CALLS_PER_MINUTE = 600
MAX_NETWORKS = 20
# What a secret is compared with if there is no such token, so that this takes as long.
NO_DIGEST = "0" * 64


class TokenRefused(Exception):
    """A token cannot be made or revoked. The message says why."""


def make_token(
    channel: Channel,
    *,
    days: int = DEFAULT_DAYS,
    networks: Sequence[str] = (),
    calls_per_minute: int = DEFAULT_CALLS_PER_MINUTE,
    by: Any = None,
) -> tuple[RtsToken, str]:
    """Make a token of the channel. Return it with its text, which nobody can find out later.

    `networks` are those that tills may call from: anywhere, if there are none. Raise TokenRefused
    if one of them is no network.
    """
    secret = secrets.token_urlsafe(32)
    token = RtsToken.objects.create(
        id=secrets.token_hex(8),
        digest=digest_of(secret),
        channel=channel,
        networks=parse_networks(networks),
        calls_per_minute=calls_per_minute,
        made_by=by,
        expires_at=timezone.now() + timedelta(days=days),
    )
    token.refresh_from_db()
    return token, f"{token.pk}.{secret}"


def parse_networks(texts: Sequence[str]) -> list[str]:
    """Return networks as `10.1.0.0/16`; an address is a network of one. Raise TokenRefused."""
    networks = []
    for text in texts:
        try:
            networks.append(str(ip_network(text)))
        except ValueError:
            raise TokenRefused(f"{text!r} is not a network such as 10.1.0.0/16.") from None
    if len(networks) > MAX_NETWORKS:
        raise TokenRefused(f"A token has at most {MAX_NETWORKS} networks.")
    return networks


def revoke_token(token: RtsToken, *, by: Any = None) -> None:
    """Refuse the token from now on. Raise TokenRefused if somebody has revoked it before."""
    valid = RtsToken.objects.filter(pk=token.pk, revoked_at=None)
    if not valid.update(revoked_at=Now(), revoked_by=by):
        raise TokenRefused(f"Token {token.pk} is already revoked.")
    token.refresh_from_db()


def digest_of(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()


# ----------------------------------------------------------------------- let a till in


def authenticate(request: HttpRequest) -> RtsToken:
    """Return the token of a call, and count the call. Raise ServiceError if it is refused."""
    match = AUTHORIZATION.fullmatch(request.headers.get("Authorization", ""))
    tokens = RtsToken.objects.select_related("channel__company")
    token = tokens.filter(pk=match[1]).first() if match else None
    secret = match[2] if match else ""
    is_right = constant_time_compare(digest_of(secret), token.digest if token else NO_DIGEST)
    if token is None or not is_right:
        if token:
            logger.warning("a call with the id of token %s has another secret", token.pk)
        raise unauthorized("unauthorized", "A valid token is required: Authorization: Bearer …")
    address = client_address(request)
    if error := refusal_of(token, address) or count_call(token, address):
        logger.warning("a call with token %s is refused: %s", token.pk, error.code)
        RtsToken.objects.filter(pk=token.pk).update(last_refused_at=Now(), last_refusal=error.code)
        raise error
    return token


def unauthorized(code: str, message: str) -> ServiceError:
    return ServiceError(401, code, message, headers={"WWW-Authenticate": "Bearer"})


def refusal_of(token: RtsToken, address: str | None) -> ServiceError | None:
    """Return why the holder of a token is not let in, or None."""
    if token.status == "revoked":
        return unauthorized("token_revoked", "The token has been revoked.")
    if token.status == "expired":
        return unauthorized("token_expired", "The token has expired.")
    if not token.channel.is_enabled:
        return ServiceError(403, "channel_off", "The channel of the token is switched off.")
    if token.networks and not is_within(address, token.networks):
        return ServiceError(403, "address_not_allowed", "The token may not be used from here.")
    return None


def count_call(token: RtsToken, address: str | None) -> ServiceError | None:
    """Count a call of the token, in PostgreSQL, as several web processes let its holder in.

    Return the error of a call beyond those that the token has in a minute.
    """
    [(calls, left_s)] = fetch(
        """UPDATE rts_token
              SET last_used_at = now(), last_used_from = %s, minute = date_trunc('minute', now()),
                  calls = CASE WHEN minute = date_trunc('minute', now()) THEN calls + 1 ELSE 1 END
            WHERE id = %s
        RETURNING calls, extract(epoch FROM minute + interval '1 minute' - now())""",
        [address, token.pk],
    )
    if calls <= token.calls_per_minute:
        return None
    message = f"The token has {token.calls_per_minute} calls in a minute."
    headers = {"Retry-After": str(max(1, ceil(left_s)))}
    return ServiceError(429, "too_many_calls", message, headers=headers)


def client_address(request: HttpRequest) -> str | None:
    """Return the address of the till, or None if it is not known.

    Only a proxy of ours may say for whom it calls. Of several addresses, the last one that is not
    such a proxy's counts: anybody can send the ones before.
    """
    sent = request.headers.get("X-Forwarded-For", "").split(",")
    addresses = [parse_address(text) for text in [*sent, request.META.get("REMOTE_ADDR", "")]]
    while len(addresses) > 1 and is_within(addresses[-1], settings.TRUSTED_PROXIES):
        addresses.pop()
    return addresses[-1]


def parse_address(text: str) -> str | None:
    try:
        address = ip_address(text.strip())
    except ValueError:
        return None
    return str(getattr(address, "ipv4_mapped", None) or address)


def is_within(address: str | None, networks: Sequence[str]) -> bool:
    parsed: IPv4Address | IPv6Address | None = ip_address(address) if address else None
    return parsed is not None and any(parsed in ip_network(network) for network in networks)
