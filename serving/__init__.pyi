from .app import create_app as create_app
from .config import (
    ServeConfig as ServeConfig,
    ServedModelConfig as ServedModelConfig,
    default_config as default_config,
    load_config as load_config,
)
from .images_config import ServedImagesConfig as ServedImagesConfig
from .operations.api_keys import ApiKey as ApiKey, ApiKeys as ApiKeys, KeyLimits as KeyLimits
from .operations.server import run_server as run_server, uvicorn_options as uvicorn_options
from .operations.settings import OperationSettings as OperationSettings
from .page.settings import PageSettings as PageSettings
from .served_models import ServedModel as ServedModel

__all__: list[str]
