"""What a provider is, which one is asked, and what vendors have in common."""
