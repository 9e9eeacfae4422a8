"""The Django app of the channel schema."""

from django.apps import AppConfig


class ChannelDbConfig(AppConfig):
    """Models here live in channel databases only; see the package's docstring."""

    name = "stores.channeldb"
    label = "channeldb"
    verbose_name = "Channel databases"
