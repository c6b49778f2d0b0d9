"""The command line, a file a command; `main.py` runs them."""
