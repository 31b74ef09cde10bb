"""What evaluation and training cost on this machine."""
