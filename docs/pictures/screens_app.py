"""The program of the pictures of the web view: answers questions about tea from its notes."""

from __future__ import annotations

import lmflow as lf

notes = lf.Corpus.build(
    [
        {
            "id": "green",
            "title": "Green tea",
            "text": "Steep green tea at 80 degrees for 2 minutes.",
        },
        {
            "id": "white",
            "title": "White tea",
            "text": "Steep white tea at 75 degrees for 5 minutes.",
        },
        {
            "id": "black",
            "title": "Black tea",
            "text": "Steep black tea at 95 degrees for 4 minutes.",
        },
        {"id": "oolong", "title": "Oolong", "text": "Steep oolong at 90 degrees for 3 minutes."},
        {"id": "mate", "title": "Mate", "text": "Steep mate at 70 degrees for 6 minutes."},
        {"id": "rice", "title": "Rice", "text": "Rinse the rice, then simmer it for 12 minutes."},
    ]
)
rewrite = lf.predict("rewrite", "question -> query", "Write one search query.")
search = lf.retrieve(notes, k=2)
answer = lf.predict(
    "answer",
    "context: list[str], question -> answer",
    "Answer from the context.",
)
rag = rewrite >> search >> answer
