"""What a guard passes to its writer about earlier drafts.

A `Revision` travels in the run's config. So it reaches the writer through any pipe of Runnables, and a writer that
ignores it writes a new draft from scratch.
"""

from __future__ import annotations

from langchain_core.runnables import RunnableConfig

from taleward.core.frozen_model import FrozenModel
from taleward.core.verdict import Finding

_KEY = "taleward_revision"


class Revision(FrozenModel):
    """The state of the tale when a draft is requested.

    Attributes:
        attempt: Number of the draft to write, from 1.
        findings: The judge's findings on the previous draft.
        released: Text that has already been released; the writer returns only what comes after it.
        closing: Whether to bring the text to its end in a sentence or two.
    """

    attempt: int
    findings: tuple[Finding, ...] = ()
    released: str = ""
    closing: bool = False


def with_revision(config: RunnableConfig, revision: Revision) -> RunnableConfig:
    """Return the config with a revision in it."""
    return {**config, "configurable": {**(config.get("configurable") or {}), _KEY: revision}}


def revision_of(config: RunnableConfig) -> Revision | None:
    """Return the revision in a config; `None` if the run does not belong to a guard."""
    revision = (config.get("configurable") or {}).get(_KEY)
    return revision if isinstance(revision, Revision) else None
