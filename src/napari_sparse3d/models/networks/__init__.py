"""The architectures of this package, one a file; ``catalog/architectures.py`` names them."""
