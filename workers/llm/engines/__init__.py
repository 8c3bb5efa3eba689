"""Language models: one adapter per vendor, and the catalog of them."""
