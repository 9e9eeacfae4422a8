"""Signing in: after a session has ended, and by one-time links in the embedded demo."""

from collections.abc import Callable
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.contrib.auth.models import User
from django.contrib.auth.views import redirect_to_login
from django.core import signing
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils import timezone
from django.utils.crypto import constant_time_compare, salted_hmac

SALT = "stores.web.signin"
VALID_S = 300


class SignInRequired(LoginRequiredMiddleware):
    """Sends signed-out users to sign in, and then back; after a POST, to the page of its form."""

    def handle_no_permission(
        self, request: HttpRequest, view_func: Callable[..., HttpResponseBase]
    ) -> HttpResponseRedirect:
        if request.method in ("GET", "HEAD"):
            return super().handle_no_permission(request, view_func)
        return redirect_to_login(page_before(request))


def page_before(request: HttpRequest) -> str:
    try:
        page = urlsplit(request.headers.get("referer", ""))
    except ValueError:
        return "/"
    is_ours = page.netloc == request.get_host()
    return page._replace(scheme="", netloc="").geturl() if is_ours else "/"


class LinkRefused(Exception):
    """Sign-in links are for the embedded data directory only."""

    def __str__(self) -> str:
        return super().__str__() or self.__doc__ or ""


def require_embedded() -> None:
    """Refuse links where HQ is a real installation. Errors: LinkRefused."""
    if settings.PRODUCTION:
        raise LinkRefused("Sign-in links are refused in production (SYNCLINE_PRODUCTION).")
    if settings.DATABASES["default"]["HOST"] != str(settings.EMBEDDED.sockets):
        raise LinkRefused("Sign-in links work only with the embedded database, not DATABASE_URL.")


def sign_in_link(username: str) -> str:
    """The path of a link that signs a user in once. Errors: LinkRefused; User.DoesNotExist."""
    require_embedded()
    user = get_user_model().objects.get(username=username, is_active=True)
    token = signing.dumps([user.pk, login_fingerprint(user)], salt=SALT)
    return reverse("sign-in-link", args=[token])


def redeem(token: str) -> User | None:
    """Use up a link. Returns its user; None if the link is used, too old or forged.

    Effects: the user's last sign-in. Of two who use a link at once, one gets in.
    """
    try:
        require_embedded()
        pk, fingerprint = signing.loads(token, salt=SALT, max_age=VALID_S)
    except (LinkRefused, signing.BadSignature):
        return None
    user = get_user_model().objects.filter(pk=pk, is_active=True).first()
    if user is None or not constant_time_compare(login_fingerprint(user), fingerprint):
        return None
    unused = get_user_model().objects.filter(pk=user.pk, last_login=user.last_login)
    return user if unused.update(last_login=timezone.now()) else None


def login_fingerprint(user: User) -> str:
    """A digest that any sign-in or new password changes: links made before no longer work."""
    moment = user.last_login.isoformat() if user.last_login else "never"
    return salted_hmac(SALT, f"{moment} {user.password}", algorithm="sha256").hexdigest()
