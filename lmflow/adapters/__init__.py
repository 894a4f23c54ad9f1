"""How a step is put to a model and its reply is read: chat with marked sections, or JSON."""
