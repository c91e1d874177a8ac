"""Taleward: a story is not finished until it has been judged.

Every public name is here; each loads its part of the house on first use.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from taleward.agents.chat import Chat
    from taleward.agents.middleware.guard import GuardMiddleware
    from taleward.agents.middleware.limits import Budget
    from taleward.agents.result import RouterResult
    from taleward.agents.router import Router
    from taleward.agents.routing.constrained import ConstrainedStrategy
    from taleward.agents.routing.routes import Routes, load_routes
    from taleward.agents.routing.semantic import SemanticStrategy
    from taleward.agents.threads.checkpointer import Threads
    from taleward.agents.tools import Toolbox, story_tools
    from taleward.backends.chat_models import chat_model
    from taleward.backends.decision_model import decision_model
    from taleward.backends.embedding_models import embeddings
    from taleward.backends.local.questions import QuestionResult, MultipleChoice, Scale, YesNo
    from taleward.backends.transformers.classifier import Classifier, classifier
    from taleward.backends.transformers.seq2seq import Seq2SeqModel, seq2seq_model
    from taleward.chains.classification.few_shot import FewShotClassifier
    from taleward.chains.classification.result import Classification
    from taleward.chains.classification.zero_shot import ZeroShotClassifier
    from taleward.chains.story import StoryChain
    from taleward.chains.summarization.faithfulness import FaithfulnessCheck
    from taleward.chains.summarization.guard import JudgedSummary, SummaryGuard
    from taleward.chains.summarization.result import Faithfulness, Summary
    from taleward.chains.summarization.summarizer import Summarizer
    from taleward.chains.task import LabelTask, SummaryTask, load_task, task_names
    from taleward.chains.template import Template, load_template, template_names
    from taleward.core.errors import (
        BackendError,
        ConfigurationError,
        ContentFiltered,
        ContextTooLong,
        DeadlineExceeded,
        IntegrityError,
        InvalidFile,
        InvalidInputs,
        MissingExtra,
        MissingKey,
        RateLimited,
        Refused,
        RequestRejected,
        TalewardError,
        UnknownName,
    )
    from taleward.core.events import (
        DoneEvent,
        Event,
        RefusalEvent,
        RetractionEvent,
        RevisionEvent,
        TextEvent,
        VerdictEvent,
    )
    from taleward.core.policy import Band, Category, Policy
    from taleward.core.tale import Attempt, StretchDecision, Lineage, ModelCall, Refusal, Tale
    from taleward.core.verdict import Finding, Passage, Verdict
    from taleward.evaluation.comparison import compare
    from taleward.evaluation.datasets import load_dataset
    from taleward.evaluation.evaluator import evaluate
    from taleward.evaluation.feedback.agreement import judge_agreement
    from taleward.evaluation.feedback.feedback import Feedback, MarkedSpan, pseudonym
    from taleward.evaluation.feedback.store import FeedbackStore, record_feedback
    from taleward.evaluation.feedback.widget import FeedbackWidget
    from taleward.evaluation.gates import Gate, check_gates, load_gates
    from taleward.evaluation.judge_bench.bench import benchmark_judges
    from taleward.evaluation.metrics import metric
    from taleward.evaluation.result import Evaluation
    from taleward.evaluation.sample import Sample
    from taleward.evaluation.tracking.prompts import register_template, load_registered_template
    from taleward.evaluation.tracking.recorder import MlflowRecorder, default_tracking_uri
    from taleward.evaluation.tracking.runs import upload_pending, load_evaluation
    from taleward.evaluation.tracking.scorers import ScorerMetric, as_scorer
    from taleward.moderation.calibration.calibration import Calibration, Target, load_calibration
    from taleward.moderation.calibration.fit import fit_calibration
    from taleward.moderation.calibration.labeled_data import Columns, load_labeled
    from taleward.moderation.chat.guarded_chat import GuardedChat
    from taleward.moderation.guard.best_of import BestOf
    from taleward.moderation.guard.guard import Guard
    from taleward.moderation.judges import Judge, judge
    from taleward.moderation.judges.cached import CachedJudge
    from taleward.moderation.judges.cascade import Cascade, UncertaintyBand, fit_uncertainty_band
    from taleward.moderation.judges.ensemble import Ensemble
    from taleward.moderation.judges.evidence import evidence
    from taleward.moderation.policies.load import load_policy, policy_names
    from taleward.moderation.verdict_cache.cache import VerdictCache
    from taleward.stores.caches.answers import AnswerCache
    from taleward.stores.caches.chat import CachedChat
    from taleward.stores.caches.embeddings import CachedEmbeddings
    from taleward.stores.caches.semantic_answers import SemanticAnswerCache
    from taleward.stores.convert import convert_langchain_faiss
    from taleward.stores.example_retriever import ExampleRetriever
    from taleward.stores.tale_memory import TaleMemory
    from taleward.stores.vector.chroma_store import ChromaStore
    from taleward.stores.vector.faiss_store import FaissStore

__version__ = "0.1.0.dev0"

__all__ = [
    "AnswerCache",
    "Answered",
    "Attempt",
    "BackendError",
    "Band",
    "BestOf",
    "Budget",
    "CachedChat",
    "CachedEmbeddings",
    "CachedJudge",
    "Calibration",
    "Cascade",
    "Category",
    "Chat",
    "Choice",
    "ChromaStore",
    "Classification",
    "Classifier",
    "Columns",
    "ConfigurationError",
    "ConstrainedStrategy",
    "ContentFiltered",
    "ContextTooLong",
    "DeadlineExceeded",
    "Decision",
    "DoneEvent",
    "Ensemble",
    "Evaluation",
    "Event",
    "ExampleRetriever",
    "FaissStore",
    "Faithfulness",
    "FaithfulnessCheck",
    "Feedback",
    "FeedbackStore",
    "FeedbackWidget",
    "FewShotClassifier",
    "Finding",
    "Gate",
    "Guard",
    "GuardMiddleware",
    "GuardedChat",
    "IntegrityError",
    "InvalidFile",
    "InvalidInputs",
    "Judge",
    "JudgedSummary",
    "LabelTask",
    "Lineage",
    "MarkedSpan",
    "MissingExtra",
    "MissingKey",
    "MlflowRecorder",
    "ModelCall",
    "Passage",
    "Policy",
    "RateLimited",
    "Refusal",
    "RefusalEvent",
    "Refused",
    "RequestRejected",
    "RetractionEvent",
    "RevisionEvent",
    "RouterResult",
    "Router",
    "Routes",
    "Sample",
    "Scale",
    "ScorerMetric",
    "SemanticAnswerCache",
    "SemanticStrategy",
    "StoryChain",
    "Summarizer",
    "Summary",
    "SummaryGuard",
    "SummaryTask",
    "Tale",
    "TaleMemory",
    "TalewardError",
    "Target",
    "Template",
    "TextEvent",
    "Seq2SeqModel",
    "Threads",
    "Toolbox",
    "UnknownName",
    "Verdict",
    "VerdictCache",
    "VerdictEvent",
    "YesNo",
    "ZeroShotClassifier",
    "Zone",
    "as_scorer",
    "chat_model",
    "check_gates",
    "classifier",
    "compare",
    "convert_langchain_faiss",
    "decision_model",
    "upload_pending",
    "embeddings",
    "evaluate",
    "evidence",
    "fit_calibration",
    "fit_uncertainty_band",
    "judge",
    "judge_agreement",
    "judge_bench",
    "load_calibration",
    "load_dataset",
    "load_evaluation",
    "load_gates",
    "load_policy",
    "load_routes",
    "load_task",
    "load_template",
    "metric",
    "policy_names",
    "pseudonym",
    "load_labeled",
    "record_feedback",
    "register_template",
    "load_registered_template",
    "default_tracking_uri",
    "task_names",
    "template_names",
    "seq2seq_model",
    "tools",
]

_HOMES = {
    "agents.chat": ("Chat",),
    "agents.routing.constrained": ("ConstrainedStrategy",),
    "agents.middleware.limits": ("Budget",),
    "agents.middleware.guard": ("GuardMiddleware",),
    "agents.result": ("RouterResult",),
    "agents.router": ("Router",),
    "agents.routing.routes": ("Routes", "load_routes"),
    "agents.routing.semantic": ("SemanticStrategy",),
    "agents.threads.checkpointer": ("Threads",),
    "agents.tools": ("Toolbox", "tools"),
    "backends.chat_models": ("chat_model",),
    "backends.transformers.classifier": ("Classifier", "classifier"),
    "backends.decision_model": ("decision_model",),
    "backends.embedding_models": ("embeddings",),
    "backends.local.questions": ("Answered", "Choice", "Scale", "YesNo"),
    "backends.transformers.seq2seq": ("Seq2SeqModel", "seq2seq_model"),
    "chains.classification.result": ("Classification",),
    "chains.summarization.faithfulness": ("FaithfulnessCheck",),
    "chains.classification.few_shot": ("FewShotClassifier",),
    "chains.story": ("StoryChain",),
    "chains.summarization.summarizer": ("Summarizer",),
    "chains.summarization.result": ("Faithfulness", "Summary"),
    "chains.summarization.guard": ("JudgedSummary", "SummaryGuard"),
    "chains.task": ("LabelTask", "SummaryTask", "load_task", "task_names"),
    "chains.template": ("Template", "load_template", "template_names"),
    "chains.classification.zero_shot": ("ZeroShotClassifier",),
    "core.errors": (
        "BackendError",
        "ContentFiltered",
        "ContextTooLong",
        "DeadlineExceeded",
        "RateLimited",
        "RequestRejected",
        "ConfigurationError",
        "IntegrityError",
        "InvalidFile",
        "InvalidInputs",
        "MissingExtra",
        "MissingKey",
        "Refused",
        "TalewardError",
        "UnknownName",
    ),
    "core.events": (
        "DoneEvent",
        "Event",
        "RefusalEvent",
        "RetractionEvent",
        "RevisionEvent",
        "TextEvent",
        "VerdictEvent",
    ),
    "core.policy": ("Band", "Category", "Policy"),
    "core.tale": ("Attempt", "Decision", "Lineage", "ModelCall", "Refusal", "Tale"),
    "core.verdict": ("Finding", "Passage", "Verdict"),
    "evaluation.comparison": ("compare",),
    "evaluation.datasets": ("load_dataset",),
    "evaluation.feedback.feedback": ("Feedback", "MarkedSpan", "pseudonym"),
    "evaluation.feedback.agreement": ("judge_agreement",),
    "evaluation.feedback.store": ("FeedbackStore", "record_feedback"),
    "evaluation.feedback.widget": ("FeedbackWidget",),
    "evaluation.result": ("Evaluation",),
    "evaluation.gates": ("Gate", "check_gates", "load_gates"),
    "evaluation.judge_bench.bench": ("judge_bench",),
    "evaluation.metrics": ("metric",),
    "evaluation.tracking.prompts": ("register_template", "load_registered_template"),
    "evaluation.tracking.recorder": ("MlflowRecorder", "default_tracking_uri"),
    "evaluation.evaluator": ("evaluate",),
    "evaluation.tracking.scorers": ("ScorerMetric", "as_scorer"),
    "evaluation.tracking.runs": ("upload_pending", "load_evaluation"),
    "evaluation.sample": ("Sample",),
    "moderation.guard.best_of": ("BestOf",),
    "moderation.calibration.calibration": ("Calibration", "Target", "load_calibration"),
    "moderation.judges.evidence": ("evidence",),
    "moderation.calibration.fit": ("fit_calibration",),
    "moderation.guard.guard": ("Guard",),
    "moderation.chat.guarded_chat": ("GuardedChat",),
    "moderation.judges": ("Judge", "judge"),
    "moderation.judges.cached": ("CachedJudge",),
    "moderation.judges.cascade": ("Cascade", "Zone", "fit_uncertainty_band"),
    "moderation.judges.ensemble": ("Ensemble",),
    "moderation.calibration.labeled_data": ("Columns", "load_labeled"),
    "moderation.policies.load": ("load_policy", "policy_names"),
    "moderation.verdict_cache.cache": ("VerdictCache",),
    "stores.caches.answers": ("AnswerCache",),
    "stores.caches.chat": ("CachedChat",),
    "stores.vector.chroma_store": ("ChromaStore",),
    "stores.convert": ("convert_langchain_faiss",),
    "stores.caches.embeddings": ("CachedEmbeddings",),
    "stores.example_retriever": ("ExampleRetriever",),
    "stores.vector.faiss_store": ("FaissStore",),
    "stores.tale_memory": ("TaleMemory",),
    "stores.caches.semantic_answers": ("SemanticAnswerCache",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

# Nothing phones home unless the user turned it on.
for _switch, _off in (
    ("MLFLOW_DISABLE_TELEMETRY", "true"),
    ("LANGSMITH_TRACING", "false"),
    ("HF_HUB_DISABLE_TELEMETRY", "1"),
    ("ANONYMIZED_TELEMETRY", "False"),
    ("ORT_DISABLE_TELEMETRY", "1"),  # ONNX Runtime reads it when it is imported, and never again
):
    os.environ.setdefault(_switch, _off)


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        msg = f"module 'taleward' has no attribute {name!r}"
        raise AttributeError(msg)
    value = getattr(import_module(f"taleward.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
