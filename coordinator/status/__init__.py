"""What a job reports of itself: status lines, summary, metrics."""
