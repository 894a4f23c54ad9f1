"""The search that plans for its budget: free candidates first, then proposals as far as they
promise, and the start version unless the scores say otherwise.

``optimizer`` is the whole search in its order; ``schedule`` says what a budget buys; ``arms`` are
what is chosen from; ``material``, ``proposing`` and ``reflecting`` make them; ``model`` and
``scales`` explain the scores; ``search`` scores, and ``decision`` judges.
"""
