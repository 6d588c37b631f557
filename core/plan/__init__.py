"""What a run will take: memory by part, speed and time, and which method to use; closed form, no torch."""
