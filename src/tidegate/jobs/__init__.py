"""What drives the front door in the background? Evaluations and batches, and later experiments."""
