"""What a job is to do: videos, frames, images; and which of it is done."""
