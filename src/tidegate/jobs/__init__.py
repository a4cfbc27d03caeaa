"""What drives the front door in the background? Evaluations, and later batches and experiments."""
