"""The tokens with which a channel's tills call the real-time service."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from stores.models import Channel
from stores.rts.tokens import TokenRefused, make_token, revoke_token
from stores.web.forms.token import TokenForm
from stores.web.permissions import require_permission
from stores.web.request import Request

may_manage_tokens = require_permission("stores.manage_token", "manage tokens")


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@may_manage_tokens
def tokens(request: Request, code: str) -> HttpResponse:
    """The tokens of a channel; a POST makes one, and shows it once, or revokes one."""
    channel = get_object_or_404(Channel, code=code)
    if "revoke" in request.POST:
        return revoke(request, channel)
    form = TokenForm(request.POST if request.method == "POST" else None)
    secret = ""
    if form.is_valid():
        # Not after a redirect: the session would keep the secret in the database.
        _, secret = make_token(channel, by=request.user, **form.cleaned_data)
        form = TokenForm()
    context = {
        "channel": channel,
        "tokens": channel.rts_tokens.with_people().newest_first(),
        "form": form,
        "secret": secret,
    }
    return render(request, "channels/tokens.html", context)


def revoke(request: Request, channel: Channel) -> HttpResponse:
    token = get_object_or_404(channel.rts_tokens, pk=request.POST["revoke"])
    try:
        revoke_token(token, by=request.user)
    except TokenRefused as refusal:
        messages.error(request, str(refusal))
    else:
        messages.success(request, f"Token {token.pk} is revoked: its next call is refused.")
    return redirect("tokens", channel.code)
