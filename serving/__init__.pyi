from .app import create_app as create_app
from .config import (
    ServeConfig as ServeConfig,
    ServedModelConfig as ServedModelConfig,
    default_config as default_config,
    load_config as load_config,
)
from .page.settings import PageSettings as PageSettings
from .served_models import ServedModel as ServedModel

__all__: list[str]
