"""The ground floor: what flows through the house. No I/O, and no import of ours but each other."""
