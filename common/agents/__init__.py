"""The model of an agent, and the reader of agent files."""
