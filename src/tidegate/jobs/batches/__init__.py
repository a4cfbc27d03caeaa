"""Who asks what nobody waits for? Lines of batches, by the same door as any call, a bounded number at once."""
