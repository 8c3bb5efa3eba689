"""The mouth: clauses in, 20 ms mu-law frames out."""
