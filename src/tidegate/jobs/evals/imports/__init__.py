"""How do cases of other tools become ours? One file for each form; what has no counterpart here is told by name."""
