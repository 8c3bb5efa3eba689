"""Speech recognisers, one file for each vendor, and the table of them."""
