"""What is done with prompts besides asking them? Files of a repository, and those of other tools."""
