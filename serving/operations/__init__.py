"""Run a server for people: keys, limits, a queue, time limits, logs, metrics, traces, health and shutdown."""
