"""Uses of SAM beyond the study: everything mode, fine-tuning, propagation in volumes."""
