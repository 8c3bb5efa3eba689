"""The basics of every process: name, clock, tasks, command line, environment file."""
