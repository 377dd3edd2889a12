"""Integer C: the program of a compiled graph as a small C99 source for microcontrollers and high-level synthesis."""
