"""The errors of the whole house.

    TalewardError                 every error that Taleward raises on purpose
    ├── ConfigurationError        what was asked for cannot be set up here
    │   ├── UnknownName           a provider, model, judge, policy, band or template that does not exist
    │   ├── MissingExtra          an optional library is not installed
    │   └── MissingKey            a hosted model without its key
    ├── InvalidInputs             template values that are missing, unknown, empty, too long or not text
    ├── InvalidFile               a policy or template file that does not hold what it must
    ├── IntegrityError            weights that are not the ones they should be
    ├── BackendError              a model could not be reached or did not answer
    │   ├── RateLimited           the server takes no more requests for now
    │   ├── DeadlineExceeded      no answer in time
    │   ├── RequestRejected       the server did not take the request as it is
    │   ├── ContextTooLong        the prompt is longer than the model reads
    │   └── ContentFiltered       the vendor's own filter cut the answer off
    └── Refused                   the text of a tale that was not released was asked for

Each carries `retryable` (would the same call have a chance later?) and `hint`, the next step for the reader.
A traceback shows the hint as a note; `str(error)` is the message alone.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class TalewardError(Exception):
    """An error raised on purpose.

    Args:
        message: What happened, with the value that came and the values that are taken.
        hint: The next step.
        retryable: Whether the same call may succeed later without a change. Defaults to the class's value.
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
    """What was asked for cannot be set up here."""


class UnknownName(ConfigurationError):
    """A name that does not exist; the message lists those that do and guesses which was meant.

    Args:
        kind: What the name should have named, for example `"policy"`.
        name: The name that came.
        known: The names that are taken; `None` where they cannot be listed.
        hint: The next step, where there is one beside picking a known name.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str] | None, *, hint: str | None = None) -> None:
        names = sorted(known or ())
        close = difflib.get_close_matches(name, names, n=1)
        guess = f" Did you mean {close[0]!r}?" if close else ""
        listed = "" if known is None else f" Known: {', '.join(repr(n) for n in names) or 'none'}."
        super().__init__(f"unknown {kind} {name!r}.{guess}{listed}", hint=hint)


class MissingExtra(ConfigurationError):
    """An optional library is not installed.

    Args:
        what: What needs it, as a noun phrase.
        extra: The extra of the `taleward` distribution that brings it.
        then: What else pip must be told to install, where the extra does not bring all.
    """

    def __init__(self, what: str, extra: str, *, then: str | None = None) -> None:
        command = f"pip install 'taleward[{extra}]'" + (f" && pip install {then}" if then else "")
        super().__init__(f"{what} needs libraries that are not installed here.", hint=f"Type: {command}")


class MissingKey(ConfigurationError):
    """A hosted model was asked for without its key in the environment."""


class InvalidInputs(TalewardError):
    """Template values that cannot be used.

    Args:
        template: The template's name; `None` if the input is not for a template.
        problems: One sentence for each value that is wrong; all of them, not the first alone.
        hint: The next step.
    """

    def __init__(self, template: str | None, problems: Iterable[str], *, hint: str | None = None) -> None:
        self.problems = tuple(problems)
        lines = "".join(f"\n  - {p}" for p in self.problems)
        subject = "the input" if template is None else f"the values for template {template!r}"
        super().__init__(f"{subject} cannot be used:{lines}", hint=hint)


class InvalidFile(TalewardError):
    """A policy or template file that does not hold what it must."""


class IntegrityError(TalewardError):
    """Weights on disk that are not the ones they should be."""


class BackendError(TalewardError):
    """A model could not be reached, or did not answer as it must."""


class RateLimited(BackendError):
    """The server takes no more requests for now, and went on saying so.

    Args:
        message: What happened.
        retry_after_s: Seconds after which it wants to be asked again; `None` where it did not say.
        hint: The next step.
    """

    retryable = True

    def __init__(self, message: str, *, retry_after_s: float | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


class DeadlineExceeded(BackendError):
    """No answer in time."""

    retryable = True


class RequestRejected(BackendError):
    """The server did not take the request as it is; asking again, or another model, does not help."""


class ContextTooLong(BackendError):
    """The prompt is longer than what the model reads."""


class ContentFiltered(BackendError):
    """The vendor's own filter kept an answer back, or cut it off."""


class Refused(TalewardError):
    """The text of a tale that was not released was asked for."""
