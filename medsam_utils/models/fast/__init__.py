"""SAM's encoder and decoder in less time, with the same weights; `exact=True` is the reference."""
