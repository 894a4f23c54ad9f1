"""Requests to models and tools, and their replies and failures: all that is sent and received.

Users import from here to write a scripted model or a tool. How a provider writes these on the wire
lives in ``lmflow.models``.
"""

from lmflow.messages.messages import Message, ToolCall
from lmflow.messages.replies import ChatReply, EmbedReply, Token, ToolReply, Usage
from lmflow.messages.requests import ChatRequest, EmbedRequest, ToolRequest

__all__ = [
    "ChatReply",
    "ChatRequest",
    "EmbedReply",
    "EmbedRequest",
    "Message",
    "Token",
    "ToolCall",
    "ToolReply",
    "ToolRequest",
    "Usage",
]
