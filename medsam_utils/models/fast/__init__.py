"""SAM's encoder and decoder with the same weights, in less time; `exact=True` is the reference
without them."""
