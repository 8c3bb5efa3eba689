"""Audio as servers send it, on its way to the telephone."""
