from .arena.arena import arena as arena
from .arena.choice_sheet import ChoiceSheet as ChoiceSheet, write_choice_sheet as write_choice_sheet
from .arena.preference import (
    LLMPreference as LLMPreference,
    Preference as Preference,
    PreferenceJudge as PreferenceJudge,
)
from .arena.result import ArenaResult as ArenaResult
from .comparison import ComparisonResult as ComparisonResult, compare as compare
from .datasets import Dataset as Dataset, load_dataset as load_dataset
from .evaluator import evaluate as evaluate, evaluate_side_by_side as evaluate_side_by_side
from .feedback.agreement import judge_agreement as judge_agreement
from .feedback.consent import feedback_for_training as feedback_for_training
from .feedback.feedback import Feedback as Feedback, MarkedSpan as MarkedSpan, pseudonym as pseudonym
from .feedback.mlflow_store import FeedbackStore as FeedbackStore, record_feedback as record_feedback
from .feedback.review_queue import ReviewProgress as ReviewProgress, ReviewQueue as ReviewQueue
from .feedback.widget import FeedbackWidget as FeedbackWidget
from .gates import Gate as Gate, check_gates as check_gates, load_gates as load_gates
from .grid import EvaluationGrid as EvaluationGrid, evaluation_grid as evaluation_grid
from .judge_bench.bench import benchmark_judges as benchmark_judges
from .metrics import metric as metric
from .metrics.base import Metric as Metric
from .red_teaming.result import (
    AttackCounts as AttackCounts,
    AttackResult as AttackResult,
    RedTeamReport as RedTeamReport,
)
from .red_teaming.run import red_team as red_team
from .report.junit import junit_report as junit_report
from .result import Evaluation as Evaluation, Flakiness as Flakiness
from .sample import Sample as Sample
from .tracking.prompts import (
    load_registered_template as load_registered_template,
    register_template as register_template,
)
from .tracking.runs import load_evaluation as load_evaluation, upload_pending as upload_pending
from .tracking.scorers import ScorerMetric as ScorerMetric, as_scorer as as_scorer
from .tracking.tale_recorder import MlflowRecorder as MlflowRecorder, default_tracking_uri as default_tracking_uri
