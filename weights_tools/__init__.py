"""Fetch, convert, inspect and train weights: everything that may need the network or a heavier library.

`python -m weights_tools --help` is the way in. `refspec` itself never imports this package and never downloads.
"""
