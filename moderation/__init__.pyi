from .calibration.calibration import Calibration as Calibration, Target as Target, load_calibration as load_calibration
from .calibration.fit import fit_calibration as fit_calibration
from .calibration.labeled_texts import Columns as Columns, LabeledData as LabeledData, load_labeled as load_labeled
from .chat.guarded_chat import GuardedChat as GuardedChat
from .guard.best_of import BestOf as BestOf
from .guard.guard import Guard as Guard
from .guard.revision_context import Revision as Revision, revision_of as revision_of
from .judges import Assessment as Assessment, Judge as Judge, judge as judge
from .judges.cached import CachedJudge as CachedJudge
from .judges.cascade import (
    Cascade as Cascade,
    UncertaintyBand as UncertaintyBand,
    fit_uncertainty_band as fit_uncertainty_band,
)
from .judges.ensemble import Ensemble as Ensemble
from .judges.failing_sentences import evidence as evidence
from .policies.diff import policy_diff as policy_diff
from .policies.load import load_policy as load_policy, policy_names as policy_names
from .verdict_cache.cache import VerdictCache as VerdictCache
