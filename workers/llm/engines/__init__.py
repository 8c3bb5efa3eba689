"""Language models, one file for each vendor, and the table of them."""
