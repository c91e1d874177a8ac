"""Exception hierarchy.

    TalewardError                 base class of every error that Taleward raises on purpose
    ├── ConfigurationError        the options cannot be used, or not in this environment
    │   ├── UnknownName           no such provider, model, judge, policy, band or template
    │   ├── MissingExtra          an optional library is not installed
    │   └── MissingKey            a hosted model has no API key
    ├── InvalidInputs             template values are missing, unknown, empty, too long or not text
    ├── InvalidFile               a file cannot be read or has the wrong content
    ├── IntegrityError            weights, a cache or a store on disk are damaged or not the expected ones
    ├── NotErased                 something was deleted, but a file still contains it
    ├── BackendError              a model or server failed or returned something unusable
    │   ├── RateLimited           the server keeps rejecting requests as too many
    │   ├── DeadlineExceeded      no answer in time
    │   ├── RequestRejected       the server rejected the request itself
    │   ├── ContextTooLong        the prompt exceeds the model's context window
    │   └── ContentFiltered       the vendor's own filter withheld or cut off the answer
    │       └── PictureBlocked    an image model's own filter withheld the picture
    └── Refused                   the text of a tale that was not released was read

Every error has `retryable` (whether the same call may succeed later) and `hint` (what to do next). Tracebacks show the
hint as a note; `str(error)` is the message alone.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class TalewardError(Exception):
    """Base class of the errors that Taleward raises on purpose; never raised itself.

    Args:
        message: What happened, with the value received and the values accepted.
        hint: What to do next.
        retryable: Whether the same call may succeed later without a change. Defaults to the class's value.

    Attributes:
        hint: What to do next, or `None`.
        retryable: Whether the same call may succeed later without a change.
    """

    retryable: bool = False

    def __init__(self, message: str, *, hint: str | None = None, retryable: bool | None = None) -> None:
        super().__init__(message)
        self.hint = hint
        if retryable is not None:
            self.retryable = retryable
        if hint:
            self.add_note(hint)


class ConfigurationError(TalewardError):
    """Raised when options, arguments or the environment do not allow what you asked for."""


class UnknownName(ConfigurationError):
    """Raised for a name that does not exist; the message lists the known names and suggests the closest.

    Args:
        kind: What the name stands for, for example `"policy"`.
        name: The name received.
        known: The accepted names; `None` if they cannot be listed.
        hint: What to do next, if there is more to it than choosing a known name.

    Attributes:
        kind: What the name stands for.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str] | None, *, hint: str | None = None) -> None:
        names = sorted(known or ())
        close = difflib.get_close_matches(name, names, n=1)
        suggestion = f" Did you mean {close[0]!r}?" if close else ""
        listing = "" if known is None else f" Known: {', '.join(repr(n) for n in names) or 'none'}."
        super().__init__(f"unknown {kind} {name!r}.{suggestion}{listing}", hint=hint)
        self.kind = kind


class MissingExtra(ConfigurationError):
    """Raised when a feature needs an optional library that is not installed; the hint is the `pip install` command.

    Args:
        what: The feature, as a noun phrase.
        extra: The extra of the `taleward` distribution that installs the library.
        then: Arguments of a second `pip install`, if the extra does not cover everything.
    """

    def __init__(self, what: str, extra: str, *, then: str | None = None) -> None:
        command = f"pip install 'taleward[{extra}]'" + (f" && pip install {then}" if then else "")
        super().__init__(f"{what} needs libraries that are not installed.", hint=f"Run: {command}")


class MissingKey(ConfigurationError):
    """Raised when a hosted model is created and its API key is not in the environment."""


class InvalidInputs(TalewardError):
    """Raised when a template cannot be filled with the given values, or a chain cannot take its input.

    Args:
        template: The template's name; `None` if the input is not for a template.
        problems: One sentence for every wrong value.
        hint: What to do next.

    Attributes:
        problems: One sentence for every wrong value.
    """

    def __init__(self, template: str | None, problems: Iterable[str], *, hint: str | None = None) -> None:
        self.problems = tuple(problems)
        lines = "".join(f"\n  - {p}" for p in self.problems)
        subject = "the input" if template is None else f"the values for template {template!r}"
        super().__init__(f"{subject} cannot be used:{lines}", hint=hint)


class InvalidFile(TalewardError):
    """Raised when a policy, template, data or other input file cannot be read or has the wrong content."""


class IntegrityError(TalewardError):
    """Raised when a checksum does not match, or when a cache or store on disk is damaged or another program's."""


class NotErased(TalewardError):
    """Raised when something was deleted, but its bytes are still in a file; the message says in which one, and why."""

    retryable = True


class BackendError(TalewardError):
    """Raised when a model or a server cannot be reached, fails, or returns something that cannot be used."""


class RateLimited(BackendError):
    """Raised when the server keeps rejecting requests as too many after all retries.

    Args:
        message: What happened.
        retry_after_s: Seconds after which the server accepts another request; `None` if it did not say.
        hint: What to do next.

    Attributes:
        retry_after_s: Seconds after which the server accepts another request; `None` if it did not say.
    """

    retryable = True

    def __init__(self, message: str, *, retry_after_s: float | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


class DeadlineExceeded(BackendError):
    """Raised when a model does not answer in time."""

    retryable = True


class RequestRejected(BackendError):
    """Raised when the server rejects the request itself; neither retrying nor another model helps."""


class ContextTooLong(BackendError):
    """Raised when the prompt exceeds the model's context window."""


class ContentFiltered(BackendError):
    """Raised when the vendor's own filter withholds an answer or cuts it off."""


class PictureBlocked(ContentFiltered):
    """Raised when an image model's own filter withholds the picture, or rejects the prompt.

    Args:
        message: What happened.
        stage: Whether the prompt (`input`) or the picture (`output`) was blocked; `None` if the model did not say.
        categories: What the filter found.
        hint: What to do next.

    Attributes:
        stage: Whether the prompt or the picture was blocked.
        categories: What the filter found.
    """

    def __init__(
        self,
        message: str,
        *,
        stage: str | None = None,
        categories: Iterable[str] = (),
        hint: str | None = "Soften the prompt: filters also react to harmless words.",
    ) -> None:
        super().__init__(message, hint=hint)
        self.stage, self.categories = stage, tuple(categories)


class Refused(TalewardError):
    """Raised when you read the text of a tale that was not released."""
