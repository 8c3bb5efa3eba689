"""One process per node: Vobiz on one side, the bus on the other.  No models, no vendor SDKs."""
