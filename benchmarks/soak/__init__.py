"""A long run of real processes under calls that come and go: what grows, and what does not come back."""
