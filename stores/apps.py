"""The app, and what it checks at start."""

from importlib.util import find_spec
from typing import Any

from django.apps import AppConfig
from django.contrib import admin
from django.contrib.admin.checks import check_admin_app
from django.core.checks import CheckMessage, Error, Tags, register


class StoresConfig(AppConfig):
    name = "stores"
    verbose_name = "Syncline"

    def ready(self) -> None:
        register(check_driver, self.name)
        register(check_settings_pages, Tags.admin)


def check_driver(**kwargs: Any) -> list[CheckMessage]:
    """Django takes psycopg 3 silently when both drivers are there, and COPY would break."""
    if find_spec("psycopg") is None:
        return []
    return [
        Error("psycopg 3 is installed.", hint="Remove it: pip uninstall psycopg", id="stores.E001")
    ]


def check_settings_pages(*, app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Django's check of the admin, also if no URL was looked up before."""
    admin.autodiscover()
    return check_admin_app(app_configs)
