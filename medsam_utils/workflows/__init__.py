"""Ways of using SAM beyond the study: masks of everything, fine-tuning, propagation through a
volume."""
