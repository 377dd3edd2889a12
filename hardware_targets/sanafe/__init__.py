"""Energy and latency of a compiled program, event by event, by SANA-FE in a process of its own."""
