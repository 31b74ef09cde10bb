"""Training: what an experiment is, how large, and the loop that trains it."""
