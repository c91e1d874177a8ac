from .chunks import Chunk as Chunk, ChunkSummary as ChunkSummary
from .engines.base import (
    BatchEngine as BatchEngine,
    ChunkDone as ChunkDone,
    WorkerFailed as WorkerFailed,
    WorkerLost as WorkerLost,
    WorkerReady as WorkerReady,
    WorkerWaiting as WorkerWaiting,
)
from .fingerprint import Manifest as Manifest
from .ledger import Ledger as Ledger
from .machines import check_machine as check_machine, run_chunk as run_chunk
from .plan import BatchPlan as BatchPlan, plan_batch as plan_batch
from .result import BatchResult as BatchResult
from .run import run_batch as run_batch
from .tasks.base import BatchTask as BatchTask
from .tasks.classify import ClassifyTask as ClassifyTask
from .tasks.embed import EmbedTask as EmbedTask
from .tasks.evaluate import EvaluateTask as EvaluateTask
from .tasks.function import FunctionTask as FunctionTask
from .tasks.judge import JudgeTask as JudgeTask
from .tasks.summarize import SummarizeTask as SummarizeTask
from .tasks.tell import TellTask as TellTask
from .worker import Worker as Worker, WorkerSpec as WorkerSpec

__all__: list[str]
