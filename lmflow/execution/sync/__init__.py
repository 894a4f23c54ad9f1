"""The executor without ``await``, for scripts and notebooks."""
