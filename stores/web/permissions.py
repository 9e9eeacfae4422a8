"""Permissions of views; a refusal says in a sentence who has the permission."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.core.exceptions import PermissionDenied

from stores.roles import who_may
from stores.web.request import Request

View = Callable[..., Any]


def require_permission(permission: str, sentence: str) -> Callable[[View], View]:
    """Let only users with a permission in; others read the sentence on the 403 page."""

    def decorate(view: View) -> View:
        @wraps(view)
        def checked_view(request: Request, *args: Any, **kwargs: Any) -> Any:
            check_permissions(request, sentence, permission)
            return view(request, *args, **kwargs)

        return checked_view

    return decorate


def check_permissions(request: Request, sentence: str, *permissions: str) -> None:
    """Refuse users without all of the permissions. Errors: PermissionDenied with the sentence."""
    if not request.user.has_perms(permissions):
        raise PermissionDenied(f"{sentence} {who_may(*permissions)}")
