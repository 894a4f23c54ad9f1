"""What optimizers are built from: plans, scoring, proposals, demonstrations, the TPE sampler."""
