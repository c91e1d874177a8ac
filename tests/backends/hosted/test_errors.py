"""Vendors' errors mapped to ours."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import langchain_core.exceptions
import openai
import pytest
from langchain_core.messages import AIMessage

from taleward import chat_model
from taleward.backends.hosted.errors import BY_CLASS, map_vendor_error, retry_after
from taleward.core.errors import ContentFiltered, DeadlineExceeded, RateLimited, RequestRejected
from tests.helpers.hosted_models import caller_of


def vendor_error_classes() -> Iterator[type[BaseException]]:
    for module, base in (
        (openai, openai.OpenAIError),
        (langchain_core.exceptions, langchain_core.exceptions.ModelError),
    ):
        for _, error_class in inspect.getmembers(module, inspect.isclass):
            if issubclass(error_class, base) and not error_class.__name__.startswith("_"):
                yield error_class


def test_every_vendor_error_class_is_mapped() -> None:
    """Fails if a new version adds one: give it a line in `BY_CLASS`."""
    assert {error_class.__name__ for error_class in vendor_error_classes()} <= set(BY_CLASS)


def test_errors_of_other_clients_are_mapped_by_their_status() -> None:
    class Response:
        status_code, headers = 429, {"Retry-After": "7"}

    class ClientError(Exception):
        response = Response()

    mapped = map_vendor_error(ClientError("slow down, sk-abcdefghijkl"), "x:y")
    assert isinstance(mapped, RateLimited)
    assert mapped.retry_after_s == 7
    assert str(mapped) == "x:y is rate limited: slow down, [redacted]"
    Response.status_code = 422
    assert isinstance(map_vendor_error(ClientError("no"), "x:y"), RequestRejected)
    assert isinstance(map_vendor_error(TimeoutError(), "x:y"), DeadlineExceeded)
    assert map_vendor_error(TypeError("create() got an unexpected keyword argument 'colour'"), "x:y") is None


def test_all_forms_of_retry_after_are_parsed() -> None:
    assert retry_after({"retry-after": "2", "retry-after-ms": "1500"}) == 1.5
    assert retry_after({"retry-after": "2"}) == 2
    assert retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0
    assert retry_after({"retry-after": "later"}) is None


@pytest.mark.parametrize(
    "metadata",
    [
        {"finish_reason": "content_filter"},
        {"finish_reason": "SAFETY"},
        {"stop_reason": "refusal"},
        {"status": "incomplete", "incomplete_details": {"reason": "content_filter"}},
    ],
)
def test_an_answer_cut_off_by_the_vendors_filter_is_an_error(metadata: dict[str, Any]) -> None:
    caller = caller_of(chat_model("openai:any", base_url="http://127.0.0.1:9/v1"))
    with pytest.raises(ContentFiltered, match=r"openai:any was stopped by the vendor's content filter \("):
        caller.has_finished(metadata)
    for complete in ({"finish_reason": "stop"}, {"stop_reason": "end_turn"}, {"finish_reason": "length"}):
        assert caller.has_finished(complete)


def test_a_refusal_in_its_own_field_is_an_error() -> None:
    caller = caller_of(chat_model("openai:any", base_url="http://127.0.0.1:9/v1"))
    with pytest.raises(ContentFiltered, match="openai:any refused to answer: I cannot help"):
        caller.check_refusal(AIMessage("", additional_kwargs={"refusal": "I cannot help."}))
