"""The HTML that notebooks show for a guard: who writes, who judges, by which rules and within which limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from taleward.core.html_tables import Html, notebook_box, notebook_table, tooltip_html

if TYPE_CHECKING:
    from taleward.moderation.guard.guard import Guard


def guard_html(guard: Guard, writer_name: str) -> Html:
    """Format a guard's settings; of a writer its name, and its `display_settings` if it has any.

    Other attributes of a writer are not shown: they may hold keys.

    Args:
        guard: The guard.
        writer_name: The writer's name.
    """
    judge, policy = guard.judge, guard.judge.rules
    settings = getattr(guard.writer, "display_settings", {})
    listed = "".join(f"\n{name}: {value}" for name, value in settings.items()) if isinstance(settings, Mapping) else ""
    band = policy.band(judge.band)
    fitted = "" if judge.calibration is None else "\nwith fitted thresholds"
    rows = [
        ["writer", f"{writer_name}{listed}"],
        ["judge", f"{judge.spec} ({type(judge).__name__}){fitted}"],
        ["policy", tooltip_html(policy.id, policy.description)],
        ["band", f"{judge.band} (ages {band.ages[0]} to {band.ages[1]})"],
        ["attempts", f"up to {guard.attempts}"],
        ["time limit", "none" if guard.timeout_s is None else f"{guard.timeout_s:g} s"],
        ["characters at most", f"{guard.max_input_chars:,} of input, {guard.max_draft_chars:,} of a draft"],
        ["input", _input_checks(guard)],
        ["drafts", "kept in the tale" if guard.keep_drafts else "dropped"],
        ["recorders", ", ".join(type(recorder).__name__ for recorder in guard.recorders) or "none"],
    ]
    return notebook_box(type(guard).__name__, notebook_table([], rows))


def _input_checks(guard: Guard) -> str:
    judged = "judged before any model is called" if guard.judge_inputs else "not judged"
    return f"{judged}; personal data is masked" if guard.mask_personal_data else judged
