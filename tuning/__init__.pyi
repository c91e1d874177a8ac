from .feedback_rows import FeedbackRows as FeedbackRows, rows_from_feedback as rows_from_feedback
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
from .settings import TuningSettings as TuningSettings
from .writer import TunedWriter as TunedWriter, tune_writer as tune_writer
