"""Loihi arithmetic: compiler from a graph to an integer program, its limits, and a bit-exact emulator."""
