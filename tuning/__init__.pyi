from .deployment.agent import GuardAgent as GuardAgent
from .deployment.log import log_guard as log_guard
from .feedback_rows import FeedbackRows as FeedbackRows, rows_from_feedback as rows_from_feedback
from .judge import TunedJudge as TunedJudge, tune_judge as tune_judge
from .judge_report import ErrorChange as ErrorChange, JudgeTuningReport as JudgeTuningReport
from .label_next import LabelCandidate as LabelCandidate, to_label_next as to_label_next
from .labeled_verdicts import FeedbackVerdicts as FeedbackVerdicts, verdicts_from_feedback as verdicts_from_feedback
from .neighbors import LabeledNeighbor as LabeledNeighbor, explain_with_neighbors as explain_with_neighbors
from .promotion import promote as promote
from .promotion_result import Promotion as Promotion
from .promotion_rules import PromotionRules as PromotionRules
from .registry import register_writer as register_writer, rollback as rollback
from .rows import (
    ChatTurn as ChatTurn,
    DpoRow as DpoRow,
    KtoRow as KtoRow,
    RowSource as RowSource,
    SftRow as SftRow,
    TuningRow as TuningRow,
    read_tuning_rows as read_tuning_rows,
    write_tuning_rows as write_tuning_rows,
)
from .settings import JudgeTuningSettings as JudgeTuningSettings, TuningSettings as TuningSettings
from .writer import TunedWriter as TunedWriter, tune_writer as tune_writer
