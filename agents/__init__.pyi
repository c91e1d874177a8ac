from .chat_session import Chat as Chat
from .middleware.guard import GuardMiddleware as GuardMiddleware
from .middleware.turn_control import Budget as Budget
from .result import RouterResult as RouterResult
from .router_agent import Router as Router
from .routing.forced_tool_call import ConstrainedStrategy as ConstrainedStrategy
from .routing.intent_classifier import SemanticStrategy as SemanticStrategy
from .routing.routes import Routes as Routes, load_routes as load_routes
from .routing.strategy import RoutingStrategy as RoutingStrategy
from .threads.checkpointer import Threads as Threads
from .tools import Role as Role, Toolbox as Toolbox, story_tools as story_tools
