"""The agent on every cycler computer: runs the tests by itself and delivers everything afterwards."""

# One version for all parts; a test compares it with pyproject.toml (importlib.metadata costs 2 MB).
__version__ = "0.1.0"
