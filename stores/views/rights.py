"""Rights that a page asks for, refused in a sentence."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.core.exceptions import PermissionDenied

from stores.views import Request

View = Callable[..., Any]


def needs(permission: str, sentence: str) -> Callable[[View], View]:
    """Let only users with a permission in; others read the sentence on the 403 page."""

    def guarded(view: View) -> View:
        @wraps(view)
        def answer(request: Request, *args: Any, **kwargs: Any) -> Any:
            if not request.user.has_perm(permission):
                raise PermissionDenied(sentence)
            return view(request, *args, **kwargs)

        return answer

    return guarded
