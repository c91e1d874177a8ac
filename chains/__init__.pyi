from .classification.few_shot import FewShotClassifier as FewShotClassifier
from .classification.result import Classification as Classification
from .classification.zero_shot import ZeroShotClassifier as ZeroShotClassifier
from .story import StoryChain as StoryChain
from .story_request_parsing import values_from_request as values_from_request
from .summarization.faithfulness import FaithfulnessCheck as FaithfulnessCheck
from .summarization.guard import JudgedSummary as JudgedSummary, SummaryGuard as SummaryGuard
from .summarization.result import Faithfulness as Faithfulness, Summary as Summary
from .summarization.summarizer import Summarizer as Summarizer
from .task_definitions import (
    LabelTask as LabelTask,
    SummaryTask as SummaryTask,
    load_task as load_task,
    task_names as task_names,
)
from .template import Template as Template, load_template as load_template, template_names as template_names
