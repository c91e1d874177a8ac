from .aspect_ratio import AspectRatio as AspectRatio, size_for as size_for
from .contact_sheet import contact_sheet as contact_sheet
from .guard.events import (
    GuardedPictureEvent as GuardedPictureEvent,
    ImageGuardEvent as ImageGuardEvent,
    PictureVerdictEvent as PictureVerdictEvent,
    RedrawEvent as RedrawEvent,
)
from .guard.guarded_picture import (
    DrawingAttempt as DrawingAttempt,
    GuardedPicture as GuardedPicture,
    ImageGuardLineage as ImageGuardLineage,
    JudgedPicture as JudgedPicture,
)
from .guard.image_guard import ImageGuard as ImageGuard, PictureRecorder as PictureRecorder
from .guard.picture_judge import PictureJudge as PictureJudge, picture_judge as picture_judge
from .guard.picture_recorder import MlflowPictureRecorder as MlflowPictureRecorder
from .guard.soften import soften as soften
from .metrics import picture_metric as picture_metric
from .metrics.base import PictureMetric as PictureMetric, PictureSample as PictureSample
from .metrics.colors import color_shares as color_shares
from .metrics.copying import copies as copies, copy_rate as copy_rate
from .metrics.diversity import (
    mean_pairwise_difference as mean_pairwise_difference,
    vendi_score as vendi_score,
)
from .metrics.evaluate import evaluate_pictures as evaluate_pictures
from .metrics.features import (
    ConvolutionFeatures as ConvolutionFeatures,
    FeatureFunction as FeatureFunction,
    PixelFeatures as PixelFeatures,
)
from .metrics.frechet import frechet_distance as frechet_distance
from .metrics.intervals import feature_interval as feature_interval
from .metrics.kernel import kernel_distance as kernel_distance
from .metrics.neighbors import NeighborScores as NeighborScores, neighbor_scores as neighbor_scores
from .metrics.prompt_coverage import (
    ThingsFound as ThingsFound,
    find_things as find_things,
    requested_things as requested_things,
)
from .models.base import DrawingTask as DrawingTask, ImageModel as ImageModel
from .models.capabilities import ImageCapabilities as ImageCapabilities
from .models.diffusers_models import DiffusersModel as DiffusersModel
from .models.events import (
    DrawingProgress as DrawingProgress,
    FinishedPicture as FinishedPicture,
    ImageEvent as ImageEvent,
    PartialPicture as PartialPicture,
)
from .models.factory import image_model as image_model
from .models.midjourney import MidjourneyModel as MidjourneyModel
from .models.openai_images import OpenAIImages as OpenAIImages
from .models.request import ImageRequest as ImageRequest
from .models.seeds import variation_seeds as variation_seeds
from .picture import Picture as Picture, PictureLineage as PictureLineage
from .picture_cache import PictureCache as PictureCache, PictureCacheStats as PictureCacheStats
from .picture_metadata import manifest as manifest
from .prompt_spec import CastMember as CastMember, PromptSpec as PromptSpec, TextShown as TextShown
from .prompts.cast import cast_of as cast_of
from .prompts.craft import CraftedPrompt as CraftedPrompt, craft as craft
from .prompts.critique import (
    PromptCritique as PromptCritique,
    PromptFinding as PromptFinding,
    critique as critique,
)
from .prompts.from_tale import Scene as Scene, Storyboard as Storyboard, storyboard as storyboard
from .prompts.lexicon import PictureLexicon as PictureLexicon, picture_lexicon as picture_lexicon
from .prompts.read_prompt import read_prompt as read_prompt
from .prompts.render import render_prompt as render_prompt
from .prompts.rendered import RenderedPrompt as RenderedPrompt
from .prompts.renderers.diffusers import render_diffusers as render_diffusers
from .prompts.renderers.midjourney import (
    MidjourneyPrompt as MidjourneyPrompt,
    WeightedText as WeightedText,
    parse_midjourney as parse_midjourney,
    render_midjourney as render_midjourney,
)
from .prompts.renderers.openai import ImageModelFamily as ImageModelFamily, render_openai as render_openai
from .prompts.renderers.sd_cpp import render_sd_cpp as render_sd_cpp
from .prompts.sanitize import sanitize as sanitize

__all__: list[str]
