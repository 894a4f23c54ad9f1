"""Adapters: how a step's prompt is written and its reply read, in marked sections or JSON."""
