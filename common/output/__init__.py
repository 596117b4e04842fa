"""What a job writes: names, manifest, shards."""
