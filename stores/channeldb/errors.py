"""What can be wrong with a channel's database, each as one sentence that names the channel.

Never a driver's text: it may quote a row, an address or a password.
"""

from collections.abc import Sequence


class ChannelError(Exception):
    """The channel's database cannot be used."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or (self.__doc__ or "").partition("\n")[0])


class ChannelNotChosen(ChannelError):
    """No channel was chosen: open one with connect() and name its alias with using()."""


class ChannelMisconfigured(ChannelError):
    """The address of the channel's database is not one that Syncline accepts."""


class ChannelUnreachable(ChannelError):
    """The channel's database cannot be reached."""


class ChannelBusy(ChannelUnreachable):
    """The channel's database is held by somebody else; a later try may succeed."""


class ChannelUnmigrated(ChannelError):
    """The channel's database has no Syncline tables, or old ones."""


class ChannelDrifted(ChannelError):
    """The tables of the channel's database are not as Syncline made them."""

    def __init__(self, message: str = "", differences: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.differences = list(differences)


class ChannelAlreadyOpen(ChannelError):
    """The channel is already open in this thread: pass its alias on instead of opening it again."""


class ChannelBlocked(ChannelError):
    """The channel's database is not visited until a person has closed its incident."""
