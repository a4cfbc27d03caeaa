"""Was it asked before? So far the semantic part: entries that mean the same, and whether one may be served."""
