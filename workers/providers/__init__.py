"""Providers: what they must do, which one is used, and the code that their engines share."""
