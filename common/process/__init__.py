"""What every process of ours has: its name, its clock, its tasks, its command line."""
