"""How values look: tables and trees as plain text, Markdown and HTML."""
