"""What guards and judges return, and the policies they go by: frozen Pydantic models."""

from taleward.core.policy import Band, Category, Policy
from taleward.core.tale import Attempt, ChatTurn, Lineage, ModelCall, Refusal, StretchDecision, Tale
from taleward.core.verdict import Finding, Passage, Verdict

__all__ = [
    "Attempt",
    "Band",
    "Category",
    "ChatTurn",
    "Finding",
    "Lineage",
    "ModelCall",
    "Passage",
    "Policy",
    "Refusal",
    "StretchDecision",
    "Tale",
    "Verdict",
]
