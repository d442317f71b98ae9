"""The families of metrics: each a module or a package, listed in `registry.py`."""
