"""The Django app of the channel schema."""

from django.apps import AppConfig


class ChannelDbConfig(AppConfig):
    name = "stores.channeldb"
    label = "channeldb"
    verbose_name = "Channel databases"
