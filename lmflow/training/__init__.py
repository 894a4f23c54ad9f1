"""Training: jobs that make weights from recorded chats, on this machine or at a provider.

A job is the call of a tool, so it is recorded, resumed and replayed like any other call.
"""
