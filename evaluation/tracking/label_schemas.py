"""The questions of people's feedback as MLflow label schemas, which MLflow's form shows to reviewers."""

from __future__ import annotations

import logging
from typing import Any

from taleward.core.redaction import format_error
from taleward.moderation.policies.load import load_policy

_log = logging.getLogger(__name__)

_MAX_SCHEMAS = 100


def ensure_label_schemas(tracking_uri: str, experiment_id: str) -> None:
    """Create the questions of `Feedback` that an experiment does not have yet; those it has stay as they are.

    Args:
        tracking_uri: The MLflow tracking URI.
        experiment_id: The id of the MLflow experiment.
    """
    from mlflow.tracing.client import TracingClient

    store = TracingClient(tracking_uri).store
    try:
        existing = {schema.name for schema in store.list_label_schemas(experiment_id, max_results=_MAX_SCHEMAS)}
        for name, (question, instruction) in _questions().items():
            if name not in existing:
                store.create_label_schema(
                    experiment_id,
                    name=name,
                    type="feedback",
                    input=question,
                    instruction=instruction,
                    # The comment is a question of its own; a reason belongs to the answer that it explains.
                    enable_comment=name not in ("comment", "categories", "correction"),
                )
    except Exception as error:  # noqa: BLE001  older servers have no label schemas; the tales matter more than the form
        _log.warning("MLflow's form for feedback has no questions: %s", format_error(error).splitlines()[0])


def _questions() -> dict[str, tuple[Any, str]]:
    """Return MLflow's input and the instruction by field of `Feedback`; people mark passages elsewhere."""
    from mlflow.genai.label_schemas import InputNumeric, InputPassFail, InputText

    # MLflow's lists take ten options, and `kids` alone has more categories.
    names = ", ".join(load_policy("kids").categories)
    return {
        "kid_friendly": (
            InputPassFail("kid-friendly", "not kid-friendly"),
            "Does it suit children of its age band, even if it makes no sense? This answer calibrates the judge.",
        ),
        "makes_sense": (
            InputPassFail("makes sense", "makes no sense"),
            "Does it make sense, whether or not it suits children?",
        ),
        "rating": (InputNumeric(1, 5), "From 1 (poor) to 5 (very good), in whole numbers."),
        "categories": (InputText(), f"Problems, separated by commas; the policy kids has {names}."),
        "comment": (InputText(), "Anything else."),
        "correction": (InputText(), "The whole tale as you would have it."),
        "for_training": (InputPassFail("yes", "no"), "May models be trained on your answers and the tale?"),
        "requested_by_child": (InputPassFail("yes", "no"), "Did a child write the request for the tale?"),
        "guardian_consent": (
            InputPassFail("yes", "no"),
            "Does a parent or guardian consent to training on the child's request?",
        ),
    }
