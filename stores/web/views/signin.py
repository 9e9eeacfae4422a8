"""The pages to sign in, with a password or a one-time link, and to sign out."""

from typing import Any

from django.contrib.auth import login, logout
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import LoginView
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST
from django_htmx.http import HttpResponseClientRedirect

from stores.web.request import Request
from stores.web.signin import redeem

BACKEND = "django.contrib.auth.backends.ModelBackend"


class SignIn(LoginView):
    template_name = "signin/form.html"
    redirect_authenticated_user = True

    @method_decorator(login_not_required)
    def dispatch(self, request: Request, *args: Any, **options: Any) -> Any:  # type: ignore[override]
        # A part of a page that htmx refreshes after the session has ended is no place for a form.
        if request.htmx:
            return HttpResponseClientRedirect(reverse("sign-in"))
        return super().dispatch(request, *args, **options)


@login_not_required
@never_cache
@require_GET
def sign_in_by_link(request: Request, token: str) -> HttpResponse:
    """Sign in the user of a one-time link. HEAD is refused, so that previews do not use it up."""
    user = redeem(token)
    if user is None:
        return render(request, "signin/dead_link.html", status=410)
    login(request, user, backend=BACKEND)
    return redirect("home")


@require_POST
def sign_out(request: Request) -> HttpResponseRedirect:
    logout(request)
    return redirect("sign-in")
