"""Programs as a service: JSON, streams and OpenAPI over HTTP, and MCP tools.
``lf.serve.app(program, ex)``.
"""

from lmflow.serve.limits import Limits
from lmflow.serve.web import app

__all__ = ["Limits", "app"]
