from .chat_models import chat_model as chat_model
from .discovery import DiscoveredModel as DiscoveredModel, discover as discover
from .embedding_models import embeddings as embeddings
from .local.questions import (
    MultipleChoice as MultipleChoice,
    QuestionResult as QuestionResult,
    Scale as Scale,
    YesNo as YesNo,
)
from .transformers.classifier import Classifier as Classifier, classifier as classifier
from .transformers.seq2seq import Seq2SeqModel as Seq2SeqModel, seq2seq_model as seq2seq_model
