"""How a guard tells its writer what was wrong with the last draft.

The message travels in the run's config, so that it reaches the writer through any pipe of Runnables, and a writer that
does not look for it simply writes anew.
"""

from __future__ import annotations

from langchain_core.runnables import RunnableConfig

from taleward.core.frozen_model import FrozenModel
from taleward.core.verdict import Finding

_KEY = "taleward_revision"


class Revision(FrozenModel):
    """What the writer should know of earlier drafts.

    Attributes:
        attempt: Number of the attempt that is to be written now; 1 for the first.
        findings: What the judge found in the last draft.
        released: The beginning that is told already; the writer gives what comes behind it, and no word of it again.
        closing: Whether it is to bring the text to its end now, in a sentence or two.
    """

    attempt: int
    findings: tuple[Finding, ...] = ()
    released: str = ""
    closing: bool = False


def with_revision(config: RunnableConfig, revision: Revision) -> RunnableConfig:
    """The config with the message in it."""
    return {**config, "configurable": {**(config.get("configurable") or {}), _KEY: revision}}


def revision_of(config: RunnableConfig) -> Revision | None:
    """The message in a config, `None` where no guard is at work."""
    found = (config.get("configurable") or {}).get(_KEY)
    return found if isinstance(found, Revision) else None
