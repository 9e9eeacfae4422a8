"""Permissions of views; a refusal says in a sentence who has the permission."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.core.exceptions import PermissionDenied

from stores.messages.message import Message
from stores.models.error_cause import tells_cause
from stores.roles import who_may
from stores.web.request import Request

View = Callable[..., Any]
# Whoever runs jobs, and whoever sets up channels.
SEE_ERRORS = ("stores.run_job", "stores.view_channeldatabase")
# What others read instead.
CAUSE_HIDDEN = "The visit failed. Operators and administrators see why."


def require_permission(permission: str, action: str) -> Callable[[View], View]:
    """Let only users with a permission in; others read on the 403 page what they may not do."""

    def decorate(view: View) -> View:
        @wraps(view)
        def checked_view(request: Request, *args: Any, **kwargs: Any) -> Any:
            check_permissions(request, action, permission)
            return view(request, *args, **kwargs)

        return checked_view

    return decorate


def sees_errors(user: Any) -> bool:
    """Whether a user may see why a channel is in trouble: those who can do something about it."""
    return any(user.has_perm(permission) for permission in SEE_ERRORS)


def message_for(message: Any, user: Any) -> str:
    """A message as a user may read it: not why a channel is in trouble, except as sees_errors()."""
    if not isinstance(message, Message) or sees_errors(user):
        return str(message or "")
    shown = [
        CAUSE_HIDDEN if tells_cause(sentence) else str(sentence) for sentence in message.sentences
    ]
    return " ".join(dict.fromkeys(shown))


def check_permissions(request: Request, action: str, *permissions: str) -> None:
    """Refuse users without all of the permissions. Errors: PermissionDenied with the reason."""
    if not request.user.has_perms(permissions):
        raise PermissionDenied(refusal(action, *permissions))


def refusal(action: str, *permissions: str) -> str:
    """The sentences that tell users without the permissions who has them."""
    return f"You do not have permission to {action}. {who_may(*permissions)}"
