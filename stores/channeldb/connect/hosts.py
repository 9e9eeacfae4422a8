"""Which machines HQ connects to for a channel, whatever name or spelling leads to them.

Whoever may write a channel's address could otherwise make HQ talk to its own network: to a service
of this machine, or to the cloud's metadata. Addresses of the public internet are fine; any other
must be allowed by the setting CHANNEL_HOSTS. What was checked is what is connected to: the address
goes to the driver beside the name, which is not looked up a second time.

How long the system's resolver may wait for name servers that do not answer is up to the system. By
glibc it is the two seconds for each server that settings.py sets in RES_OPTIONS, twice if there are
domains to search. Other resolvers have limits of their own, of up to two minutes. The heartbeat
renews a worker's leases meanwhile.
"""

import socket
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

from django.conf import settings

from stores.channeldb.connect.url import Database, refusal
from stores.channeldb.errors import ChannelUnreachable
from stores.messages.message import Message

IPAddress = IPv4Address | IPv6Address

# Clouds answer questions about the machine here. One of them must be allowed by itself, not as part
# of a network.
METADATA = frozenset(
    map(ip_address, ("169.254.169.254", "100.100.100.200", "168.63.129.16", "fd00:ec2::254"))
)
NAT64 = ip_network("64:ff9b::/96")


def resolve_and_pin(database: Database, conf: dict[str, Any]) -> dict[str, Any]:
    """The connection settings with the one address that was checked; files and sockets have none.

    Errors: ChannelMisconfigured for an address that is not allowed, ChannelUnreachable for a name
    that leads nowhere.
    """
    host = conf.get("HOST", "")
    if not host or host.startswith("/"):
        return conf
    addresses = addresses_of(host)
    if not addresses:
        raise ChannelUnreachable(Message("channel_name_unknown", channel=database.label))
    # All of them: which one answers first must not decide.
    if not all(is_allowed(address, host) for address in addresses):
        raise refusal(database, Message("host_not_allowed"))
    return conf | {"OPTIONS": conf["OPTIONS"] | {"hostaddr": str(addresses[0])}}


def addresses_of(host: str) -> list[IPAddress]:
    """What a name or any spelling of an address leads to; nothing if nobody knows it."""
    try:
        return [unmapped(ip_address(host))]
    except ValueError:
        return [unmapped(ip_address(answer[4][0])) for answer in resolve(host)]


def resolve(host: str) -> list[Any]:
    """Ask the system's resolver; a name it does not know has no answers."""
    try:
        return socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []


def unmapped(address: IPAddress) -> IPAddress:
    """The IPv4 address that an IPv6 one merely writes differently."""
    return getattr(address, "ipv4_mapped", None) or address


def is_allowed(address: IPAddress, host: str) -> bool:
    """Whether HQ may connect there: a public address, or one that the setting allows."""
    return is_public(address) or any(
        matches_entry(word, address, host) for word in settings.CHANNEL_HOSTS
    )


def matches_entry(word: str, address: IPAddress, host: str) -> bool:
    """Whether an entry of the setting (a name, an address or a network) allows the address."""
    try:
        network = ip_network(word)
    except ValueError:
        return word.lower() == host.lower()
    return address in network and (address not in METADATA or network.num_addresses == 1)


def is_public(address: IPAddress) -> bool:
    """Whether the address, and any IPv4 address within it, is one of the public internet."""
    return (
        address.is_global
        and not address.is_multicast
        and address not in METADATA
        and all(map(is_public, translated_ipv4(address)))
    )


def translated_ipv4(address: IPAddress) -> Iterator[IPv4Address]:
    """The IPv4 addresses to which a gateway would translate an IPv6 one."""
    if isinstance(address, IPv6Address):
        if address in NAT64:
            yield IPv4Address(int(address) & 0xFFFFFFFF)
        if address.sixtofour:
            yield address.sixtofour
        if address.teredo:
            yield address.teredo[1]
