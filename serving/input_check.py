"""Judge what a model is to read, before an answer begins, so that a request can be turned down with a status code."""

from __future__ import annotations

import asyncio
from typing import NoReturn

from taleward.core.verdict import Passage, Verdict
from taleward.moderation.chat.messages import REFUSAL_WORDS
from taleward.moderation.guard.release import has_answer, judge_until_answered
from taleward.moderation.guard.run import GuardRun
from taleward.moderation.guard.steps import JudgePassage, arun_steps
from taleward.moderation.judges import Judge
from taleward.serving.config import ServedModelConfig
from taleward.serving.errors import ApiError


async def check_request_text(
    config: ServedModelConfig, judge: Judge, text: str, *, chars: int, param: str
) -> Verdict | None:
    """Judge the new text of a request.

    Args:
        config: The model's settings.
        judge: The judge of the band.
        text: The text that is new in the request; earlier turns were judged when they were new.
        chars: Characters in all that the model is to read.
        param: The parameter that holds the text.

    Returns:
        The verdict; `None` if the model does not judge requests.

    Raises:
        ApiError: If the text is too long, did not pass, or was not judged.
    """
    if chars > config.max_input_chars:
        message = f"The request has {chars:,} characters; this model reads up to {config.max_input_chars:,}."
        raise ApiError(400, message, code="input_too_long", param=param)
    if not config.judge_inputs or not text.strip():
        return None
    run = GuardRun(judge, attempts=1, timeout_s=config.timeout_s, keep_drafts=False, recorders=())

    async def ask(step: JudgePassage) -> object:
        return await asyncio.wait_for(judge.ainvoke(step.passage), run.remaining_s())

    verdict, decision = await arun_steps(judge_until_answered(run, Passage(text=text), if_failed="input"), ask)
    if decision.released:
        return verdict
    if not has_answer(verdict):
        raise_judge_unavailable()
    details = {"taleward": {"outcome": verdict.outcome, "categories": list(verdict.categories), "band": verdict.band}}
    words = REFUSAL_WORDS["input" if verdict.outcome == "fail" else "unjudged"]
    raise ApiError(400, words, code="content_filter", param=param, details=details)


def raise_judge_unavailable(sent_chars: int = 0) -> NoReturn:
    """Raise the error for an answer that no judge read.

    Args:
        sent_chars: Characters of the answer that were sent already and are to be withdrawn.
    """
    details = {"taleward": {"retraction": {"start": 0, "end": sent_chars}}} if sent_chars else {}
    message = "The judge is not available, and nothing is released without its verdict. Please try again."
    raise ApiError(503, message, code="judge_unavailable", headers={"retry-after": "5"}, details=details)


def raise_timeout(sent_chars: int = 0) -> NoReturn:
    """Raise the error for an answer that was not finished and judged in time; `sent_chars` as above."""
    details = {"taleward": {"retraction": {"start": 0, "end": sent_chars}}} if sent_chars else {}
    message = "The answer was not finished and judged in time."
    # A client that tries again by itself would keep the model busy for another time limit.
    raise ApiError(504, message, code="timeout", headers={"x-should-retry": "false"}, details=details)
