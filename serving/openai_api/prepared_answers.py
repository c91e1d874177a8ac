"""From a request to its answers: read and judge what was asked, and start a story or a conversation per choice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from taleward.core.verdict import Verdict
from taleward.moderation.judges import Judge
from taleward.serving.config import RefusalForm, ReleaseMode
from taleward.serving.input_check import check_request_text
from taleward.serving.openai_api.answers import AnswerParts, converse, hold_until_judged, tell_streamed, tell_whole
from taleward.serving.openai_api.chat_request import (
    ChatCompletionRequest,
    bound_chat,
    call_options,
    check_supported,
    conversation_options,
    seed_of,
)
from taleward.serving.openai_api.messages import WireMessage, last_user_text, new_text, read_messages, to_langchain
from taleward.serving.served_models import ServedModel, prepare_story_input


@dataclass(frozen=True, slots=True)
class PreparedAnswers:
    """What is ready to be answered.

    Attributes:
        judge: The judge of the answers.
        input_verdict: The verdict on the request; `None` if it was not judged.
        ignored_messages: Messages that the model does not read.
        refusal_as: Where the words of a refusal are.
        start: Starts the answer of a choice; nothing is written before its first part is asked for.
    """

    judge: Judge
    input_verdict: Verdict | None
    ignored_messages: int
    refusal_as: RefusalForm
    start: Callable[[int], AnswerParts]


async def prepare_answers(
    model: ServedModel, body: ChatCompletionRequest, *, stream: bool, param: str = "messages"
) -> PreparedAnswers:
    """Check a request, judge what is new in it, and get its answers ready.

    Args:
        model: The served model.
        body: The request.
        stream: Whether the answers are streamed.
        param: The parameter that holds the conversation.

    Raises:
        ApiError: If the request cannot be honoured, or is turned down by the judge.
        TalewardError: If it is invalid.
    """
    check_supported(body, model)
    judge, config = model.judge(body.band), model.config
    messages = read_messages(body.messages, mask_personal_data=config.mask_personal_data, param=param)
    mode = (body.release or config.release) if stream else "whole"
    if model.tells_stories:
        text = last_user_text(messages)
        verdict = await check_request_text(config, judge, text, chars=len(text), param=param)
        start = await _start_story(model, body, text, stream=stream, mode=mode)
    else:
        start = _start_conversation(model, body, messages, mode, param)
        chars = sum(len(message.text) for message in messages)
        verdict = await check_request_text(config, judge, new_text(messages), chars=chars, param=param)
    ignored = len(messages) - 1 if model.tells_stories else 0
    return PreparedAnswers(judge, verdict, ignored, body.refusal_as or config.refusal_as, start)


async def _start_story(
    model: ServedModel, body: ChatCompletionRequest, text: str, *, stream: bool, mode: ReleaseMode
) -> Callable[[int], AnswerParts]:
    story_input = await prepare_story_input(model, text)
    tell = tell_streamed if stream else tell_whole

    def start(index: int) -> AnswerParts:
        guard = model.story_guard(
            band=body.band,
            seed=seed_of(body, index),
            streaming=mode == "sentences",
            input_checked=True,
            call_options=call_options(body),
        )
        return hold_until_judged(tell(guard, story_input, body.token_limit), mode)

    return start


def _start_conversation(
    model: ServedModel, body: ChatCompletionRequest, messages: list[WireMessage], mode: ReleaseMode, param: str
) -> Callable[[int], AnswerParts]:
    conversation = to_langchain(messages, model.config.system_prompt, param)
    chat = bound_chat(model, body)

    def start(index: int) -> AnswerParts:
        return hold_until_judged(converse(chat, conversation, conversation_options(body, index)), mode)

    return start
