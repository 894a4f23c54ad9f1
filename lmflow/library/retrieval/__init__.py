"""Programs over passages: retrieve, rerank, RAG, and multi-hop question answering."""
