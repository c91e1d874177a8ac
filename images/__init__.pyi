from .aspect_ratio import AspectRatio as AspectRatio, size_for as size_for
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
