"""The pages that add a channel or a register's database, and change the address of one.

They open the database while the request waits: an administrator wants to know at once whether it
can be reached. One person at a time does so, and all that is opened has time limits. See ADR 0020.
"""

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_http_methods

from stores.channeldb.errors import ChannelError
from stores.models import Channel, ChannelDatabase
from stores.pipeline.register import (
    IsACopy,
    RegistrationRefused,
    add_register,
    change_address,
    check_connection,
    new_database,
    one_test_at_a_time,
    register_channel,
    stored_address,
)
from stores.web.forms.channel import (
    AddressForm,
    ChangeAddressForm,
    ChannelForm,
    RegisterForm,
    groups,
    initial_address,
)
from stores.web.permissions import require_permission
from stores.web.request import Request

may_add_channels = require_permission("stores.add_channel", "add channels")
may_add_databases = require_permission("stores.add_channeldatabase", "add databases")
may_change_addresses = require_permission("stores.change_channeldatabase", "change addresses")


@require_http_methods(["GET", "HEAD", "POST"])
@sensitive_post_parameters("password")
@may_add_channels
def add_channel(request: Request) -> HttpResponse:
    """The form of a new channel; a POST tests the connection, or adds the channel."""
    form = ChannelForm(request.POST or None)

    def add() -> Channel:
        values = form.cleaned_data
        url, secret = form.address["url"], form.address["secret"]
        database = register_channel(
            code=values["code"],
            name=values["name"],
            kind=values["kind"],
            company=values["company"].code,
            profile=values["profile"] and values["profile"].code,
            default_customer=values["default_customer"] or None,
            country=values["country"],
            time_zone=values["time_zone"],
            group=values["group"],
            database=url,
            secret=secret,
            till_role=values["till_role"],
            renew_identity=values["renew_identity"],
        )
        messages.success(
            request,
            f"Channel {database.label} is added. The next pipeline run sends it the customers of"
            f" {values['company']}.",
        )
        return database.channel

    def candidate() -> ChannelDatabase:
        return new_database(form.cleaned_data["code"], "", **form.address)

    context = {"words": "Add channel", "groups": groups()}
    return answer(request, form, candidate, add, "channels/add.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@sensitive_post_parameters("password")
@may_add_databases
def add_database(request: Request, code: str) -> HttpResponse:
    """The form of an offline register's database; a POST tests the connection, or adds it."""
    channel = get_object_or_404(Channel, code=code)
    form = RegisterForm(channel, request.POST or None)

    def add() -> Channel:
        values = form.cleaned_data
        database = add_register(
            code=channel.code,
            register=values["register"],
            group=values["group"],
            database=form.address["url"],
            secret=form.address["secret"],
            till_role=values["till_role"],
            renew_identity=values["renew_identity"],
        )
        messages.success(request, f"The database {database.label} is added.")
        return channel

    def candidate() -> ChannelDatabase:
        return new_database(channel.code, form.cleaned_data["register"], **form.address)

    context = {"channel": channel, "words": "Add database", "groups": groups()}
    return answer(request, form, candidate, add, "channels/add_database.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@sensitive_post_parameters("password")
@may_change_addresses
def change_database(request: Request, code: str, pk: int) -> HttpResponse:
    """The form of another address of a database; a POST tests the connection, or saves it."""
    databases = ChannelDatabase.objects.with_channel()
    database = get_object_or_404(databases, pk=pk, channel__code=code)
    form = ChangeAddressForm(request.POST or None, initial=initial_address(database))

    def change() -> Channel:
        change_address(database, **form.address)
        messages.success(request, f"{database.label} is visited at its new address from now on.")
        return database.channel

    def candidate() -> ChannelDatabase:
        database.url, database.secret = stored_address(
            database.channel, database.name, **form.address
        )
        return database

    context = {
        "channel": database.channel,
        "database": database,
        "present": database.address,
        "words": "Save address",
    }
    return answer(request, form, candidate, change, "channels/change_address.html", context)


@sensitive_variables("form")
def answer(
    request: Request,
    form: AddressForm,
    candidate: Callable[[], ChannelDatabase],
    save: Callable[[], Channel],
    template: str,
    context: dict[str, Any],
) -> HttpResponse:
    """Test the connection or save, as the form asks; for htmx only the result of the test."""
    is_test = request.POST.get("action") == "test"
    test = None
    if request.method == "POST" and form.is_valid():
        try:
            with one_test_at_a_time():
                if is_test:
                    renews = form.cleaned_data.get("renew_identity", False)
                    test = check_connection(candidate(), renew_identity=renews)
                else:
                    return redirect(save())
        except IsACopy as error:
            form.add_error(None, str(error.message))
            context["is_copy"] = True
        except RegistrationRefused as error:
            form.add_refusal(error)
        except ChannelError as error:
            form.add_error(None, str(error))
    if test and test.is_copy:
        context["is_copy"] = True
    context |= {"form": form, "test": test, "is_test": is_test}
    if request.htmx:
        return render(request, "channels/_connection.html", context)
    return render(request, template, context)
