"""Lava: the compiled program on Intel's own simulator, in a Python 3.10 process of its own."""
