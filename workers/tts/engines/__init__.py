"""Text-to-speech voices: one adapter per vendor, and the catalog of them."""
