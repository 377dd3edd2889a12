"""NIR graphs: build, read, write, check, simulate."""
