"""What must not be possible: one test for each class of attack, named after it; docs/security.md is the map."""
