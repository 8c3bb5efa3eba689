"""The pool that runs the tools of agents: HTTP requests, Python functions and tools of MCP servers (docs/tools.md)."""
