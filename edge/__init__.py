"""The edge process, one per node: connects Vobiz to the bus.  It loads no models and no vendor SDKs."""
