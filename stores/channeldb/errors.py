"""What can be wrong with a channel's database, each as one sentence that names the channel.

Never a driver's text: it may quote a row, an address or a password.
"""

from collections.abc import Sequence

from stores.messages.message import Message


class ChannelError(Exception):
    """The channel's database cannot be used."""

    # What it says if its message is empty.
    code = "any_channel_unusable"

    def __init__(self, message: Message | None = None) -> None:
        self.message = message or Message(self.code)
        super().__init__(self.message)


class ChannelNotChosen(ChannelError):
    """No channel was chosen: open one with connect() and name its alias with using()."""

    code = "no_channel_chosen"


class ChannelMisconfigured(ChannelError):
    """The address of the channel's database is not one that Syncline accepts."""

    code = "any_channel_misconfigured"


class ChannelUnreachable(ChannelError):
    """The channel's database cannot be reached."""

    code = "any_channel_unreachable"


class ChannelBusy(ChannelUnreachable):
    """The channel's database is held by somebody else; a later try may succeed."""

    code = "any_channel_busy"


class ChannelUnmigrated(ChannelError):
    """The channel's database has no Syncline tables, or old ones."""

    code = "any_channel_unmigrated"


class ChannelDrifted(ChannelError):
    """The tables of the channel's database are not as Syncline made them."""

    code = "any_channel_drifted"

    def __init__(self, message: Message | None = None, differences: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.differences = list(differences)


class ChannelAlreadyOpen(ChannelError):
    """The channel is already open in this thread: pass its alias on instead of opening it again."""

    code = "any_channel_already_open"


class ChannelBlocked(ChannelError):
    """The channel's database is not visited until a person has closed its incident."""

    code = "any_channel_blocked"
