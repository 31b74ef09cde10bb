"""Training: experiments, recipes, profiles, and the training loop."""
