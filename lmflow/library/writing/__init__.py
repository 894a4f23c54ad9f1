"""Programs that write long texts or shorten them: summaries, reports, shortened inputs."""
