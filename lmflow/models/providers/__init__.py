"""Providers: the wire formats of OpenAI-compatible servers, Anthropic and litellm."""
