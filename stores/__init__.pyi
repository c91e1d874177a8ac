from .caches.answers import AnswerCache as AnswerCache
from .caches.cached_chat import CachedChat as CachedChat
from .caches.embeddings import CachedEmbeddings as CachedEmbeddings
from .caches.semantic_answers import SemanticAnswerCache as SemanticAnswerCache
from .example_retriever import ExampleRetriever as ExampleRetriever
from .tale_memory import TaleMemory as TaleMemory
from .vector.base import TalewardStore as TalewardStore
from .vector.chroma_store import ChromaStore as ChromaStore
from .vector.faiss_store import FaissStore as FaissStore
from .vector.open import open_store as open_store
from .vector.parquet import (
    export_cache as export_cache,
    export_store as export_store,
    import_cache as import_cache,
    import_store as import_store,
)
from .vector.pgvector_store import PgvectorStore as PgvectorStore
