"""Providers: the wire formats of OpenAI-compatible servers, of Anthropic, and of litellm."""
