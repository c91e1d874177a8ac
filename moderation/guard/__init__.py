"""The guard: write, judge, revise, release or refuse; whole or streaming."""
