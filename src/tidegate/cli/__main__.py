"""What does `python -m tidegate.cli` do? The same as `tidegate`."""

from tidegate.cli import main

main()
