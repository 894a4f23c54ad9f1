"""The parts that optimizers share: plans, scoring, proposals, demonstrations, models of scores."""
