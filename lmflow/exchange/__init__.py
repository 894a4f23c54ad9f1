"""What several stores and machines exchange: shards of a job, merged runs, merged moves of refs."""
