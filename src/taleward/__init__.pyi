from . import (
    agents as agents,
    backends as backends,
    batch as batch,
    books as books,
    chains as chains,
    errors as errors,
    evaluation as evaluation,
    events as events,
    images as images,
    moderation as moderation,
    serving as serving,
    stores as stores,
    testing as testing,
    tuning as tuning,
    types as types,
)
from .agents.chat_session import Chat as Chat
from .agents.middleware.guard import GuardMiddleware as GuardMiddleware
from .agents.router_agent import Router as Router
from .backends.chat_models import chat_model as chat_model
from .backends.embedding_models import embeddings as embeddings
from .backends.transformers.classifier import classifier as classifier
from .backends.transformers.seq2seq import seq2seq_model as seq2seq_model
from .batch.run import run_batch as run_batch
from .books.book import Book as Book
from .chains.classification.few_shot import FewShotClassifier as FewShotClassifier
from .chains.classification.zero_shot import ZeroShotClassifier as ZeroShotClassifier
from .chains.story import StoryChain as StoryChain
from .chains.summarization.guard import SummaryGuard as SummaryGuard
from .chains.summarization.summarizer import Summarizer as Summarizer
from .chains.template import Template as Template, load_template as load_template
from .core.errors import Refused as Refused, TalewardError as TalewardError
from .core.policy import Policy as Policy
from .core.tale import Tale as Tale
from .core.verdict import Finding as Finding, Passage as Passage, Verdict as Verdict
from .evaluation.arena.arena import arena as arena
from .evaluation.comparison import compare as compare
from .evaluation.datasets import load_dataset as load_dataset
from .evaluation.evaluator import evaluate as evaluate
from .evaluation.feedback.mlflow_store import record_feedback as record_feedback
from .evaluation.tracking.tale_recorder import MlflowRecorder as MlflowRecorder
from .images.guard.image_guard import ImageGuard as ImageGuard
from .images.models.factory import image_model as image_model
from .images.picture import Picture as Picture
from .images.prompt_spec import PromptSpec as PromptSpec
from .moderation.chat.guarded_chat import GuardedChat as GuardedChat
from .moderation.guard.best_of import BestOf as BestOf
from .moderation.guard.guard import Guard as Guard
from .moderation.judges import Judge as Judge, judge as judge
from .moderation.judges.cached import CachedJudge as CachedJudge
from .moderation.policies.load import load_policy as load_policy
from .stores.caches.answers import AnswerCache as AnswerCache
from .stores.caches.cached_chat import CachedChat as CachedChat
from .stores.caches.embeddings import CachedEmbeddings as CachedEmbeddings
from .stores.tale_memory import TaleMemory as TaleMemory
from .stores.vector.chroma_store import ChromaStore as ChromaStore
from .stores.vector.faiss_store import FaissStore as FaissStore
from .tuning.deployment.log import log_guard as log_guard
from .tuning.judge import tune_judge as tune_judge
from .tuning.promotion import promote as promote
from .tuning.registry import rollback as rollback
from .tuning.writer import tune_writer as tune_writer

__all__: list[str]
__version__: str
