"""Tidegate: the production gateway for LLM applications, in one process."""

__version__ = "0.1.0"
